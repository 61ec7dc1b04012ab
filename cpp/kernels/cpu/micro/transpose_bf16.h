#pragma once
// Lines of 32 channels in bf16, one a pixel, into the operands of products whose K runs over pixels.
#include "kernels/cpu/micro/bf16.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// Column of a pair of tiles in which pair_lines puts a channel: what one unpacking instruction gives.
constexpr int column_of(int channel) { return channel / 4 % 2 * 16 + channel / 8 * 4 + channel % 4; }

#if defined(THAW_ISA_avx512)

// Lane L of register i holds eight channels of pixel 8 L + i; afterwards register c those eight pixels of channel c.
THAW_INLINE void transpose_words(__m512i (&r)[8]) {
  __m512i s[8], t[8];
  THAW_FOR (i, 4) {
    s[2 * i] = _mm512_unpacklo_epi16(r[2 * i], r[2 * i + 1]);
    s[2 * i + 1] = _mm512_unpackhi_epi16(r[2 * i], r[2 * i + 1]);
  }
  THAW_FOR (half, 2) {
    THAW_FOR (i, 2) {
      t[4 * half + 2 * i] = _mm512_unpacklo_epi32(s[4 * half + i], s[4 * half + 2 + i]);
      t[4 * half + 2 * i + 1] = _mm512_unpackhi_epi32(s[4 * half + i], s[4 * half + 2 + i]);
    }
  }
  THAW_FOR (i, 4) {
    r[2 * i] = _mm512_unpacklo_epi64(t[i], t[4 + i]);
    r[2 * i + 1] = _mm512_unpackhi_epi64(t[i], t[4 + i]);
  }
}

// Sixteen bytes of each of four pixels. Merging loads leave the shuffle port to the transposition.
THAW_INLINE __m512i load_four(const char* const* p, int64_t at) {
  __m512i r = _mm512_castsi128_si512(_mm_load_si128(reinterpret_cast<const __m128i*>(p[0] + at)));
  r = _mm512_mask_broadcast_i32x4(r, 0x00f0, _mm_load_si128(reinterpret_cast<const __m128i*>(p[8] + at)));
  r = _mm512_mask_broadcast_i32x4(r, 0x0f00, _mm_load_si128(reinterpret_cast<const __m128i*>(p[16] + at)));
  return _mm512_mask_broadcast_i32x4(r, 0xf000, _mm_load_si128(reinterpret_cast<const __m128i*>(p[24] + at)));
}

/// The lines of 32 pixels into 32 rows, one a channel, `stride` bytes apart.
THAW_INLINE void transpose_lines(const char* const* pixels, char* to, int64_t stride) {
  for (int64_t q = 0; q < 4; ++q) {
    __m512i r[8];
    THAW_FOR (i, 8) r[i] = load_four(pixels + i, q * 16);
    transpose_words(r);
    THAW_FOR (i, 8) _mm512_store_si512(to + (q * 8 + i) * stride, r[i]);
  }
}

/// The lines of 32 pixels into two tiles [pair of pixels][16 columns][even, odd].
THAW_INLINE void pair_lines(const char* const* pixels, char* to) {
  THAW_FOR (i, 16) {
    const __m512i even = _mm512_load_si512(pixels[2 * i]), odd = _mm512_load_si512(pixels[2 * i + 1]);
    _mm512_store_si512(to + i * 64, _mm512_unpacklo_epi16(even, odd));
    _mm512_store_si512(to + 1024 + i * 64, _mm512_unpackhi_epi16(even, odd));
  }
}

#else

THAW_INLINE void transpose_lines(const char* const* pixels, char* to, int64_t stride) {
  for (int64_t c = 0; c < kLineLanes; ++c) {
    uint16_t* row = reinterpret_cast<uint16_t*>(to + c * stride);
    for (int i = 0; i < 32; ++i) row[i] = reinterpret_cast<const uint16_t*>(pixels[i])[c];
  }
}

THAW_INLINE void pair_lines(const char* const* pixels, char* to) {
  for (int i = 0; i < 32; ++i) {
    const uint16_t* line = reinterpret_cast<const uint16_t*>(pixels[i]);
    for (int c = 0; c < kLineLanes; ++c) {
      const int column = column_of(c);
      reinterpret_cast<uint16_t*>(to + column / 16 * 1024)[i / 2 * 32 + column % 16 * 2 + i % 2] = line[c];
    }
  }
}

#endif

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
