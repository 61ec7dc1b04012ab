#pragma once
// Sums and maxima along one dimension, and the gradient of a maximum.
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

/// x [outer][length][inner] → y [outer][parts][inner]: part p holds factor * the sum (or the maximum) of the elements
/// [p * part, (p + 1) * part) of the middle dimension, added in double precision in order.
struct Reduce {
  const float* x;
  float* y;
  int64_t outer, length, inner;
  int64_t part, parts;
  int64_t units_per_task;
  double factor;
};

constexpr int64_t kReduceColumns = 64;  // of inner, in one unit of work

/// dx[i] = x[i] == y[r] ? dy[r] / (how many are) : 0, with r the element of the reduced shape that i belongs to.
/// The space of x is given as `rank` dimensions with strides of x; reduced ones come last.
struct ReduceMaxBackward {
  const float* dy;
  const float* x;
  const float* y;
  float* dx;
  int64_t kept;            // elements of y
  int64_t kept_rank, reduced_rank;
  int64_t sizes[16];       // kept dimensions, then reduced ones
  int64_t strides[16];     // of x
  int64_t kept_per_task;
};

/// Units of work: outer * parts * ceil(inner / kReduceColumns); tasks: ceil(units / units_per_task).
struct ReduceKernels {
  void (*sum)(const Reduce&, int64_t task, void* scratch);
  void (*max)(const Reduce&, int64_t task, void* scratch);
  void (*max_backward)(const ReduceMaxBackward&, int64_t task, void* scratch);  // tasks: ceil(kept / kept_per_task)
};

/// Sums over the pixels of pictures in bf16: x [planes][pixels][32] → y [planes][32], in f32 or in bf16, added in double.
struct SumPixels {
  const uint16_t* x;
  void* y;
  int64_t planes, pixels, planes_per_task;
};

/// Tasks: ceil(planes / planes_per_task).
struct ReduceBf16Kernels {
  void (*sum_to_f32)(const SumPixels&, int64_t task, void* scratch);
  void (*sum_to_bf16)(const SumPixels&, int64_t task, void* scratch);
};

THAW_KERNELS(ReduceKernels, reduce)
THAW_BF16_KERNELS(ReduceBf16Kernels, reduce_bf16)

}  // namespace thaw
