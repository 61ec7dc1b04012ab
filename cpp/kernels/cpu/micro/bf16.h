#pragma once
// bf16, the upper half of a float, beside V16. A line is 64 bytes: 32 channels of one pixel.
// To bf16 rounds to nearest, ties to even; what is not a number stays so.
#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int kLineLanes = 32;

// K32: a line as whole numbers in the order of the floats, so that the greatest of several costs no conversion. -0 is
// below 0, -infinity the lowest, and what is not a number, of either sign, is above infinity: by their bits alone the
// negative ones would be below -infinity, from where the subtraction of kKeyShift takes them around to the top.
constexpr int kKeyShift = 0x7f;

/// One number.
THAW_INLINE float to_float(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float f;
  __builtin_memcpy(&f, &wide, sizeof(f));
  return f;
}

#if defined(THAW_ISA_avx512)

/// Sixteen neighbours.
THAW_INLINE V16 load_bf16(const uint16_t* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
/// The elements 0, 2, 4, … and 1, 3, 5, … of thirty-two.
THAW_INLINE V16 load_even(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))};
}
THAW_INLINE V16 load_odd(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(-0x10000)))};
}

#if defined(THAW_ISA_amx)
THAW_INLINE __m256i to_bf16(V16 a) { return (__m256i)_mm512_cvtneps_pbh(a.v); }
THAW_INLINE __m512i pair_bf16(V16 low, V16 high) { return (__m512i)_mm512_cvtne2ps_pbh(high.v, low.v); }
alignas(64) constexpr uint16_t kInterleaved[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                   8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
THAW_INLINE __m512i interleave_bf16(V16 even, V16 odd) {
  return _mm512_permutexvar_epi16(_mm512_load_si512(kInterleaved), pair_bf16(even, odd));
}
#else
/// The upper halves are the rounded numbers.
THAW_INLINE __m512i round_bf16(V16 a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return _mm512_mask_blend_epi32(nan, rounded, quiet);
}
THAW_INLINE __m256i to_bf16(V16 a) { return _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_bf16(a), 16)); }
THAW_INLINE __m512i interleave_bf16(V16 even, V16 odd) {
  const __m512i upper = _mm512_and_si512(round_bf16(odd), _mm512_set1_epi32(-0x10000));
  return _mm512_or_si512(_mm512_srli_epi32(round_bf16(even), 16), upper);
}
THAW_INLINE __m512i pair_bf16(V16 low, V16 high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(to_bf16(low)), to_bf16(high), 1);
}
#endif
THAW_INLINE void store_bf16(uint16_t* p, V16 a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), to_bf16(a)); }
THAW_INLINE void store_bits(uint16_t* p, __m512i bits, bool stream) {
  if (stream) _mm512_stream_si512(reinterpret_cast<__m512i*>(p), bits);
  else _mm512_store_si512(p, bits);
}
/// A line, p on a 64-byte boundary, past the caches where `stream` says so (micro/vec.h).
THAW_INLINE void store_line(uint16_t* p, V16 low, V16 high, bool stream = false) {
  store_bits(p, pair_bf16(low, high), stream);
}
/// The same from the elements 0, 2, 4, … and 1, 3, 5, …
THAW_INLINE void store_even_odd(uint16_t* p, V16 even, V16 odd, bool stream = false) {
  store_bits(p, interleave_bf16(even, odd), stream);
}

struct K32 {
  __m512i v;
};
THAW_INLINE __m512i flip_negative(__m512i bits) {
  return _mm512_xor_si512(bits, _mm512_and_si512(_mm512_srai_epi16(bits, 15), _mm512_set1_epi16(0x7fff)));
}
THAW_INLINE K32 load_keys(const uint16_t* p) {
  return {_mm512_sub_epi16(flip_negative(_mm512_loadu_si512(p)), _mm512_set1_epi16(kKeyShift))};
}
THAW_INLINE void store_keys(uint16_t* p, K32 k) {
  _mm512_store_si512(p, flip_negative(_mm512_add_epi16(k.v, _mm512_set1_epi16(kKeyShift))));
}
THAW_INLINE K32 lowest_keys() { return {_mm512_set1_epi16(-0x8000)}; }
THAW_INLINE K32 greater_keys(K32 a, K32 b) { return {_mm512_max_epi16(a.v, b.v)}; }

#elif defined(THAW_ISA_avx2)

