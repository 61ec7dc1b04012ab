#pragma once
// The activations and their derivatives on V16. PyTorch's formulas; NaN passes through.
#include "kernels/activation.h"
#include "kernels/cpu/micro/math.h"
#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// x clipped to [low, high]; NaN stays NaN.
THAW_INLINE V16 clip(V16 x, float low, float high) {
  return minimum(broadcast(high), maximum(broadcast(low), x));
}

THAW_INLINE V16 gelu_tanh_inner(V16 x) {
  constexpr float sqrt_2_over_pi = 0.79788456080286536f;
  const V16 cube = mul(mul(x, x), x);
  return mul(broadcast(sqrt_2_over_pi), fma(broadcast(0.044715f), cube, x));
}

template <Activation kind>
THAW_INLINE V16 activate_as(V16 x, V16 alpha) {
  if constexpr (kind == Activation::relu) return maximum(zero(), x);
  if constexpr (kind == Activation::relu6) return clip(x, 0.0f, 6.0f);
  if constexpr (kind == Activation::leaky_relu) return select(less(x, zero()), mul(x, alpha), x);
  if constexpr (kind == Activation::hard_sigmoid) {
    return div(clip(add(x, broadcast(3.0f)), 0.0f, 6.0f), broadcast(6.0f));
  }
  if constexpr (kind == Activation::hard_swish) {
    return div(mul(x, clip(add(x, broadcast(3.0f)), 0.0f, 6.0f)), broadcast(6.0f));
  }
  if constexpr (kind == Activation::silu) return mul(x, sigmoid(x));
  if constexpr (kind == Activation::sigmoid) return sigmoid(x);
  if constexpr (kind == Activation::tanh) return tanh(x);
  if constexpr (kind == Activation::gelu) {
    return mul(mul(broadcast(0.5f), x), add(broadcast(1.0f), erf(mul(x, broadcast(0.70710678118654752f)))));
  }
  if constexpr (kind == Activation::gelu_tanh) {
    return mul(mul(broadcast(0.5f), x), add(broadcast(1.0f), tanh(gelu_tanh_inner(x))));
  }
  return x;
}

/// d gelu / dx = Phi(x) + x phi(x)
THAW_INLINE V16 gelu_slope(V16 x) {
  const V16 cdf = mul(broadcast(0.5f), add(broadcast(1.0f), erf(mul(x, broadcast(0.70710678118654752f)))));
  const V16 pdf = mul(exp(mul(mul(x, x), broadcast(-0.5f))), broadcast(0.39894228040143268f));
  return fma(x, pdf, cdf);
}

THAW_INLINE V16 gelu_tanh_slope(V16 x) {
  constexpr float sqrt_2_over_pi = 0.79788456080286536f;
  const V16 t = tanh(gelu_tanh_inner(x));
  const V16 inner = mul(broadcast(sqrt_2_over_pi), fma(mul(broadcast(3 * 0.044715f), x), x, broadcast(1.0f)));
  const V16 bell = mul(mul(broadcast(0.5f), x), mul(fnma(t, t, broadcast(1.0f)), inner));
  return fma(broadcast(0.5f), add(broadcast(1.0f), t), bell);
}

/// The derivative; `v` is the output for the kinds that read the output (kernels/activation.h), else the input.
template <Activation kind>
THAW_INLINE V16 slope_of(V16 v, V16 alpha) {
  const V16 one = broadcast(1.0f);
  if constexpr (kind == Activation::relu) return select(less(zero(), v), one, zero());
  if constexpr (kind == Activation::relu6) {
    return select(mask_and(less(zero(), v), less(v, broadcast(6.0f))), one, zero());
  }
  if constexpr (kind == Activation::leaky_relu) return select(less(zero(), v), one, alpha);
  if constexpr (kind == Activation::hard_sigmoid) {
    return select(mask_and(less(zero(), v), less(v, one)), broadcast(1.0f / 6.0f), zero());
  }
  if constexpr (kind == Activation::hard_swish) {
    const V16 middle = fma(v, broadcast(1.0f / 3.0f), broadcast(0.5f));
    const V16 lower = select(less(v, broadcast(-3.0f)), zero(), middle);
    return select(less(broadcast(3.0f), v), one, lower);
  }
  if constexpr (kind == Activation::silu) {
    const V16 s = sigmoid(v);
    return mul(s, fma(v, sub(one, s), one));
  }
  if constexpr (kind == Activation::sigmoid) return mul(v, sub(one, v));
  if constexpr (kind == Activation::tanh) return fnma(v, v, one);
  if constexpr (kind == Activation::gelu) return gelu_slope(v);
  if constexpr (kind == Activation::gelu_tanh) return gelu_tanh_slope(v);
  return one;
}

/// Calls f.template run<kind>() for the kind that is known at run time alone.
template <class F>
THAW_INLINE void with_activation(Activation kind, const F& f) {
  switch (kind) {
    case Activation::none: return f.template run<Activation::none>();
    case Activation::relu: return f.template run<Activation::relu>();
    case Activation::relu6: return f.template run<Activation::relu6>();
    case Activation::leaky_relu: return f.template run<Activation::leaky_relu>();
    case Activation::hard_swish: return f.template run<Activation::hard_swish>();
    case Activation::hard_sigmoid: return f.template run<Activation::hard_sigmoid>();
    case Activation::silu: return f.template run<Activation::silu>();
    case Activation::sigmoid: return f.template run<Activation::sigmoid>();
    case Activation::tanh: return f.template run<Activation::tanh>();
    case Activation::gelu: return f.template run<Activation::gelu>();
    case Activation::gelu_tanh: return f.template run<Activation::gelu_tanh>();
  }
}

struct ActivateAll {
  const float* x;
  float* y;
  int64_t count;
  float alpha;
  template <Activation kind>
  void run() const {
    const V16 a = broadcast(alpha);
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) storeu(y + i, activate_as<kind>(loadu(x + i), a));
    if (i < count) store_n(y + i, activate_as<kind>(load_n(x + i, count - i), a), count - i);
  }
};

/// y[i] = f(x[i]); y may be x.
THAW_INLINE void activate_all(const float* x, float* y, int64_t count, Activation kind, float alpha) {
  with_activation(kind, ActivateAll{x, y, count, alpha});
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
