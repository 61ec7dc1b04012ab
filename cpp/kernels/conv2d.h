#pragma once
// Convolution on blocked pictures [N][C/16][H][W][16]. ops/conv2d_geometry.cpp fills these structs.
//
// Every convolution here, backward-data included, is: for each point (row, col) of a grid, sum over taps and channels
// of input × weight, written to one output pixel. Forward: the grid is the output. Backward-data at stride s: s*s
// grids, one for each phase of the input's rows and columns, each with the taps that reach it.
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/isa.h"

namespace thaw {

/// A panel: `vectors` blocks of 16 outputs that read the same input blocks.
/// Its packed weights: [in_blocks][taps][16 channels, `tail` of them in the last block][vectors * 16 outputs].
struct Conv2dPanel {
  int64_t weights;  // where they begin, in floats
  int32_t out_block, vectors;
  int32_t in_block, in_blocks;
  int32_t tail;  // channels of the last block, 1…16
};

/// How one dimension of the input is copied into a band, split into the phases of the stride so that neighbours on the
/// grid are neighbours in memory: slot s holds positions index * stride + start + phase[s].
struct Conv2dCopyAxis {
  int64_t stride, start;
  int64_t slots;
  const int64_t* phase;
  int64_t extent;  // positions of a slot; for rows: of a full band
};

/// Points before a band's first that a tile of a short row may reach.
constexpr int64_t kShortcutRoom = 16;

/// A 1x1 convolution of other pictures whose products are added to the same sums, after all others.
struct Conv2dShortcut {
  const float* x;        // null: there is none
  const float* weights;  // packed, with panels of the same outputs
  const float* bias;     // or null
  int64_t channels, in_blocks, in_height, in_width;
  int64_t out_width, stride_y, stride_x;
  int64_t x_block;       // floats between blocks, in the band or (not copied) in x
  int64_t chunk_blocks;  // as of Conv2d
  bool copy;             // what a band's points read lies in scratch, point behind point, after a tile's room
  int64_t band_floats;   // scratch of one band
};

struct Conv2d {
  const float* x;
  const float* weights;   // packed
  const float* bias;      // [out_channels] or null
  const float* residual;  // like y, or null
  const float* gate;      // like y, or null: where it is not above 0, y is 0
  float* y;
  int64_t pictures;
  int64_t in_blocks, in_height, in_width;
  int64_t out_channels, out_blocks, out_pixels;  // out_pixels: of one plane
  int64_t y_gap;  // blocks of others between two pictures of y, which has neither residual nor gate then

  // The grid. Its last row may be shorter: a plane without borders is cut into rows of any length.
  int64_t rows, cols, last_cols;
  int64_t out_start, out_row, out_col;  // pixel of the output plane = out_start + row * out_row + col * out_col

  const Conv2dPanel* panels;
  int64_t panel_count, chunk_panels;  // panels a task takes
  int64_t taps;
  /// Floats from a grid point to each tap: for full groups of pictures, then for the last, smaller group.
  const int64_t* tap_offsets;
  int64_t row_pitch;     // pixels of one picture from one row of the grid to the next, in the band or (not copied) in x
  int64_t chunk_blocks;  // input blocks summed before the weights of the next are read
  int64_t x_step;        // bytes from one grid point of a row to the next

  bool copy;  // read from a padded copy of the band in scratch
  Conv2dCopyAxis copy_rows, copy_cols;
  int64_t interleave;              // pictures whose pixels alternate in a band: small pictures fill wide tiles so
  int64_t band_rows, bands;        // bands of one group of pictures
  int64_t task_bands, band_tasks;  // bands a task takes; tasks per chunk of panels
  int64_t band_floats;             // scratch of one band

