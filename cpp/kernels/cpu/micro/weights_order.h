#pragma once
// Sums of a block of 32 channels x 32 outputs, [tap][channel][output], into rows of weights [channel][tap].
#include "kernels/cpu/micro/transpose_dwords.h"

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int64_t kMostTaps = 16;

#if defined(THAW_ISA_avx512)

// Which element of which tap's row each element of the result is: element p is channel p / taps of tap p % taps.
class WeightsOrder {
 public:
  explicit WeightsOrder(int64_t taps) : taps_(taps) {
    if (!fits(taps)) return;
    for (int64_t v = 0; v < 2 * taps; ++v) {
      for (int64_t t = 0; t < taps; ++t) of_row_[v][t][0] = of_row_[v][t][1] = 0;
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t p = v * 16 + i, channel = p / taps;
        lane_[v][i] = static_cast<int32_t>(channel % 16);
        of_row_[v][p % taps][channel / 16] |= static_cast<__mmask16>(1 << i);
      }
    }
  }

  static bool fits(int64_t taps) { return taps <= kMostTaps; }

  /// One output: the taps' rows of 32 channels lie `stride` bytes apart.
  void row(const char* rows, int64_t stride, float* to) const {
    if (taps_ == 1) {
      _mm512_storeu_ps(to, _mm512_load_ps(rows));
      _mm512_storeu_ps(to + 16, _mm512_load_ps(rows + 64));
      return;
    }
    for (int64_t v = 0; v < 2 * taps_; ++v) {
      const __m512i lanes = _mm512_load_si512(lane_[v]);
      __m512 line = _mm512_setzero_ps();
      for (int64_t t = 0; t < taps_; ++t)
        THAW_FOR (half, 2) {
          const __mmask16 mask = of_row_[v][t][half];
          if (mask) line = _mm512_mask_permutexvar_ps(line, mask, lanes, _mm512_load_ps(rows + t * stride + half * 64));
        }
      _mm512_storeu_ps(to + v * 16, line);
    }
  }

 private:
  alignas(64) int32_t lane_[2 * kMostTaps][16];
  __mmask16 of_row_[2 * kMostTaps][kMostTaps][2];
  int64_t taps_;
};

#else

class WeightsOrder {
 public:
  explicit WeightsOrder(int64_t taps) : taps_(taps) {}
  static bool fits(int64_t taps) { return taps <= kMostTaps; }

  void row(const char* rows, int64_t stride, float* to) const {
    for (int64_t channel = 0; channel < 32; ++channel)
      for (int64_t t = 0; t < taps_; ++t) __builtin_memcpy(to++, rows + t * stride + channel * 4, 4);
  }

 private:
  int64_t taps_;
};

#endif

/// `scratch`: [tap][output][channel], as large as the sums.
THAW_INLINE void transpose_block(const float* sums, int64_t taps, float* scratch) {
  constexpr int64_t row = 32 * sizeof(float);
  for (int64_t t = 0; t < taps; ++t, sums += 1024, scratch += 1024)
    THAW_FOR (c, 2)
      THAW_FOR (o, 2) transpose_dwords(sums + c * 16 * 32 + o * 16, row, scratch + o * 16 * 32 + c * 16, row);
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
