#pragma once
// Blocks of 32 × 32 weights in bf16 as tiles of pairs (kernels/conv2d_bf16.h).
#include "kernels/cpu/micro/bf16.h"
#include "kernels/cpu/micro/transpose_dwords.h"

namespace thaw {
namespace THAW_ISA {
namespace {

#if defined(THAW_ISA_avx512)

// Two lines, element by element.
THAW_INLINE void store_pairs(const uint16_t* even, const uint16_t* odd, uint16_t* low, uint16_t* high) {
  const __m512i a = _mm512_load_si512(even), b = _mm512_load_si512(odd);
  const __m512i first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(a));
  const __m512i second = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(a, 1));
  const __m512i other = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(b));
  const __m512i last = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(b, 1));
  _mm512_store_si512(low, _mm512_or_si512(first, _mm512_slli_epi32(other, 16)));
  _mm512_store_si512(high, _mm512_or_si512(second, _mm512_slli_epi32(last, 16)));
}

#else

THAW_INLINE void store_pairs(const uint16_t* even, const uint16_t* odd, uint16_t* low, uint16_t* high) {
  for (int i = 0; i < 16; ++i) {
    low[2 * i] = even[i], low[2 * i + 1] = odd[i];
    high[2 * i] = even[16 + i], high[2 * i + 1] = odd[16 + i];
  }
}

#endif

/// 32 lines of 32, rows of what the weights have first, as two tiles.
THAW_INLINE void store_tiles(const uint16_t* lines, bool transposed, uint16_t* to) {
  if (transposed) {
    for (int i = 0; i < 16; ++i) store_pairs(lines + i * 64, lines + i * 64 + 32, to + i * 32, to + 512 + i * 32);
  } else {
    transpose_dwords(lines, 64, to, 64);
    transpose_dwords(lines + 512, 64, to + 512, 64);
  }
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