  Conv2dShortcut shortcut;
  Activation activation;
  float alpha;
  bool stream;  // y past the caches
};

/// dweight: sums of x[channel at tap] * dy[output], over bands of pictures. Partial sums lie per chunk as
/// [panel][in_block][tap][16 channels][vectors * 16]; `join` adds the chunks in order and writes [K, C/groups, kh, kw].
struct Conv2dWeightsTile {
  int32_t panel, panels;  // of the table
  int32_t block, blocks;  // input blocks, counted from the panel's first
};

struct Conv2dWeights {
  const float* x;
  const float* dy;
  float* partial;
  int64_t pictures;
  int64_t in_blocks, in_height, in_width;
  int64_t out_blocks, out_pixels;
  int64_t rows, cols, last_cols;  // the grid, dy; a plane without borders is cut into rows, the last one shorter
  int64_t in_pitch;               // pixels of one row of x
  int64_t kernel_height, kernel_width, stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x;
  const Conv2dPanel* panels;  // offsets in partial, blocks of 16 channels throughout
  const Conv2dWeightsTile* tiles;
  int64_t tile_count;
  int64_t chunks, chunk_floats;      // partial sums: chunks of units
  int64_t unit_pictures, unit_rows;  // a unit: some pictures, or some rows of one
};

struct Conv2dJoin {
  const float* partial;
  float* dweight;
  const Conv2dPanel* panels;
  int64_t panel_count;
  int64_t chunks, chunk_floats;
  int64_t in_channels, out_channels, groups, taps;
};

struct Conv2dPack {
  const float* weight;  // [K, C/groups, kh, kw]
  float* packed;
  const Conv2dPanel* panels;
  int64_t panel_count;
  int64_t in_channels, out_channels, groups;  // of the packed product: exchanged where `transposed`
  bool transposed;
  int64_t kernel_taps;  // kh * kw
  int64_t taps;         // of this grid
  const int64_t* tap;   // their positions in the kernel, ky * kw + kx
};

/// Depthwise: weights [C/16][taps_y * taps_x][16], one task a picture and block. In bf16: x, residual and y are lines of
/// 32 channels, weights f32 [C/32][taps_y * taps_x][16 even channels, 16 odd ones] (on a GPU in their order).
struct Depthwise {
  const float* x;
  const float* weights;
  const float* bias;
  const float* residual;
  const float* gate;  // as of Conv2d
  float* y;
  int64_t pictures, channels, blocks;
  int64_t in_height, in_width, out_height, out_width;
  int64_t rows, cols;  // the grid
  int64_t out_start_y, out_start_x, out_step_y, out_step_x;
  int64_t stride_y, stride_x;
  int64_t taps_y, taps_x;
  const int64_t* offset_y;  // ascending: input row = row * stride_y + offset_y[i]
  const int64_t* offset_x;
  Activation activation;
  float alpha;
};

/// dweight [C][kh*kw] of a depthwise convolution: per chunk of pictures [C/16][taps][16] (bf16: 32), then joined.
struct DepthwiseWeights {
  const float* x;
  const float* dy;
  float* partial;
  float* dweight;
  int64_t pictures, channels, blocks;
  int64_t in_height, in_width, out_height, out_width;
  int64_t kernel_height, kernel_width, stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x;
  int64_t chunks;
};

/// weights [C][kernel_taps] → [C/16][taps][16], or as in bf16
struct DepthwisePack {
  const float* weight;
  float* packed;
  int64_t channels, kernel_taps, taps;
  const int64_t* tap;
};

struct Conv2dKernels {
  int64_t panel_vectors;  // blocks of 16 outputs a panel has
  int64_t tile_pixels;    // grid points computed at a time
  /// Tasks: band_tasks * ceil(panel_count / chunk_panels). Scratch: conv2d_scratch.
  void (*direct)(const Conv2d&, int64_t task, void* scratch);
  /// Tasks: panel_count.
  void (*pack)(const Conv2dPack&, int64_t task, void* scratch);
};

struct Conv2dWeightsKernels {
  /// Tasks: tile_count * chunks.
  void (*weights)(const Conv2dWeights&, int64_t task, void* scratch);
  /// Tasks: panel_count.
  void (*join)(const Conv2dJoin&, int64_t task, void* scratch);
};

struct DepthwiseKernels {
  /// Tasks: pictures * blocks.
  void (*direct)(const Depthwise&, int64_t task, void* scratch);
  /// Tasks: blocks.
  void (*pack)(const DepthwisePack&, int64_t task, void* scratch);
  /// Tasks: blocks * chunks, then blocks.
  void (*weights)(const DepthwiseWeights&, int64_t task, void* scratch);
  void (*join)(const DepthwiseWeights&, int64_t task, void* scratch);
};

THAW_KERNELS(Conv2dKernels, conv2d)
THAW_KERNELS(Conv2dWeightsKernels, conv2d_weights)
THAW_KERNELS(DepthwiseKernels, depthwise)
THAW_BF16_KERNELS(DepthwiseKernels, depthwise_bf16)

}  // namespace thaw
