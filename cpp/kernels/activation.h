#pragma once
// Activations, forward and backward, elementwise over any layout.
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

enum class Activation : int32_t {
  none, relu, relu6, leaky_relu, hard_swish, hard_sigmoid, silu, sigmoid, tanh, gelu, gelu_tanh
};

constexpr int64_t kChunk = 16384;  // elements a task of an elementwise kernel takes
// static: a shared inline function would be a weak symbol in objects built for one instruction set.
static inline constexpr int64_t chunks(int64_t count) { return (count + kChunk - 1) / kChunk; }

/// T: float, or uint16_t for bf16.
template <class T>
struct ActivateOf {
  const T* x;
  T* y;
  int64_t count;
  Activation kind;
  float alpha;  // slope of leaky_relu
};

/// dx = dy * f'; `of` is the output for relu, relu6, leaky_relu, hard_sigmoid, sigmoid and tanh, else the input.
template <class T>
struct ActivateBackwardOf {
  const T* dy;
  const T* of;
  T* dx;
  int64_t count;
  Activation kind;
  float alpha;
};

/// Tasks: chunks(count). In bf16 `count` is that of whole lines of 32.
template <class T>
struct ActivationKernelsOf {
  void (*forward)(const ActivateOf<T>&, int64_t task, void* scratch);
  void (*backward)(const ActivateBackwardOf<T>&, int64_t task, void* scratch);
};

using Activate = ActivateOf<float>;
using ActivateBackward = ActivateBackwardOf<float>;
using ActivationKernels = ActivationKernelsOf<float>;
using ActivationBf16Kernels = ActivationKernelsOf<uint16_t>;

THAW_KERNELS(ActivationKernels, activation)
THAW_BF16_KERNELS(ActivationBf16Kernels, activation_bf16)

}  // namespace thaw
