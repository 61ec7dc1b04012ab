#pragma once
// V16: sixteen floats, the one vector type the kernels are written on. One __m512, two __m256 or float[16],
// so that one source serves every instruction set. Everything lies in an anonymous namespace: nothing here may be
// shared between objects built for different processors.
//
// What is stored past the caches (`stream`) is seen by other threads from the end of the region on (run/pool.cpp).
//
// Order of sums: lanes are joined pairwise by halves (8, 4, 2, 1) in every instruction set.
// minimum(a, b) and maximum(a, b) return b where either is not a number, as the processor does; so
// maximum(zero(), x) keeps NaN.
#include <cstddef>
#include <cstdint>

#if defined(THAW_ISA_avx512) || defined(THAW_ISA_avx2)
#include <immintrin.h>
#endif
#if !defined(THAW_ISA_avx512) && !defined(THAW_ISA_avx2)
#include <math.h>
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define THAW_INLINE static __forceinline
#define THAW_MEMBER __forceinline
#define THAW_LAMBDA
#define THAW_NOINLINE __declspec(noinline)
#define THAW_UNROLL
#define THAW_RESTRICT __restrict
#else
#define THAW_INLINE static inline __attribute__((always_inline))
// The same for a member function, and behind the parameters of a lambda.
#define THAW_MEMBER inline __attribute__((always_inline))
#define THAW_LAMBDA __attribute__((always_inline))
#define THAW_NOINLINE __attribute__((noinline))
// Small loops over register arrays must disappear, or the arrays end up on the stack.
#if defined(__clang__)
#define THAW_UNROLL _Pragma("clang loop unroll(full)")
#else
#define THAW_UNROLL _Pragma("GCC unroll 32")
#endif
#define THAW_RESTRICT __restrict__
#endif
/// for i = 0 … count - 1, unrolled
#define THAW_FOR(i, count) THAW_UNROLL for (int i = 0; i < count; ++i)

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int kLanes = 16;

#if defined(THAW_ISA_avx512)

struct V16 {
  __m512 v;
};
struct M16 {
  __mmask16 m;
};

THAW_INLINE V16 load(const float* p) { return {_mm512_load_ps(p)}; }  // p on a 64-byte line
THAW_INLINE V16 loadu(const float* p) { return {_mm512_loadu_ps(p)}; }
THAW_INLINE void store(float* p, V16 a) { _mm512_store_ps(p, a.v); }
/// Past the caches where `stream` says so.
THAW_INLINE void store(float* p, V16 a, bool stream) {
  if (stream) _mm512_stream_ps(p, a.v);
  else store(p, a);
}
THAW_INLINE void storeu(float* p, V16 a) { _mm512_storeu_ps(p, a.v); }
/// The first n lanes (0…16) from memory, zero in the others; nothing beyond p[n-1] is touched.
THAW_INLINE V16 load_n(const float* p, int64_t n) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p)};
}
THAW_INLINE void store_n(float* p, V16 a, int64_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), a.v);
}
THAW_INLINE V16 broadcast(float x) { return {_mm512_set1_ps(x)}; }
THAW_INLINE V16 zero() { return {_mm512_setzero_ps()}; }

