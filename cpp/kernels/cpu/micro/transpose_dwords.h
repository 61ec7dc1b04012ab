#pragma once
// Sixteen lines of sixteen elements of four bytes, transposed.
#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

#if defined(THAW_ISA_avx512)

/// Line i of `to` becomes element i of every line of `from`. Strides in bytes; lines on 64-byte boundaries.
THAW_INLINE void transpose_dwords(const void* from, int64_t from_stride, void* to, int64_t to_stride) {
  __m512i r[16], t[16];
  THAW_FOR (i, 16) r[i] = _mm512_load_si512(static_cast<const char*>(from) + i * from_stride);
  THAW_FOR (i, 8) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  // r[4 i + j]: the elements 4 L + j of the lines 4 i to 4 i + 3, in lane L.
  THAW_FOR (i, 4) {
    THAW_FOR (j, 2) {
      r[4 * i + 2 * j] = _mm512_unpacklo_epi64(t[4 * i + j], t[4 * i + 2 + j]);
      r[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(t[4 * i + j], t[4 * i + 2 + j]);
    }
  }
  char* lines = static_cast<char*>(to);
  THAW_FOR (j, 4) {
    const __m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x44), b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xee);
    const __m512i c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x44), d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xee);
    _mm512_store_si512(lines + (0 + j) * to_stride, _mm512_shuffle_i32x4(a, c, 0x88));
    _mm512_store_si512(lines + (4 + j) * to_stride, _mm512_shuffle_i32x4(a, c, 0xdd));
    _mm512_store_si512(lines + (8 + j) * to_stride, _mm512_shuffle_i32x4(b, d, 0x88));
    _mm512_store_si512(lines + (12 + j) * to_stride, _mm512_shuffle_i32x4(b, d, 0xdd));
  }
}

#else

THAW_INLINE void transpose_dwords(const void* from, int64_t from_stride, void* to, int64_t to_stride) {
  for (int line = 0; line < 16; ++line)
    for (int i = 0; i < 16; ++i)
      __builtin_memcpy(static_cast<char*>(to) + i * to_stride + line * 4,
                       static_cast<const char*>(from) + line * from_stride + i * 4, 4);
}

#endif

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
