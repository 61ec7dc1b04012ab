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

struct Activate {
  const float* x;
  float* y;
  int64_t count;
  Activation kind;
  float alpha;  // slope of leaky_relu
};

/// dx = dy * f'; `of` is the output for relu, relu6, leaky_relu, hard_sigmoid, sigmoid and tanh, else the input.
struct ActivateBackward {
  const float* dy;
  const float* of;
  float* dx;
  int64_t count;
  Activation kind;
  float alpha;
};

/// Tasks: chunks(count).
struct ActivationKernels {
  void (*forward)(const Activate&, int64_t task, void* scratch);
  void (*backward)(const ActivateBackward&, int64_t task, void* scratch);
};

THAW_KERNELS(ActivationKernels, activation)

}  // namespace thaw
