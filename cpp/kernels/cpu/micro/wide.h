#pragma once
// W16: sixteen doubles beside V16, for sums that must not lose bits: statistics, averages, norms. The product of two
// floats is exact in double, so sums of products need no shift and no second pass.
#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

#if defined(THAW_ISA_avx512)

struct W16 { __m512d a, b; };

THAW_INLINE W16 wide_zero() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
THAW_INLINE W16 wide_broadcast(double x) { return {_mm512_set1_pd(x), _mm512_set1_pd(x)}; }
THAW_INLINE W16 wide_load(const double* p) { return {_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)}; }
THAW_INLINE void wide_store(double* p, W16 x) { _mm512_storeu_pd(p, x.a); _mm512_storeu_pd(p + 8, x.b); }
THAW_INLINE W16 widen(V16 x) {
  return {_mm512_cvtps_pd(_mm512_castps512_ps256(x.v)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1))};
}
THAW_INLINE V16 narrow(W16 x) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(x.a)), _mm512_cvtpd_ps(x.b), 1)};
}
THAW_INLINE W16 wide_add(W16 x, W16 y) { return {_mm512_add_pd(x.a, y.a), _mm512_add_pd(x.b, y.b)}; }
THAW_INLINE W16 wide_sub(W16 x, W16 y) { return {_mm512_sub_pd(x.a, y.a), _mm512_sub_pd(x.b, y.b)}; }
THAW_INLINE W16 wide_mul(W16 x, W16 y) { return {_mm512_mul_pd(x.a, y.a), _mm512_mul_pd(x.b, y.b)}; }
/// x * y + z
THAW_INLINE W16 wide_fma(W16 x, W16 y, W16 z) {
  return {_mm512_fmadd_pd(x.a, y.a, z.a), _mm512_fmadd_pd(x.b, y.b, z.b)};
}

#elif defined(THAW_ISA_avx2)

struct W16 { __m256d v[4]; };

#define THAW_WIDE(expression)                        \
  W16 r;                                             \
  THAW_UNROLL for (int i = 0; i < 4; ++i) r.v[i] = expression; \
  return r
THAW_INLINE W16 wide_zero() { THAW_WIDE(_mm256_setzero_pd()); }
THAW_INLINE W16 wide_broadcast(double x) { THAW_WIDE(_mm256_set1_pd(x)); }
THAW_INLINE W16 wide_load(const double* p) { THAW_WIDE(_mm256_loadu_pd(p + 4 * i)); }
THAW_INLINE void wide_store(double* p, W16 x) {
  THAW_UNROLL for (int i = 0; i < 4; ++i) _mm256_storeu_pd(p + 4 * i, x.v[i]);
}
THAW_INLINE W16 widen(V16 x) {
  return {{_mm256_cvtps_pd(_mm256_castps256_ps128(x.a)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.a, 1)),
           _mm256_cvtps_pd(_mm256_castps256_ps128(x.b)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.b, 1))}};
}
THAW_INLINE V16 narrow(W16 x) {
  return {_mm256_set_m128(_mm256_cvtpd_ps(x.v[1]), _mm256_cvtpd_ps(x.v[0])),
          _mm256_set_m128(_mm256_cvtpd_ps(x.v[3]), _mm256_cvtpd_ps(x.v[2]))};
}
THAW_INLINE W16 wide_add(W16 x, W16 y) { THAW_WIDE(_mm256_add_pd(x.v[i], y.v[i])); }
THAW_INLINE W16 wide_sub(W16 x, W16 y) { THAW_WIDE(_mm256_sub_pd(x.v[i], y.v[i])); }
THAW_INLINE W16 wide_mul(W16 x, W16 y) { THAW_WIDE(_mm256_mul_pd(x.v[i], y.v[i])); }
THAW_INLINE W16 wide_fma(W16 x, W16 y, W16 z) { THAW_WIDE(_mm256_fmadd_pd(x.v[i], y.v[i], z.v[i])); }
#undef THAW_WIDE

#else

struct W16 { double v[16]; };

#define THAW_WIDE(expression)                         \
  W16 r;                                              \
  for (int i = 0; i < 16; ++i) r.v[i] = expression; \
  return r
THAW_INLINE W16 wide_zero() { THAW_WIDE(0.0); }
THAW_INLINE W16 wide_broadcast(double x) { THAW_WIDE(x); }
THAW_INLINE W16 wide_load(const double* p) { THAW_WIDE(p[i]); }
THAW_INLINE void wide_store(double* p, W16 x) {
  for (int i = 0; i < 16; ++i) p[i] = x.v[i];
}
THAW_INLINE W16 widen(V16 x) {
  float f[16];
  storeu(f, x);
  THAW_WIDE(static_cast<double>(f[i]));
}
THAW_INLINE V16 narrow(W16 x) {
  float f[16];
  for (int i = 0; i < 16; ++i) f[i] = static_cast<float>(x.v[i]);
  return loadu(f);
}
THAW_INLINE W16 wide_add(W16 x, W16 y) { THAW_WIDE(x.v[i] + y.v[i]); }
THAW_INLINE W16 wide_sub(W16 x, W16 y) { THAW_WIDE(x.v[i] - y.v[i]); }
THAW_INLINE W16 wide_mul(W16 x, W16 y) { THAW_WIDE(x.v[i] * y.v[i]); }
THAW_INLINE W16 wide_fma(W16 x, W16 y, W16 z) { THAW_WIDE(x.v[i] * y.v[i] + z.v[i]); }
#undef THAW_WIDE

#endif

/// Sum of the lanes, pairwise by halves.
THAW_INLINE double wide_reduce(W16 x) {
  double lane[16];
  wide_store(lane, x);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
