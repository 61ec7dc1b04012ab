#pragma once
// exp, log, tanh, erf, sigmoid and what is made of them, on V16. Polynomials are weighted minimax fits made for these
// intervals; measured against double over all magnitudes the errors are below 2 units in the last place, sigmoid 3.
// Infinities, NaN, signed zeros and (for exp and log) denormals are handled as by the C library.
#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

// c[0] + c[1] x + … + c[n] x^n
template <int N>
THAW_INLINE V16 polynomial(V16 x, const float (&c)[N]) {
  V16 r = broadcast(c[N - 1]);
  THAW_UNROLL for (int i = N - 2; i >= 0; --i) r = fma(r, x, broadcast(c[i]));
  return r;
}

/// e^x: 0 below -104, infinity above 89.
THAW_INLINE V16 exp(V16 x) {
  constexpr float c[] = {0.5f, 0.166665182f, 0.041666206f, 0.00836889073f, 0.00139504799f};
  // The bounds come first, so that NaN passes through.
  x = minimum(broadcast(89.0f), maximum(broadcast(-104.5f), x));
  const V16 n = round_nearest(mul(x, broadcast(1.44269504f)));
  // ln 2 in two parts; the first has few enough bits that n * part is exact.
  V16 r = fnma(n, broadcast(0.693359375f), x);
  r = fnma(n, broadcast(-2.12194440e-4f), r);
  const V16 p = add(fma(polynomial(r, c), mul(r, r), r), broadcast(1.0f));
  // 2^n in two factors: n itself may lie outside the exponents of normal numbers.
  const V16 half = floor(mul(n, broadcast(0.5f)));
  const V16 y = mul(mul(p, pow2(half)), pow2(sub(n, half)));
  return select(is_nan(x), x, y);
}

/// Natural logarithm: -infinity at zero, NaN below.
THAW_INLINE V16 log(V16 x) {
  constexpr float c[] = {0.333333135f, -0.250000089f, 0.200021192f, -0.166679949f, 0.142195433f,
                         -0.124055974f, 0.118882321f, -0.116756238f, 0.0674645454f};
  const float infinity = __builtin_bit_cast(float, 0x7f800000u);
  const M16 small = less(x, broadcast(1.17549435e-38f));
  V16 e;
  const V16 m = split_exponent(select(small, mul(x, broadcast(33554432.0f)), x), e);
  e = select(small, sub(e, broadcast(25.0f)), e);
  const V16 f = sub(m, broadcast(1.0f));
  const V16 square = mul(f, f);
  V16 y = mul(mul(polynomial(f, c), f), square);
  y = fma(e, broadcast(-2.12194440e-4f), y);
  y = fnma(broadcast(0.5f), square, y);
  y = fma(e, broadcast(0.693359375f), add(f, y));
  y = select(equal(x, broadcast(infinity)), x, y);
  y = select(equal(x, zero()), broadcast(-infinity), y);
  return select(mask_not(less_equal(zero(), x)), broadcast(__builtin_bit_cast(float, 0x7fc00000u)), y);
}

/// 1 / (1 + e^-x)
THAW_INLINE V16 sigmoid(V16 x) {
  // By e^-|x|, which cannot overflow: s = e / (1 + e) for x < 0, else 1 / (1 + e).
  const V16 e = exp(neg(abs(x)));
  const V16 numerator = select(less(x, zero()), e, broadcast(1.0f));
  return div(numerator, add(broadcast(1.0f), e));
}

THAW_INLINE V16 tanh(V16 x) {
  constexpr float c[] = {-0.333332837f, 0.133314908f, -0.0537434816f, 0.0206505395f, -0.00571699627f};
  const V16 t = abs(x), s = mul(x, x);
  const V16 near = fma(mul(polynomial(s, c), s), x, x);
  const V16 e = exp(add(t, t));
  const V16 far = sub(broadcast(1.0f), div(broadcast(2.0f), add(e, broadcast(1.0f))));
  return select(is_nan(x), x, copysign(select(less(t, broadcast(0.625f)), near, far), x));
}

THAW_INLINE V16 erf(V16 x) {
  // |x| < 0.9: x + x * near(x^2). Beyond: 1 - e^(t far(t)), with far split as -1 + rest so that little is lost.
  constexpr float near_c[] = {0.128379166f, -0.376126349f, 0.112837195f, -0.0268607531f,
                              0.0052044359f, -0.000818192435f, 8.53882739e-05f};
  constexpr float far_c[] = {-0.12864101f, -0.635181427f, -0.106187709f, 0.0237202756f,
                             -0.00362296333f, 0.000318071223f, -1.07643837e-05f};
  const V16 t = minimum(abs(x), broadcast(4.0f));
  const V16 near = fma(polynomial(mul(x, x), near_c), x, x);
  const V16 far = sub(broadcast(1.0f), exp(fma(polynomial(t, far_c), t, neg(t))));
  return select(is_nan(x), x, select(less(t, broadcast(0.9f)), near, copysign(far, x)));
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
