#pragma once
// Winograd's transforms that the kernels share; see kernels/conv2d_winograd.h.
#include "kernels/conv2d_winograd.h"
#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

// Points ±a and ±b of the interpolation. Powers and products of them have few bits: they are exact.
constexpr float kA = 0.625f, kB = 1.5f;
constexpr float kA2 = kA * kA, kB2 = kB * kB;

THAW_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Bᵀ on six numbers.
THAW_INLINE void transform_numbers(const V16 (&d)[kWinogradPatch], V16 (&to)[kWinogradPatch]) {
  const V16 a = broadcast(kA), b = broadcast(kB), a2 = broadcast(kA2), b2 = broadcast(kB2);
  const V16 sum = broadcast(kA2 + kB2), product = broadcast(kA2 * kB2);
  const V16 even_a = fnma(b2, d[2], d[4]), odd_a = fnma(b2, d[1], d[3]);
  const V16 even_b = fnma(a2, d[2], d[4]), odd_b = fnma(a2, d[1], d[3]);
  to[0] = fma(product, d[0], fnma(sum, d[2], d[4]));
  to[1] = fma(a, odd_a, even_a);
  to[2] = fnma(a, odd_a, even_a);
  to[3] = fma(b, odd_b, even_b);
  to[4] = fnma(b, odd_b, even_b);
  to[5] = fma(product, d[1], fnma(sum, d[3], d[5]));
}

// The same on numbers `step` floats apart.
THAW_INLINE void transform_line(const float* from, int64_t step, float* to, int64_t to_step) {
  V16 d[kWinogradPatch], result[kWinogradPatch];
  THAW_FOR (i, kWinogradPatch) d[i] = load(from + i * step);
  transform_numbers(d, result);
  THAW_FOR (i, kWinogradPatch) store(to + i * to_step, result[i]);
}

// One block of one tile: 6×6 pixels, rows `pitch` floats apart, to 36 lines `step` floats apart.
THAW_NOINLINE void transform_tile(const float* x, int64_t pitch, float* v, int64_t step) {
  alignas(64) float rows[kWinogradProducts * kLanes];
  for (int64_t i = 0; i < kWinogradPatch; ++i)
    transform_line(x + i * pitch, kLanes, rows + i * kWinogradPatch * kLanes, kLanes);
  for (int64_t j = 0; j < kWinogradPatch; ++j)
    transform_line(rows + j * kLanes, kWinogradPatch * kLanes, v + j * step, kWinogradPatch * step);
}

// The pixels of a tile that reaches beyond the picture, zeros beyond.
THAW_INLINE void copy_patch(const float* plane, int64_t height, int64_t width, int64_t y, int64_t x, float* patch) {
  for (int64_t i = 0; i < kWinogradPatch; ++i)
    for (int64_t j = 0; j < kWinogradPatch; ++j) {
      const int64_t row = y + i, col = x + j;
      const bool inside = row >= 0 && row < height && col >= 0 && col < width;
      store(patch + (i * kWinogradPatch + j) * kLanes,
            inside ? load(plane + (row * width + col) * kLanes) : zero());
    }
}

struct TilePlace {
  int64_t picture, row, col;  // in tiles
};

THAW_INLINE TilePlace place_of(int64_t rows, int64_t cols, int64_t tile) {
  const int64_t each = rows * cols, within = tile % each;
  return {tile / each, within / cols, within % cols};
}

/// Blocked pictures whose patches of 6×6 lie four pixels apart, the first at (-pad_top, -pad_left).
struct TileInputs {
  const float* x;
  int64_t blocks, height, width;
  int64_t pad_top, pad_left;
  int64_t tile_rows, tile_cols;
};

// One block of the tiles [first, first + count) → v [36][tile][16], parts `step` floats apart.
THAW_INLINE void transform_tiles(const TileInputs& a, int64_t first, int64_t count, int64_t block, float* v, int64_t step) {
  alignas(64) float patch[kWinogradProducts * kLanes];
  for (int64_t i = 0; i < count; ++i) {
    const TilePlace place = place_of(a.tile_rows, a.tile_cols, first + i);
    const float* plane = a.x + (place.picture * a.blocks + block) * a.height * a.width * kLanes;
    const int64_t y = place.row * kWinogradTile - a.pad_top, x = place.col * kWinogradTile - a.pad_left;
    float* to = v + i * kLanes;
    const bool inside = y >= 0 && x >= 0 && y + kWinogradPatch <= a.height && x + kWinogradPatch <= a.width;
    if (inside) {
      transform_tile(plane + (y * a.width + x) * kLanes, a.width * kLanes, to, step);
    } else {
      copy_patch(plane, a.height, a.width, y, x, patch);
      transform_tile(patch, kWinogradPatch * kLanes, to, step);
    }
  }
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
