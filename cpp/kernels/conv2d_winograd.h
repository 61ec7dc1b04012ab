#pragma once
// Convolution 3×3 with stride 1 by Winograd's F(4×4, 3×3) on blocked pictures: a tile of 4×4 outputs costs 36
// multiplications per pair of channels, not 144. ops/conv2d_winograd.cpp fills these structs.
//
// y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A for weights g and 6×6 inputs d, summed over channels before Aᵀ … A. The points of
// interpolation are 0, ±5/8, ±3/2 and infinity: they round off half as much as 0, ±1, ±2, and all coefficients of A and
// B are floats.
#include "kernels/conv2d.h"

namespace thaw {

constexpr int64_t kWinogradTile = 4;       // outputs of a tile, by rows and columns
constexpr int64_t kWinogradPatch = 6;      // inputs of a tile
constexpr int64_t kWinogradProducts = 36;  // numbers of a transformed tile
constexpr int64_t kBlockLanes = 16;        // channels of a block

struct Winograd {
  const float* x;
  const float* weights;   // [panel][36][in_channels][vectors * 16 outputs], or as for the direct kernel
  const float* bias;      // [out_channels] or null
  const float* residual;  // like y, or null
  const float* gate;      // like y, or null: where it is not above 0, y is 0
  float* y;
  float* v;      // transformed inputs, made by `transform`; null: every task of `multiply` makes its own in scratch
  bool weigh;    // `weights` are those of the direct kernel: tasks of `multiply` transform them
  int64_t in_channels, in_blocks, in_height, in_width;
  int64_t out_channels, out_blocks, out_height, out_width;
  int64_t y_gap;  // as of Conv2d
  int64_t pad_top, pad_left;
  int64_t tile_rows, tile_cols, tiles;  // of a picture; of all pictures
  int64_t group_tiles, groups;          // tiles that are transformed and multiplied together
  int64_t panel_count, chunk_panels;    // panels a task takes
  int64_t sum_blocks;                   // input blocks whose weights are transformed together
  int64_t chain_blocks;                 // of these, blocks summed in one chain
  Activation activation;
  float alpha;
};

struct WinogradPack {
  const float* weight;  // [K, C, 3, 3]
  float* packed;
  int64_t in_channels, out_channels;  // of the packed product: exchanged where `transposed`
  bool transposed;                    // for the gradient by x: taps in reverse order too
};

// Floats of the 36 parts of `count` lines each. One line more lies behind every part: their distance is no power of
// two, so that they do not all fall into one set of a cache.
static inline constexpr int64_t winograd_floats(int64_t lines) { return kWinogradProducts * (lines + 1) * kBlockLanes; }

struct WinogradKernels {
  int64_t panel_vectors, tile_pixels;  // as in Conv2dKernels
  /// Tasks: groups * in_blocks.
  void (*transform)(const Winograd&, int64_t task, void* scratch);
  /// Tasks: groups * ceil(panel_count / chunk_panels). Scratch: the parts of the products of a panel; without `v` those
  /// of the inputs; with `weigh` those of a panel's weights from sum_blocks blocks.
  void (*multiply)(const Winograd&, int64_t task, void* scratch);
  /// Tasks: panel_count.
  void (*pack)(const WinogradPack&, int64_t task, void* scratch);
};

THAW_KERNELS(WinogradKernels, winograd)

}  // namespace thaw
