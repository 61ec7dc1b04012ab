#pragma once
// The product of AMX: two tiles of up to 16 rows (pixels, or channels of a gradient) times two tiles of 16 outputs, in
// bf16 with sums in f32. Elsewhere the same product on V16, with the same roundings in the same order, so that results
// on AMX can be checked on any machine:
//   a step takes 32 of K. Even and odd elements are summed apart, from zero, by fused multiply-adds in ascending order;
//   then even + odd is added to the sum of the steps before.
#include "kernels/cpu/micro/bf16.h"

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int kTileRows = 16;       // at most
constexpr int64_t kTileBytes = 1024;  // of weights: 16 pairs of K × 16 outputs

/// rows × 32 sums: bias + sum over steps of a × b. Row r of step k lies at a[i] + offsets[k] + r * stride bytes, 32
/// elements of K. Its two weight tiles lie at b + k * 2 * kTileBytes, as [pair of K][output][even, odd].
struct TileProduct {
  const char* a[2];  // the second tile may be absent (null)
  int64_t stride;
  const char* b;
  const int64_t* offsets;
  int64_t steps;
  const float* bias;  // 32
  float* sums;        // [2][kTileRows][32]
  int rows;
  /// What later products read: each step brings so many lines of it into the second-level cache.
  const char* ahead = nullptr;
  int64_t ahead_lines = 0;
};

#if defined(THAW_ISA_amx)

struct alignas(64) TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {};
};

/// Sets the rows of the sums and of `a` on this thread, until tile_release.
THAW_INLINE void tile_configure(int rows) {
  TileConfig c;
  for (int i = 0; i < 8; ++i) c.rows[i] = static_cast<uint8_t>(i < 6 ? rows : kTileRows);
  // Not the intrinsic, which tells GCC 12 of the first eight bytes alone.
  __asm__ volatile("ldtilecfg %0" : : "m"(c));
}
THAW_INLINE void tile_release() { _tile_release(); }

// Tiles 0 to 3: sums. 4, 5: a. 6, 7: b.
THAW_INLINE void tile_steps_two(const TileProduct& t) {
  const char *b = t.b, *ahead = t.ahead;
  for (int64_t k = 0; k < t.steps; ++k, b += 2 * kTileBytes) {
    _tile_loadd(6, b, 64);
    _tile_loadd(4, t.a[0] + t.offsets[k], t.stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kTileBytes, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, t.a[1] + t.offsets[k], t.stride);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    for (int64_t i = 0; i < t.ahead_lines; ++i, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T1);
  }
}

THAW_INLINE void tile_steps_one(const TileProduct& t) {
  const char* b = t.b;
  for (int64_t k = 0; k < t.steps; ++k, b += 2 * kTileBytes) {
    _tile_loadd(6, b, 64);
    _tile_loadd(4, t.a[0] + t.offsets[k], t.stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kTileBytes, 64);
    _tile_dpbf16ps(1, 4, 7);
  }
}

THAW_INLINE void tile_begin_two(const TileProduct& t) {
  _tile_loadd(0, t.bias, 0);
  _tile_loadd(1, t.bias + 16, 0);
  _tile_loadd(2, t.bias, 0);
  _tile_loadd(3, t.bias + 16, 0);
}

THAW_INLINE void tile_begin_one(const TileProduct& t) {
  _tile_loadd(0, t.bias, 0);
  _tile_loadd(1, t.bias + 16, 0);
}

THAW_INLINE void tile_end_two(const TileProduct& t) {
  constexpr int row = 32 * sizeof(float);
  _tile_stored(0, t.sums, row);
  _tile_stored(1, t.sums + 16, row);
  _tile_stored(2, t.sums + kTileRows * 32, row);
  _tile_stored(3, t.sums + kTileRows * 32 + 16, row);
}

THAW_INLINE void tile_end_one(const TileProduct& t) {
  _tile_stored(0, t.sums, 32 * sizeof(float));
  _tile_stored(1, t.sums + 16, 32 * sizeof(float));
}

THAW_INLINE void tile_product(const TileProduct& t) {
  if (t.a[1]) {
    tile_begin_two(t);
    tile_steps_two(t);
    tile_end_two(t);
  } else {
    tile_begin_one(t);
    tile_steps_one(t);
    tile_end_one(t);
  }
}

/// The same with more steps after these, of which a, b, offsets, steps and ahead count.
THAW_INLINE void tile_product(const TileProduct& t, const TileProduct& more) {
  if (t.a[1]) {
    tile_begin_two(t);
    tile_steps_two(t);
    tile_steps_two(more);
    tile_end_two(t);
  } else {
    tile_begin_one(t);
    tile_steps_one(t);
    tile_steps_one(more);
    tile_end_one(t);
  }
}

#else

THAW_INLINE void tile_configure(int) {}
THAW_INLINE void tile_release() {}

/// Steps of M rows of one tile, so that a pair of weights is widened once for several rows.
template <int M>
THAW_INLINE void tile_steps(const TileProduct& t, const char* a, V16 (&total)[M][2]) {
  const char* b = t.b;
  for (int64_t k = 0; k < t.steps; ++k, b += 2 * kTileBytes) {
    THAW_FOR (v, 2) {
      V16 even[M], odd[M];
      THAW_FOR (r, M) even[r] = odd[r] = zero();
      for (int p = 0; p < 16; ++p) {
        const uint16_t* pair = reinterpret_cast<const uint16_t*>(b + v * kTileBytes + p * 64);
        const V16 even_weights = load_even(pair), odd_weights = load_odd(pair);
        THAW_FOR (r, M) {
          const uint16_t* x = reinterpret_cast<const uint16_t*>(a + t.offsets[k] + r * t.stride) + 2 * p;
          even[r] = fma(broadcast(to_float(x[0])), even_weights, even[r]);
          odd[r] = fma(broadcast(to_float(x[1])), odd_weights, odd[r]);
        }
      }
      THAW_FOR (r, M) total[r][v] = add(total[r][v], add(even[r], odd[r]));
    }
  }
}

/// Rows from `row` on of tile i. `more` may be null.
template <int M>
THAW_INLINE void tile_rows(const TileProduct& t, const TileProduct* more, int i, int row) {
  V16 total[M][2];
  THAW_FOR (r, M)
    THAW_FOR (v, 2) total[r][v] = loadu(t.bias + v * 16);
  tile_steps<M>(t, t.a[i] + row * t.stride, total);
  if (more) tile_steps<M>(*more, more->a[i] + row * more->stride, total);
  float* sums = t.sums + (i * kTileRows + row) * 32;
  THAW_FOR (r, M)
    THAW_FOR (v, 2) storeu(sums + r * 32 + v * 16, total[r][v]);
}

THAW_NOINLINE void tile_four_rows(const TileProduct& t, const TileProduct* more, int i, int row) {
  tile_rows<4>(t, more, i, row);
}
THAW_NOINLINE void tile_one_row(const TileProduct& t, const TileProduct* more, int i, int row) {
  tile_rows<1>(t, more, i, row);
}

THAW_INLINE void tile_products(const TileProduct& t, const TileProduct* more) {
  for (int i = 0; i < 2 && t.a[i]; ++i) {
    int r = 0;
    for (; r + 4 <= t.rows; r += 4) tile_four_rows(t, more, i, r);
    for (; r < t.rows; ++r) tile_one_row(t, more, i, r);
  }
}

THAW_INLINE void tile_product(const TileProduct& t) { tile_products(t, nullptr); }
THAW_INLINE void tile_product(const TileProduct& t, const TileProduct& more) { tile_products(t, &more); }

#endif

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
