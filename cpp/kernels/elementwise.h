#pragma once
// y = a + b, y = a * b with broadcasting; y = a * factor with broadcasting (also a plain copy); y = x * factor * s.
#include <cstdint>

#include "kernels/activation.h"  // chunks
#include "kernels/isa.h"

namespace thaw {

constexpr int kMaxRank = 8;

/// y[i] = f(a[…], b[…]) over a space of `rank` dimensions, row-major in y. Strides of a and b are 0 where they are
/// repeated; the last dimension of each has stride 0 or 1.
struct Combine {
  const float* a;
  const float* b;
  float* y;
  int64_t rank;
  int64_t sizes[kMaxRank];
  int64_t a_strides[kMaxRank];
  int64_t b_strides[kMaxRank];
  int64_t rows;           // product of all sizes but the last
  int64_t rows_per_task;
  float factor;           // of `expand`
};

/// y = x * factor * (s ? *s : 1). Tasks: chunks(count).
struct Scale {
  const float* x;
  const float* s;
  float* y;
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

struct ElementwiseKernels {
  // Tasks: ceil(rows / rows_per_task); chunks(sizes[0]) where rank is 1.
  void (*add)(const Combine&, int64_t task, void* scratch);
  void (*multiply)(const Combine&, int64_t task, void* scratch);
  void (*expand)(const Combine&, int64_t task, void* scratch);  // y = a * factor; b is not read
  void (*scale)(const Scale&, int64_t task, void* scratch);
  void (*block)(const Block&, int64_t task, void* scratch);
  void (*fill)(const Fill&, int64_t task, void* scratch);  // tasks: chunks(count)
};

THAW_KERNELS(ElementwiseKernels, elementwise)

}  // namespace thaw
