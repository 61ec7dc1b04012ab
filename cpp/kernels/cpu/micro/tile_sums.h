#pragma once
// Products of tiles that are added to sums in memory, for gradients of weights: K runs over pixels, a few hundred of
// them at a time. Roundings and their order are those of micro/tile.h.
#include "kernels/cpu/micro/tile.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// sums[i] += a[i] × b for one or two tiles `a` of 16 rows. Row r of step k lies at a[i] + r * stride + k * 64 bytes, the
/// two tiles of step k of `b` at b + k * 2 * kTileBytes.
struct TileSums {
  const char* a[2];
  int64_t stride;
  const char* b;
  int64_t steps;
  float* sums[2];  // [16][32]
  bool first;      // nothing lies at sums yet
};

#if defined(THAW_ISA_amx)

constexpr int kSumRow = 32 * sizeof(float);

// Two tiles of `a` at a time and both of `b`, each loaded once: three of `a` leave no room for that, and take 133 cycles for a
// step of 32 rows where two take 118.
#define THAW_SUMS_BEGIN(i, j)               \
  if (t.first) {                            \
    _tile_zero(i);                          \
    _tile_zero(j);                          \
  } else {                                  \
    _tile_loadd(i, t.sums[i], kSumRow);     \
    _tile_loadd(j, t.sums[i] + 16, kSumRow); \
  }
#define THAW_SUMS_END(i, j)            \
  _tile_stored(i, t.sums[i], kSumRow); \
  _tile_stored(j, t.sums[i] + 16, kSumRow);

THAW_INLINE void tile_add_two(const TileSums& t) {
  THAW_SUMS_BEGIN(0, 2)
  THAW_SUMS_BEGIN(1, 3)
  for (int64_t k = 0; k < t.steps; ++k) {
    const char* b = t.b + k * 2 * kTileBytes;
    _tile_loadd(6, b, 64);
    _tile_loadd(4, t.a[0] + k * 64, t.stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kTileBytes, 64);
    _tile_dpbf16ps(2, 4, 7);
    _tile_loadd(5, t.a[1] + k * 64, t.stride);
    _tile_dpbf16ps(1, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  THAW_SUMS_END(0, 2)
  THAW_SUMS_END(1, 3)
}

THAW_INLINE void tile_add_one(const TileSums& t) {
  THAW_SUMS_BEGIN(0, 2)
  for (int64_t k = 0; k < t.steps; ++k) {
    const char* b = t.b + k * 2 * kTileBytes;
    _tile_loadd(4, t.a[0] + k * 64, t.stride);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kTileBytes, 64);
    _tile_dpbf16ps(2, 4, 7);
  }
  THAW_SUMS_END(0, 2)
}

#undef THAW_SUMS_BEGIN
#undef THAW_SUMS_END

THAW_NOINLINE void tile_add(const TileSums& t, int count) {
  if (count == 2) tile_add_two(t);
  else tile_add_one(t);
}

#else

// Four rows, so that a pair of columns is widened once for several of them.
THAW_NOINLINE void tile_add_rows(const TileSums& t, const char* a, float* sums) {
  constexpr int M = 4;
  THAW_FOR (v, 2) {
    V16 total[M];
    THAW_FOR (r, M) total[r] = t.first ? zero() : loadu(sums + r * 32 + v * 16);
    for (int64_t k = 0; k < t.steps; ++k) {
      const char* b = t.b + (2 * k + v) * kTileBytes;
      V16 even[M], odd[M];
      THAW_FOR (r, M) even[r] = odd[r] = zero();
      for (int p = 0; p < 16; ++p) {
        const uint16_t* pair = reinterpret_cast<const uint16_t*>(b + p * 64);
        const V16 even_columns = load_even(pair), odd_columns = load_odd(pair);
        THAW_FOR (r, M) {
          const uint16_t* x = reinterpret_cast<const uint16_t*>(a + r * t.stride + k * 64) + 2 * p;
          even[r] = fma(broadcast(to_float(x[0])), even_columns, even[r]);
          odd[r] = fma(broadcast(to_float(x[1])), odd_columns, odd[r]);
        }
      }
      THAW_FOR (r, M) total[r] = add(total[r], add(even[r], odd[r]));
    }
    THAW_FOR (r, M) storeu(sums + r * 32 + v * 16, total[r]);
  }
}

THAW_INLINE void tile_add(const TileSums& t, int count) {
  for (int i = 0; i < count; ++i)
    for (int r = 0; r < kTileRows; r += 4) tile_add_rows(t, t.a[i] + r * t.stride, t.sums[i] + r * 32);
}

#endif

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
