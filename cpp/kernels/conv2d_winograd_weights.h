#pragma once
// Gradient by the weights of a convolution 3×3 with stride 1, by Winograd's F(3×3, 4×4) on blocked pictures.
//
// dW = Aᵀ [sum over tiles of (Bᵀ x B) ⊙ (G dy Gᵀ)] A for 6×6 inputs x and 4×4 gradients dy: 36 multiplications per tile
// and pair of channels, not 144. B and the points of interpolation are those of the forward pass (conv2d_winograd.h).
#include "kernels/conv2d_winograd.h"

namespace thaw {

/// A region: up to `region_in` blocks of inputs and `region_out` of outputs. A task sums the tiles of some groups for one
/// region, group by group: one chain of sums for the tiles of a group, then groups in order, then chunks in order.
struct WinogradWeights {
  const float* x;
  const float* dy;
  float* partial;  // [chunk][region] sums: 36 parts of [region_in][16 channels][region_out * 16]; unused with one chunk
  float* dweight;  // [K, C, 3, 3]
  int64_t in_channels, in_blocks, in_height, in_width;
  int64_t out_channels, out_blocks, out_height, out_width;
  int64_t pad_top, pad_left;
  int64_t tile_rows, tile_cols, tiles;  // of a picture; of all pictures
  int64_t group_tiles, groups, chunks;
  int64_t region_in, region_out;        // blocks of a region
  int64_t regions_in, regions_out;
};

/// Floats of the sums of a region.
static inline constexpr int64_t winograd_region_floats(const WinogradWeights& a) {
  return winograd_floats(a.region_in * kBlockLanes * a.region_out);
}

struct WinogradWeightsKernels {
  /// Tasks: regions * chunks. Scratch: the parts of region_in and region_out blocks of a group; with one chunk the sums
  /// of a region, of which it makes the gradient at once.
  void (*sum)(const WinogradWeights&, int64_t task, void* scratch);
  /// Tasks: regions * region_in. Where there are several chunks.
  void (*join)(const WinogradWeights&, int64_t task, void* scratch);
};

THAW_KERNELS(WinogradWeightsKernels, winograd_weights)

}  // namespace thaw
