#pragma once
// Softmax along the middle dimension of [outer][n][inner].
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

/// y = e^(x - max) / sum
struct Softmax {
  const float* x;
  float* y;
  int64_t outer, n, inner;
  int64_t units_per_task;
};

/// dx = y (dy - sum(dy y))
struct SoftmaxBackward {
  const float* dy;
  const float* y;
  float* dx;
  int64_t outer, n, inner;
  int64_t units_per_task;
};

/// Units: outer * ceil(inner / 16); tasks: ceil(units / units_per_task).
struct SoftmaxKernels {
  void (*forward)(const Softmax&, int64_t task, void* scratch);
  void (*backward)(const SoftmaxBackward&, int64_t task, void* scratch);
};

THAW_KERNELS(SoftmaxKernels, softmax)

}  // namespace thaw