THAW_INLINE __m256 widen_bf16(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
THAW_INLINE V16 load_bf16(const uint16_t* p) {
  const __m128i* q = reinterpret_cast<const __m128i*>(p);
  return {widen_bf16(_mm_loadu_si128(q)), widen_bf16(_mm_loadu_si128(q + 1))};
}
THAW_INLINE V16 load_even(const uint16_t* p) {
  const __m256i* q = reinterpret_cast<const __m256i*>(p);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(q), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(q + 1), 16))};
}
THAW_INLINE V16 load_odd(const uint16_t* p) {
  const __m256i* q = reinterpret_cast<const __m256i*>(p);
  const __m256i upper = _mm256_set1_epi32(-0x10000);
  return {_mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(q), upper)),
          _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(q + 1), upper))};
}
THAW_INLINE __m256i round_bf16(__m256 a) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
}
THAW_INLINE void store_bf16(uint16_t* p, V16 x) {
  const __m256i packed = _mm256_packus_epi32(round_bf16(x.a), round_bf16(x.b));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
}
THAW_INLINE void store_line(uint16_t* p, V16 low, V16 high, bool = false) {
  store_bf16(p, low);
  store_bf16(p + 16, high);
}
THAW_INLINE void store_even_odd(uint16_t* p, V16 even, V16 odd, bool = false) {
  __m256i* q = reinterpret_cast<__m256i*>(p);
  _mm256_store_si256(q, _mm256_or_si256(round_bf16(even.a), _mm256_slli_epi32(round_bf16(odd.a), 16)));
  _mm256_store_si256(q + 1, _mm256_or_si256(round_bf16(even.b), _mm256_slli_epi32(round_bf16(odd.b), 16)));
}

struct K32 {
  __m256i a, b;
};
THAW_INLINE __m256i flip_negative(__m256i bits) {
  return _mm256_xor_si256(bits, _mm256_and_si256(_mm256_srai_epi16(bits, 15), _mm256_set1_epi16(0x7fff)));
}
THAW_INLINE K32 load_keys(const uint16_t* p) {
  const __m256i* q = reinterpret_cast<const __m256i*>(p);
  const __m256i shift = _mm256_set1_epi16(kKeyShift);
  return {_mm256_sub_epi16(flip_negative(_mm256_loadu_si256(q)), shift),
          _mm256_sub_epi16(flip_negative(_mm256_loadu_si256(q + 1)), shift)};
}
THAW_INLINE void store_keys(uint16_t* p, K32 k) {
  __m256i* q = reinterpret_cast<__m256i*>(p);
  const __m256i shift = _mm256_set1_epi16(kKeyShift);
  _mm256_storeu_si256(q, flip_negative(_mm256_add_epi16(k.a, shift)));
  _mm256_storeu_si256(q + 1, flip_negative(_mm256_add_epi16(k.b, shift)));
}
THAW_INLINE K32 lowest_keys() { return {_mm256_set1_epi16(-0x8000), _mm256_set1_epi16(-0x8000)}; }
THAW_INLINE K32 greater_keys(K32 x, K32 y) { return {_mm256_max_epi16(x.a, y.a), _mm256_max_epi16(x.b, y.b)}; }

#else

THAW_INLINE uint16_t bf16_of(float f) {
  uint32_t bits;
  __builtin_memcpy(&bits, &f, sizeof(bits));
  const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1), quiet = bits | 0x400000;
  return static_cast<uint16_t>(((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded) >> 16);
}
THAW_INLINE V16 load_each(const uint16_t* p, int step) {
  float lane[16];
  for (int i = 0; i < 16; ++i) lane[i] = to_float(p[i * step]);
  return loadu(lane);
}
THAW_INLINE V16 load_bf16(const uint16_t* p) { return load_each(p, 1); }
THAW_INLINE V16 load_even(const uint16_t* p) { return load_each(p, 2); }
THAW_INLINE V16 load_odd(const uint16_t* p) { return load_each(p + 1, 2); }
THAW_INLINE void store_bf16(uint16_t* p, V16 a) {
  float lane[16];
  storeu(lane, a);
  for (int i = 0; i < 16; ++i) p[i] = bf16_of(lane[i]);
}
THAW_INLINE void store_line(uint16_t* p, V16 low, V16 high, bool = false) {
  store_bf16(p, low);
  store_bf16(p + 16, high);
}
THAW_INLINE void store_even_odd(uint16_t* p, V16 even, V16 odd, bool = false) {
  float lane[32];
  storeu(lane, even);
  storeu(lane + 16, odd);
  for (int i = 0; i < 32; ++i) p[i] = bf16_of(lane[i % 2 * 16 + i / 2]);
}

struct K32 {
  int16_t lane[32];
};
THAW_INLINE int16_t flip_negative(int bits) {
  const int16_t b = static_cast<int16_t>(bits);
  return static_cast<int16_t>(b ^ ((b >> 15) & 0x7fff));
}
THAW_INLINE K32 load_keys(const uint16_t* p) {
  K32 k;
  for (int i = 0; i < 32; ++i) k.lane[i] = static_cast<int16_t>(flip_negative(p[i]) - kKeyShift);
  return k;
}
THAW_INLINE void store_keys(uint16_t* p, const K32& k) {
  for (int i = 0; i < 32; ++i) p[i] = static_cast<uint16_t>(flip_negative(k.lane[i] + kKeyShift));
}
THAW_INLINE K32 lowest_keys() {
  K32 k;
  for (int i = 0; i < 32; ++i) k.lane[i] = -0x8000;
  return k;
}
THAW_INLINE K32 greater_keys(K32 a, const K32& b) {
  for (int i = 0; i < 32; ++i) a.lane[i] = a.lane[i] < b.lane[i] ? b.lane[i] : a.lane[i];
  return a;
}

#endif

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
