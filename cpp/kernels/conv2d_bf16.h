#pragma once
// Convolution of pictures in bf16, [N][C/32][H][W][32]: the grids, bands and panels of kernels/conv2d.h with lines of 32
// channels and panels of 32 outputs, as products of tiles (kernels/cpu/micro/tile.h).
// Packed weights of a panel: [in_block][tap] tiles of [2 × 16 outputs][16 pairs of channels][16 outputs][2], bf16.
#include "kernels/conv2d.h"

namespace thaw {

struct Conv2dBf16 {
  Conv2d grid;        // x, residual and y are lines of bf16, distances count four bytes; weights: see below
  int64_t tile_rows;  // grid points of a tile, 1…16
  int64_t steps;      // most steps that a panel takes: input blocks × taps
};

/// Pictures of up to four channels, read as they lie in plain f32 [N,C,H,W]: a step takes eight neighbours of a row with
/// four channels each, so that a kernel's row of up to eight taps is one step.
struct Conv2dNarrow {
  const float* x;
  const uint16_t* weights;  // [out_block][row of the kernel][part of eight taps] tiles
  const float* bias;
  const uint16_t* residual;
  uint16_t* y;
  int64_t pictures, channels, in_height, in_width;
  int64_t out_channels, out_blocks, out_height, out_width;
  int64_t kernel_height, parts;
  int64_t stride_y, stride_x, pad_top, pad_left, dilation_y;
  int64_t band_rows, bands, row_pixels;  // of the copy: pixels of one row
  int64_t tile_rows;
  Activation activation;
  float alpha;
  bool stream;  // y past the caches
};

/// A GPU's blocks compute so many rows and columns at a time and hold what these read in shared memory, in so many bytes.
constexpr int kNarrowRows = 8, kNarrowCols = 16;
static inline constexpr int64_t conv2d_narrow_patch(int64_t stride_y, int64_t stride_x, int64_t kernel_rows, int64_t parts) {
  return ((kNarrowRows - 1) * stride_y + kernel_rows) * ((kNarrowCols - 1) * stride_x + parts * 8) * 8;
}

struct Conv2dNarrowPack {
  const float* weight;  // [K, C, kh, kw]
  uint16_t* packed;
  int64_t outputs, channels, kernel_height, kernel_width, parts;
};

struct Conv2dBf16Kernels {
  /// Tasks: band_tasks * ceil(panel_count / chunk_panels). Scratch: conv2d_bf16_scratch.
  void (*direct)(const Conv2dBf16&, int64_t task, void* scratch);
  /// Tasks: panel_count.
  void (*pack)(const Conv2dPack&, int64_t task, void* scratch);
};

struct Conv2dNarrowKernels {
  /// Tasks: pictures * bands.
  void (*direct)(const Conv2dNarrow&, int64_t task, void* scratch);
  /// Tasks: blocks of 32 outputs.
  void (*pack)(const Conv2dNarrowPack&, int64_t task, void* scratch);
};

/// Bytes beside the copied bands: bias, sums of two products, tables.
static inline constexpr int64_t conv2d_bf16_scratch(int64_t row_points, int64_t steps, int64_t shortcut_blocks = 0) {
  return 64 * 4 + 2 * 32 * 32 * 4 + 16 * row_points + 16 * steps + 8 * shortcut_blocks;
}

THAW_BF16_KERNELS(Conv2dBf16Kernels, conv2d_bf16)
THAW_BF16_KERNELS(Conv2dNarrowKernels, conv2d_narrow_bf16)

}  // namespace thaw
