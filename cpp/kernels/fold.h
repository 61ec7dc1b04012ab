#pragma once
// A frozen batch norm multiplied into the layer before it, with s = gamma / sqrt(variance + eps) per output:
//   weight [outputs][each] → weight * s;   bias → (bias - mean) * s + beta
// Computed in double: each result is rounded once.
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

struct FoldWeight {
  const float* weight;
  const float* gamma;  // [outputs] or null: 1
  const float* variance;
  float* result;
  int64_t outputs, each;
  double eps;
};

struct FoldBias {
  const float* bias;   // [outputs] or null: 0
  const float* gamma;  // or null: 1
  const float* beta;   // or null: 0
  const float* mean;
  const float* variance;
  float* result;
  int64_t outputs;
  double eps;
};

struct FoldKernels {
  void (*weight)(const FoldWeight&, int64_t task, void* scratch);  // tasks: outputs
  void (*bias)(const FoldBias&, int64_t task, void* scratch);      // one task
};

THAW_KERNELS(FoldKernels, fold)

}  // namespace thaw
