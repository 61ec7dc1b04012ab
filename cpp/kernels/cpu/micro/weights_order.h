#pragma once
// Sums of a block of 32 channels x 32 outputs, [tap][channel][output], into rows of weights [channel][tap].
#include "kernels/cpu/micro/transpose_dwords.h"

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int64_t kMostTaps = 16;

/// Rows of sixteen columns, [tap][column][channel], taps an odd number of lines apart so that their rows lie in different
/// sets of the first-level cache.
constexpr int64_t kTapRows = 16 * 32 + 16;

#if defined(THAW_ISA_avx512)

// Element p of a result is channel p / taps of tap p % taps. Sixteen channels are `taps` vectors, so each vector takes from
// one half of the taps' rows alone, from every row of it, and both halves are taken alike: a row's elements go into their
// places, all others stay.
class WeightsOrder {
 public:
  explicit WeightsOrder(int64_t taps) : taps_(taps) {
    if (!fits(taps)) return;
    for (int64_t v = 0; v < taps; ++v)
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t i = 0; i < 16; ++i) {
          const int64_t p = v * 16 + i;
          lane_[v][t][i] = static_cast<int32_t>(p % taps == t ? 16 + p / taps : i);
        }
  }

  static bool fits(int64_t taps) { return taps <= kMostTaps; }

  /// One output, of which `rows` is the first tap's row of 32 channels.
  void row(const float* rows, float* to) const {
    for (int64_t half = 0; half < 32; half += 16)
      for (int64_t v = 0; v < taps_; ++v, to += 16) {
        __m512 line = _mm512_load_ps(rows + half);
        for (int64_t t = taps_ == 1 ? 1 : 0; t < taps_; ++t)
          line = _mm512_permutex2var_ps(line, _mm512_load_si512(lane_[v][t]), _mm512_load_ps(rows + t * kTapRows + half));
        _mm512_storeu_ps(to, line);
      }
  }

 private:
  alignas(64) int32_t lane_[kMostTaps][kMostTaps][16];
  int64_t taps_;
};

#else

class WeightsOrder {
 public:
  explicit WeightsOrder(int64_t taps) : taps_(taps) {}
  static bool fits(int64_t taps) { return taps <= kMostTaps; }

  void row(const float* rows, float* to) const {
    for (int64_t channel = 0; channel < 32; ++channel)
      for (int64_t t = 0; t < taps_; ++t) *to++ = rows[t * kTapRows + channel];
  }

 private:
  int64_t taps_;
};

#endif

/// Columns from `sums` on. Sixteen at a time with nine taps stay in the first-level cache.
THAW_INLINE void transpose_columns(const float* sums, int64_t taps, float* rows) {
  constexpr int64_t row = 32 * sizeof(float);
  for (int64_t t = 0; t < taps; ++t)
    THAW_FOR (c, 2) transpose_dwords(sums + t * 1024 + c * 16 * 32, row, rows + t * kTapRows + c * 16, row);
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