THAW_INLINE V16 add(V16 a, V16 b) { return {_mm512_add_ps(a.v, b.v)}; }
THAW_INLINE V16 sub(V16 a, V16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
THAW_INLINE V16 mul(V16 a, V16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
THAW_INLINE V16 div(V16 a, V16 b) { return {_mm512_div_ps(a.v, b.v)}; }
/// a * b + c
THAW_INLINE V16 fma(V16 a, V16 b, V16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// c - a * b
THAW_INLINE V16 fnma(V16 a, V16 b, V16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
THAW_INLINE V16 minimum(V16 a, V16 b) { return {_mm512_min_ps(a.v, b.v)}; }
THAW_INLINE V16 maximum(V16 a, V16 b) { return {_mm512_max_ps(a.v, b.v)}; }
THAW_INLINE V16 sqrt(V16 a) { return {_mm512_sqrt_ps(a.v)}; }
THAW_INLINE V16 abs(V16 a) { return {_mm512_abs_ps(a.v)}; }
THAW_INLINE V16 neg(V16 a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
/// |a| with the sign of b
THAW_INLINE V16 copysign(V16 a, V16 b) {
  const __m512 sign = _mm512_set1_ps(-0.0f);
  return {_mm512_or_ps(_mm512_andnot_ps(sign, a.v), _mm512_and_ps(sign, b.v))};
}

THAW_INLINE M16 less(V16 a, V16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
THAW_INLINE M16 less_equal(V16 a, V16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
THAW_INLINE M16 equal(V16 a, V16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
THAW_INLINE M16 is_nan(V16 a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
THAW_INLINE M16 mask_and(M16 a, M16 b) { return {static_cast<__mmask16>(a.m & b.m)}; }
THAW_INLINE M16 mask_or(M16 a, M16 b) { return {static_cast<__mmask16>(a.m | b.m)}; }
THAW_INLINE M16 mask_not(M16 a) { return {static_cast<__mmask16>(~a.m)}; }
THAW_INLINE bool any(M16 a) { return a.m != 0; }
/// a where m holds, else b
THAW_INLINE V16 select(M16 m, V16 a, V16 b) { return {_mm512_mask_blend_ps(m.m, b.v, a.v)}; }

/// To the nearest whole number, ties to even.
THAW_INLINE V16 round_nearest(V16 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
THAW_INLINE V16 floor(V16 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
/// 2^n for whole n in -126 … 127
THAW_INLINE V16 pow2(V16 n) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
}
/// x = m * 2^e for normal x > 0: returns m in [sqrt(1/2), sqrt(2)), stores whole e.
THAW_INLINE V16 split_exponent(V16 x, V16& e) {
  const __m512i offset = _mm512_sub_epi32(_mm512_castps_si512(x.v), _mm512_set1_epi32(0x3f3504f3));
  e = {_mm512_cvtepi32_ps(_mm512_srai_epi32(offset, 23))};
  const __m512i m =
      _mm512_add_epi32(_mm512_and_si512(offset, _mm512_set1_epi32(0x007fffff)), _mm512_set1_epi32(0x3f3504f3));
  return {_mm512_castsi512_ps(m)};
}
THAW_INLINE V16 from_int(const int32_t* p) { return {_mm512_cvtepi32_ps(_mm512_loadu_si512(p))}; }

THAW_INLINE float join_add(__m256 h) {
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
THAW_INLINE float join_max(__m256 h) {
  const __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps(d, d, 1)));
}
THAW_INLINE __m256 upper_half(__m512 a) { return _mm512_extractf32x8_ps(a, 1); }
THAW_INLINE float reduce_add(V16 a) { return join_add(_mm256_add_ps(_mm512_castps512_ps256(a.v), upper_half(a.v))); }
/// Unspecified where a lane is not a number.
THAW_INLINE float reduce_max(V16 a) { return join_max(_mm256_max_ps(_mm512_castps512_ps256(a.v), upper_half(a.v))); }

#elif defined(THAW_ISA_avx2)

struct V16 {
  __m256 a, b;
};
struct M16 {
  __m256 a, b;
};

THAW_INLINE V16 load(const float* p) { return {_mm256_load_ps(p), _mm256_load_ps(p + 8)}; }
THAW_INLINE V16 loadu(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
THAW_INLINE void store(float* p, V16 x) {
  _mm256_store_ps(p, x.a);
  _mm256_store_ps(p + 8, x.b);
}
THAW_INLINE void store(float* p, V16 x, bool stream) {
  if (!stream) return store(p, x);
  _mm256_stream_ps(p, x.a);
  _mm256_stream_ps(p + 8, x.b);
}
THAW_INLINE void storeu(float* p, V16 x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
THAW_INLINE __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
THAW_INLINE V16 load_n(const float* p, int64_t n) {
  return {_mm256_maskload_ps(p, first_lanes(n)), _mm256_maskload_ps(p + 8, first_lanes(n - 8))};
}
THAW_INLINE void store_n(float* p, V16 x, int64_t n) {
  _mm256_maskstore_ps(p, first_lanes(n), x.a);
  _mm256_maskstore_ps(p + 8, first_lanes(n - 8), x.b);
}
THAW_INLINE V16 broadcast(float x) {
  const __m256 v = _mm256_set1_ps(x);
  return {v, v};
}
THAW_INLINE V16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }

THAW_INLINE V16 add(V16 x, V16 y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
THAW_INLINE V16 sub(V16 x, V16 y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
THAW_INLINE V16 mul(V16 x, V16 y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
THAW_INLINE V16 div(V16 x, V16 y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
THAW_INLINE V16 fma(V16 x, V16 y, V16 z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
THAW_INLINE V16 fnma(V16 x, V16 y, V16 z) { return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)}; }
THAW_INLINE V16 minimum(V16 x, V16 y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
THAW_INLINE V16 maximum(V16 x, V16 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
THAW_INLINE V16 sqrt(V16 x) { return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
THAW_INLINE V16 abs(V16 x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
THAW_INLINE V16 neg(V16 x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(x.a, sign), _mm256_xor_ps(x.b, sign)};
}
THAW_INLINE V16 copysign(V16 x, V16 y) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(sign, x.a), _mm256_and_ps(sign, y.a)),
          _mm256_or_ps(_mm256_andnot_ps(sign, x.b), _mm256_and_ps(sign, y.b))};
}

THAW_INLINE M16 less(V16 x, V16 y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}
THAW_INLINE M16 less_equal(V16 x, V16 y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_LE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LE_OQ)};
}
THAW_INLINE M16 equal(V16 x, V16 y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ)};
}
THAW_INLINE M16 is_nan(V16 x) { return {_mm256_cmp_ps(x.a, x.a, _CMP_UNORD_Q), _mm256_cmp_ps(x.b, x.b, _CMP_UNORD_Q)}; }
THAW_INLINE M16 mask_and(M16 x, M16 y) { return {_mm256_and_ps(x.a, y.a), _mm256_and_ps(x.b, y.b)}; }
THAW_INLINE M16 mask_or(M16 x, M16 y) { return {_mm256_or_ps(x.a, y.a), _mm256_or_ps(x.b, y.b)}; }
THAW_INLINE M16 mask_not(M16 x) {
  const __m256 ones = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
  return {_mm256_xor_ps(x.a, ones), _mm256_xor_ps(x.b, ones)};
}
THAW_INLINE bool any(M16 x) { return _mm256_movemask_ps(_mm256_or_ps(x.a, x.b)) != 0; }
THAW_INLINE V16 select(M16 m, V16 x, V16 y) {
  return {_mm256_blendv_ps(y.a, x.a, m.a), _mm256_blendv_ps(y.b, x.b, m.b)};
}

THAW_INLINE V16 round_nearest(V16 x) {
  constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.a, mode), _mm256_round_ps(x.b, mode)};
}
THAW_INLINE V16 floor(V16 x) { return {_mm256_floor_ps(x.a), _mm256_floor_ps(x.b)}; }
THAW_INLINE __m256 pow2_half(__m256 n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
THAW_INLINE V16 pow2(V16 n) { return {pow2_half(n.a), pow2_half(n.b)}; }
THAW_INLINE __m256 split_half(__m256 x, __m256& e) {
  const __m256i offset = _mm256_sub_epi32(_mm256_castps_si256(x), _mm256_set1_epi32(0x3f3504f3));
  e = _mm256_cvtepi32_ps(_mm256_srai_epi32(offset, 23));
  return _mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_and_si256(offset, _mm256_set1_epi32(0x007fffff)), _mm256_set1_epi32(0x3f3504f3)));
}
THAW_INLINE V16 split_exponent(V16 x, V16& e) {
  V16 m;
  m.a = split_half(x.a, e.a);
  m.b = split_half(x.b, e.b);
  return m;
}
THAW_INLINE V16 from_int(const int32_t* p) {
  const __m256i* q = reinterpret_cast<const __m256i*>(p);
  return {_mm256_cvtepi32_ps(_mm256_loadu_si256(q)), _mm256_cvtepi32_ps(_mm256_loadu_si256(q + 1))};
}

THAW_INLINE float reduce_add(V16 x) {
  const __m256 h = _mm256_add_ps(x.a, x.b);
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
THAW_INLINE float reduce_max(V16 x) {
  const __m256 h = _mm256_max_ps(x.a, x.b);
  const __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps(d, d, 1)));
}

#else
#include "kernels/cpu/micro/vec_scalar.inc"
#endif

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
