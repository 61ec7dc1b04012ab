#pragma once
// The activations and their derivatives on one number, chosen at run time: the branch is the same for a whole launch.
// PyTorch's formulas (those of kernels/cpu/micro/activate.h); NaN passes through.
#include "kernels/activation.h"
#include "kernels/cuda/device.h"

namespace thaw {
namespace cuda {

__device__ __forceinline__ float clip(float x, float low, float high) {
  if (x < low) return low;
  return x > high ? high : x;
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ __forceinline__ float gelu_tanh_inner(float x) {
  return 0.79788456080286536f * fmaf(0.044715f * x * x, x, x);
}

__device__ __forceinline__ float activate(Activation kind, float x, float alpha) {
  switch (kind) {
    case Activation::none: return x;
    case Activation::relu: return x < 0 ? 0.0f : x;
    case Activation::relu6: return clip(x, 0.0f, 6.0f);
    case Activation::leaky_relu: return x < 0 ? x * alpha : x;
    case Activation::hard_swish: return x * clip(x + 3.0f, 0.0f, 6.0f) / 6.0f;
    case Activation::hard_sigmoid: return clip(x + 3.0f, 0.0f, 6.0f) / 6.0f;
    case Activation::silu: return x * sigmoid(x);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::tanh: return tanhf(x);
    case Activation::gelu: return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case Activation::gelu_tanh: return 0.5f * x * (1.0f + tanhf(gelu_tanh_inner(x)));
  }
  return x;
}

/// d gelu / dx = Phi(x) + x phi(x)
__device__ __forceinline__ float gelu_slope(float x) {
  const float cdf = 0.5f * (1.0f + erff(x * 0.70710678118654752f));
  return fmaf(x, expf(-0.5f * x * x) * 0.39894228040143268f, cdf);
}

__device__ __forceinline__ float gelu_tanh_slope(float x) {
  const float t = tanhf(gelu_tanh_inner(x));
  const float inner = 0.79788456080286536f * fmaf(3 * 0.044715f * x, x, 1.0f);
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner;
}

/// The derivative; `v` is the output for the kinds that read the output (kernels/activation.h), else the input.
__device__ __forceinline__ float derivative(Activation kind, float v, float alpha) {
  switch (kind) {
    case Activation::none: return 1.0f;
    case Activation::relu: return v > 0 ? 1.0f : 0.0f;
    case Activation::relu6: return v > 0 && v < 6.0f ? 1.0f : 0.0f;
    case Activation::leaky_relu: return v > 0 ? 1.0f : alpha;
    case Activation::hard_sigmoid: return v > 0 && v < 1.0f ? 1.0f / 6.0f : 0.0f;
    case Activation::hard_swish:
      if (v < -3.0f) return 0.0f;
      return v > 3.0f ? 1.0f : fmaf(v, 1.0f / 3.0f, 0.5f);
    case Activation::silu: {
      const float s = sigmoid(v);
      return s * fmaf(v, 1.0f - s, 1.0f);
    }
    case Activation::sigmoid: return v * (1.0f - v);
    case Activation::tanh: return 1.0f - v * v;
    case Activation::gelu: return gelu_slope(v);
    case Activation::gelu_tanh: return gelu_tanh_slope(v);
  }
  return 1.0f;
}

}  // namespace cuda
}  // namespace thaw
