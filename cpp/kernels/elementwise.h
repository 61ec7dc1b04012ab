#pragma once
// y = a + b, y = a * b with broadcasting; y = a * factor with broadcasting (also a plain copy); y = x * factor * s.
#include <cstdint>

#include "kernels/activation.h"  // chunks
#include "kernels/isa.h"
#include "kernels/rank.h"

namespace thaw {

/// y[i] = f(a[…], b[…]) over a space of `rank` dimensions, row-major in y. Strides of a and b are 0 where they are
/// repeated; the last dimension of each has stride 0 or 1. T is float, or uint16_t for lines of bf16: an element of the
/// space is a line of 32 then.
template <class T>
struct CombineOf {
  static constexpr int64_t kUnit = sizeof(T) == 4 ? 1 : 32;  // numbers that an element of the space holds
  const T* a;
  const T* b;
  T* y;
  int64_t rank;
  int64_t sizes[kMaxRank];
  int64_t a_strides[kMaxRank];
  int64_t b_strides[kMaxRank];
  int64_t rows;           // product of all sizes but the last
  int64_t rows_per_task;
  float factor;           // of `expand`
};

/// y = x * factor * (s ? *s : 1). Tasks: chunks(count).
template <class T>
struct ScaleOf {
  const T* x;
  const float* s;
  T* y;
  int64_t count;
  float factor;
};

/// Plain [C, spatial] to blocked [ceil(C / 16)][spatial][16], zero beyond C. Tasks: ceil(C / 16).
struct Block {
  const float* x;
  float* y;
  int64_t channels, spatial;
};

struct Fill {
  float* y;
  int64_t count;
  float value;
};

using Combine = CombineOf<float>;
using CombineBf16 = CombineOf<uint16_t>;
using Scale = ScaleOf<float>;
using ScaleBf16 = ScaleOf<uint16_t>;

struct ElementwiseKernels {
  // Tasks: ceil(rows / rows_per_task); chunks(sizes[0] * kUnit) where rank is 1.
  void (*add)(const Combine&, int64_t task, void* scratch);
  void (*multiply)(const Combine&, int64_t task, void* scratch);
  void (*expand)(const Combine&, int64_t task, void* scratch);  // y = a * factor; b is not read
  void (*scale)(const Scale&, int64_t task, void* scratch);
  void (*block)(const Block&, int64_t task, void* scratch);
  void (*fill)(const Fill&, int64_t task, void* scratch);  // tasks: chunks(count)
};

/// Pictures in bf16; whole lines.
struct ElementwiseBf16Kernels {
  void (*add)(const CombineBf16&, int64_t task, void* scratch);
  void (*multiply)(const CombineBf16&, int64_t task, void* scratch);
  void (*scale)(const ScaleBf16&, int64_t task, void* scratch);
};

THAW_KERNELS(ElementwiseKernels, elementwise)
THAW_BF16_KERNELS(ElementwiseBf16Kernels, elementwise_bf16)

}  // namespace thaw
