#pragma once
// Winograd's transforms of weights and of sums that the kernels of outputs share; see kernels/conv2d_winograd.h.
#include "kernels/cpu/micro/activate.h"
#include "kernels/cpu/micro/winograd.h"

namespace thaw {
namespace THAW_ISA {
namespace {

// G on three numbers: the values of their polynomial at the points, each over the product of its distances to the
// other points.
THAW_INLINE void weigh_numbers(V16 g0, V16 g1, V16 g2, V16 (&to)[kWinogradPatch]) {
  constexpr double a = kA, b = kB;
  constexpr double scale_a = 1 / (2 * a * a * (a * a - b * b)), scale_b = 1 / (2 * b * b * (b * b - a * a));
  constexpr float at_zero = static_cast<float>(1 / (a * a * b * b));
  constexpr float a0 = static_cast<float>(scale_a), a1 = static_cast<float>(scale_a * a),
                  a2 = static_cast<float>(scale_a * a * a), b0 = static_cast<float>(scale_b),
                  b1 = static_cast<float>(scale_b * b), b2 = static_cast<float>(scale_b * b * b);
  const V16 even_a = fma(broadcast(a2), g2, mul(broadcast(a0), g0)), odd_a = mul(broadcast(a1), g1);
  const V16 even_b = fma(broadcast(b2), g2, mul(broadcast(b0), g0)), odd_b = mul(broadcast(b1), g1);
  to[0] = mul(broadcast(at_zero), g0);
  to[1] = add(even_a, odd_a);
  to[2] = sub(even_a, odd_a);
  to[3] = add(even_b, odd_b);
  to[4] = sub(even_b, odd_b);
  to[5] = g2;
}

THAW_INLINE void weigh_line(V16 g0, V16 g1, V16 g2, float* to, int64_t step) {
  V16 result[kWinogradPatch];
  weigh_numbers(g0, g1, g2, result);
  THAW_FOR (i, kWinogradPatch) store(to + i * step, result[i]);
}

// Aᵀ on six numbers.
THAW_INLINE void finish_line(const float* from, int64_t step, V16 (&to)[4]) {
  const V16 m1 = load(from + step), m2 = load(from + 2 * step), m3 = load(from + 3 * step), m4 = load(from + 4 * step);
  const V16 sum_a = add(m1, m2), difference_a = sub(m1, m2), sum_b = add(m3, m4), difference_b = sub(m3, m4);
  to[0] = add(load(from), add(sum_a, sum_b));
  to[1] = fma(broadcast(kB), difference_b, mul(broadcast(kA), difference_a));
  to[2] = fma(broadcast(kB2), sum_b, mul(broadcast(kA2), sum_a));
  to[3] = fma(broadcast(kB2 * kB), difference_b,
              fma(broadcast(kA2 * kA), difference_a, load(from + 5 * step)));
}

// One block of one tile, at most 4×4 pixels of it, rows `pitch` floats apart.
struct TileOutput {
  float* y;
  const float *residual, *gate;  // like y, or null
  int64_t pitch, rows, cols;
};

// Apart from the sums, so that their registers stay free of what few convolutions need.
THAW_NOINLINE void activate_tile(const Winograd& a, const TileOutput& out) {
  for (int64_t i = 0; i < out.rows; ++i) {
    float* row = out.y + i * out.pitch;
    activate_all(row, row, out.cols * kLanes, a.activation, a.alpha);
  }
}

THAW_NOINLINE void finish_tile(const Winograd& a, const float* m, int64_t step, V16 bias, const TileOutput& out) {
  alignas(64) float lines[kWinogradTile * kWinogradPatch * kLanes];
  V16 four[4];
  for (int64_t i = 0; i < kWinogradPatch; ++i) {
    finish_line(m + i * kWinogradPatch * step, step, four);
    THAW_FOR (j, 4) store(lines + (j * kWinogradPatch + i) * kLanes, four[j]);
  }
  const bool relu = a.activation == Activation::relu;
  for (int64_t j = 0; j < out.cols; ++j) {
    finish_line(lines + j * kWinogradPatch * kLanes, kLanes, four);
    THAW_FOR (i, 4) {
      if (i >= out.rows) break;
      const int64_t at = i * out.pitch + j * kLanes;
      V16 value = add(four[i], bias);
      if (out.residual) value = add(value, load(out.residual + at));
      if (out.gate) value = select(less(zero(), load(out.gate + at)), value, zero());
      store(out.y + at, relu ? maximum(zero(), value) : value);
    }
  }
  if (!relu && a.activation != Activation::none) activate_tile(a, out);
}

/// The sums of all tiles of a group for one block of outputs.
struct BlockSums {
  const float* m;  // [36][tile][16]: tiles `tile_step` floats apart, parts `part_step`
  int64_t tile_step, part_step;
  int64_t first, tiles;
  int64_t block;
};

void finish_block(const Winograd& a, const BlockSums& s) {
  const int64_t channel = s.block * kLanes;
  const V16 bias = a.bias ? load_n(a.bias + channel, smaller(kLanes, a.out_channels - channel)) : zero();
  for (int64_t i = 0; i < s.tiles; ++i) {
    const TilePlace place = place_of(a.tile_rows, a.tile_cols, s.first + i);
    const int64_t row = place.row * kWinogradTile, col = place.col * kWinogradTile;
    const int64_t plane = place.picture * (a.out_blocks + a.y_gap) + s.block;
    const int64_t pixel = (plane * a.out_height + row) * a.out_width + col;
    const TileOutput out{a.y + pixel * kLanes,
                         a.residual ? a.residual + pixel * kLanes : nullptr,
                         a.gate ? a.gate + pixel * kLanes : nullptr,
                         a.out_width * kLanes,
                         smaller(kWinogradTile, a.out_height - row),
                         smaller(kWinogradTile, a.out_width - col)};
    finish_tile(a, s.m + i * s.tile_step, s.part_step, bias, out);
  }
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
