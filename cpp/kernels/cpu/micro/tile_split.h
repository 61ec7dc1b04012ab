#pragma once
// A product of tiles whose operands are each the sum of three parts (kernels/conv2d_split.h): six products, the smallest
// first.
#include "kernels/conv2d_split.h"
#include "kernels/cpu/micro/tile.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// 32 numbers as a line of each part, `part` numbers apart. Nothing is left of a finite number.
THAW_INLINE void store_parts(V16 low, V16 high, uint16_t* to, int64_t part) {
  THAW_FOR (p, kSplitParts) {
    uint16_t* line = to + p * part;
    store_line(line, low, high);
    if (p + 1 < kSplitParts) low = sub(low, load_bf16(line)), high = sub(high, load_bf16(line + kLanes));
  }
}

/// The same of weights: two rows of sixteen, element by element.
THAW_INLINE void store_pair_parts(V16 even, V16 odd, uint16_t* to, int64_t part) {
  THAW_FOR (p, kSplitParts) {
    uint16_t* line = to + p * part;
    store_even_odd(line, even, odd);
    if (p + 1 < kSplitParts) even = sub(even, load_even(line)), odd = sub(odd, load_odd(line));
  }
}

/// As TileProduct; part p of a row lies p * part bytes behind its first, and a step has the tiles of all parts of its
/// weights one behind the other.
struct SplitProduct {
  const char* a[2];
  int64_t stride, part;
  const char* b;
  const int64_t* offsets;
  int64_t steps;
  const float* bias;
  float* sums;
  int rows;
};

constexpr int64_t kSplitBytes = kSplitParts * 2 * kTileBytes;  // weights of a step

#if defined(THAW_ISA_amx)

// Tiles as of TileProduct. What one product leaves in them the next uses.
#define THAW_SPLIT_B(tile, p, i) _tile_loadd(tile, b + ((p) * 2 + (i)) * kTileBytes, 64)
#define THAW_SPLIT_A(tile, p, i) _tile_loadd(tile, t.a[i] + t.offsets[k] + (p) * t.part, t.stride)

THAW_INLINE void split_steps_two(const SplitProduct& t) {
  const char* b = t.b;
  for (int64_t k = 0; k < t.steps; ++k, b += kSplitBytes) {
    THAW_SPLIT_B(6, 2, 0);
    THAW_SPLIT_A(4, 0, 0);
    _tile_dpbf16ps(0, 4, 6);
    THAW_SPLIT_B(7, 2, 1);
    _tile_dpbf16ps(1, 4, 7);
    THAW_SPLIT_A(5, 0, 1);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    THAW_SPLIT_B(6, 1, 0);
    _tile_dpbf16ps(0, 4, 6);
    THAW_SPLIT_B(7, 1, 1);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    THAW_SPLIT_A(4, 1, 0);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    THAW_SPLIT_A(5, 1, 1);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    THAW_SPLIT_B(6, 0, 0);
    _tile_dpbf16ps(0, 4, 6);
    THAW_SPLIT_B(7, 0, 1);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    THAW_SPLIT_A(4, 2, 0);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    THAW_SPLIT_A(5, 2, 1);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    THAW_SPLIT_A(4, 0, 0);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    THAW_SPLIT_A(5, 0, 1);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

THAW_INLINE void split_steps_one(const SplitProduct& t) {
  const char* b = t.b;
  for (int64_t k = 0; k < t.steps; ++k, b += kSplitBytes) {
    THAW_SPLIT_B(6, 2, 0);
    THAW_SPLIT_A(4, 0, 0);
    _tile_dpbf16ps(0, 4, 6);
    THAW_SPLIT_B(7, 2, 1);
    _tile_dpbf16ps(1, 4, 7);
    THAW_SPLIT_B(6, 1, 0);
    _tile_dpbf16ps(0, 4, 6);
    THAW_SPLIT_B(7, 1, 1);
    _tile_dpbf16ps(1, 4, 7);
    THAW_SPLIT_A(4, 1, 0);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    THAW_SPLIT_B(6, 0, 0);
    _tile_dpbf16ps(0, 4, 6);
    THAW_SPLIT_B(7, 0, 1);
    _tile_dpbf16ps(1, 4, 7);
    THAW_SPLIT_A(4, 2, 0);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    THAW_SPLIT_A(4, 0, 0);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
}

#undef THAW_SPLIT_A
#undef THAW_SPLIT_B

/// As split_product, of one or two tiles, but added to sums[i]; `first`: nothing lies there yet.
THAW_INLINE void split_add(const SplitProduct& t, float* const* sums, int count, bool first) {
  constexpr int row = 32 * sizeof(float);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  if (!first) {
    _tile_loadd(0, sums[0], row);
    _tile_loadd(1, sums[0] + 16, row);
    if (count == 2) {
      _tile_loadd(2, sums[1], row);
      _tile_loadd(3, sums[1] + 16, row);
    }
  }
  if (count == 2) {
    split_steps_two(t);
    _tile_stored(2, sums[1], row);
    _tile_stored(3, sums[1] + 16, row);
  } else {
    split_steps_one(t);
  }
  _tile_stored(0, sums[0], row);
  _tile_stored(1, sums[0] + 16, row);
}

THAW_INLINE void split_product(const SplitProduct& t) {
  constexpr int row = 32 * sizeof(float);
  _tile_loadd(0, t.bias, 0);
  _tile_loadd(1, t.bias + 16, 0);
  if (t.a[1]) {
    _tile_loadd(2, t.bias, 0);
    _tile_loadd(3, t.bias + 16, 0);
    split_steps_two(t);
    _tile_stored(2, t.sums + kTileRows * 32, row);
    _tile_stored(3, t.sums + kTileRows * 32 + 16, row);
  } else {
    split_steps_one(t);
  }
  _tile_stored(0, t.sums, row);
  _tile_stored(1, t.sums + 16, row);
}

#else

// The parts of a and of b of each product.
constexpr int kSplitProducts[6][2] = {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}};

THAW_INLINE void split_row(const SplitProduct& t, const char* a, V16 (&total)[1][2]) {
  for (int64_t k = 0; k < t.steps; ++k)
    for (const int (&parts)[2] : kSplitProducts) {
      TileProduct one;
      one.stride = t.stride, one.offsets = t.offsets + k, one.steps = 1;
      one.b = t.b + k * kSplitBytes + parts[1] * 2 * kTileBytes;
      tile_steps<1>(one, a + parts[0] * t.part, total);
    }
}

THAW_NOINLINE void split_rows(const SplitProduct& t, const char* a, int rows, const float* from, int64_t step, float* sums) {
  for (int r = 0; r < rows; ++r, sums += 32) {
    V16 total[1][2];
    THAW_FOR (v, 2) total[0][v] = from ? loadu(from + r * step + v * 16) : zero();
    split_row(t, a + r * t.stride, total);
    THAW_FOR (v, 2) storeu(sums + v * 16, total[0][v]);
  }
}

THAW_INLINE void split_add(const SplitProduct& t, float* const* sums, int count, bool first) {
  for (int i = 0; i < count; ++i) split_rows(t, t.a[i], kTileRows, first ? nullptr : sums[i], 32, sums[i]);
}

THAW_INLINE void split_product(const SplitProduct& t) {
  for (int i = 0; i < 2 && t.a[i]; ++i) split_rows(t, t.a[i], t.rows, t.bias, 0, t.sums + i * kTileRows * 32);
}

#endif

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
