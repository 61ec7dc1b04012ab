#pragma once
// dweight of a convolution from pictures in bf16, as products of tiles whose K runs over pixels:
//   dweight[k][c][tap] = sum over positions p of x[c][p + offset of the tap] * dy[p][k]
// A unit, some rows of a picture or some whole pictures, is laid out as one row of positions. Rows of the grid follow
// each other at a pitch that leaves room for what the taps reach beyond a row; dy is zero there. At strides, x is split
// into its phases, so that a tap is a constant distance.
//
// Pictures in f32 are taken apart into parts of bf16 (kernels/conv2d_split.h).
#include "kernels/conv2d_split.h"

namespace thaw {

struct Conv2dWeightsBf16 {
  const void* x;   // lines of bf16; `narrow`: plain f32 [N,C,H,W]; in parts: lines of f32
  const void* dy;  // lines of bf16, or f32
  float* partial;      // [chunk][tile][tile_floats], where sums go if `parted`
  float* dweight;      // [K, C/groups, kh, kw], where they go else
  bool narrow;         // then each pair of a channel and a tap is a channel of its own, of one tap
  int64_t parts;       // 1, or kSplitParts
  int64_t pictures, in_blocks, in_height, in_width;  // blocks: those of the pictures
  int64_t out_blocks, out_height, out_width;
  int64_t in_channels, out_channels, groups, taps;  // of the product

  Conv2dCopyAxis rows, cols;  // the phases; extents: those of a full unit
  int64_t pitch, picture_pitch, slot_positions;
  const int64_t* tap_offsets;  // positions; narrow: those of the kernel's taps
  int64_t kernel_taps, reach;  // reach: the largest of the offsets
  int64_t unit_pictures, unit_rows, units;
  int64_t steps, x_steps;  // of 32 positions in a full unit: of dy, of x
  int64_t x_stride;        // bytes of a channel's row

  const Conv2dPanel* panels;  // of 32 outputs
  const Conv2dWeightsTile* tiles;
  int64_t tile_count, tile_floats;  // most sums of a tile: [panel][block][tap][32 channels][32 columns]
  int64_t chunks;                   // of units
  bool parted;                      // chunks are joined by another launch
  int64_t most_blocks, most_panels;  // of a tile
};

struct Conv2dWeightsBf16Kernels {
  /// Tasks: tile_count * chunks, of one chunk if not `parted`. Scratch: conv2d_weights_bf16_scratch.
  void (*weights)(const Conv2dWeightsBf16&, int64_t task, void* scratch);
  /// Tasks: tile_count * most_panels. Scratch: taps * 4 KiB.
  void (*join)(const Conv2dWeightsBf16&, int64_t task, void* scratch);
};

/// Positions in the table of x, which has all phases whole.
static inline constexpr int64_t conv2d_weights_bf16_positions(const Conv2dWeightsBf16& a) {
  const int64_t all = a.rows.slots * a.cols.slots * a.slot_positions;
  return (all > a.x_steps * 32 ? all + 31 : a.x_steps * 32) / 32 * 32;
}

/// Numbers of a row of a narrow picture, rounded up; bytes of all its rows and positions.
static inline constexpr int64_t conv2d_weights_bf16_row(const Conv2dWeightsBf16& a) { return (a.in_width + 63) / 32 * 32; }
static inline constexpr int64_t conv2d_weights_bf16_narrow(const Conv2dWeightsBf16& a) {
  if (!a.narrow) return 0;
  return a.parts * (a.in_channels / a.kernel_taps * conv2d_weights_bf16_positions(a) + conv2d_weights_bf16_row(a)) * 2;
}

/// Bytes: a line of zeros, tables, the rows of x, those of narrow pictures (and one row of a picture), dy, the sums, a step
/// in parts.
static inline constexpr int64_t conv2d_weights_bf16_scratch(const Conv2dWeightsBf16& a) {
  const int64_t positions = conv2d_weights_bf16_positions(a);
  return 64 + (positions + a.steps * 40) * 8 + a.parts * (a.most_blocks * 32 * a.x_stride + 2048) +
         conv2d_weights_bf16_narrow(a) +
         a.parts * a.most_panels * a.steps * 2048 + (a.parted ? 0 : a.tile_floats * 4);
}

THAW_BF16_KERNELS(Conv2dWeightsBf16Kernels, conv2d_weights_bf16)

}  // namespace thaw
