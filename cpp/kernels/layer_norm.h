#pragma once
// Layer norm over rows [rows][n]: y = (x - mean) * invstd * weight + bias.
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

struct LayerNorm {
  const float* x;
  const float* weight;  // [n] or null
  const float* bias;    // [n] or null
  float* y;
  float* mean;    // [rows]
  float* invstd;  // [rows]
  int64_t rows, n;
  int64_t rows_per_task;
  double eps;
};

/// dx = invstd * (g - mean(g) - xhat mean(g xhat)) with g = dy weight, xhat = (x - mean) invstd.
struct LayerNormBackward {
  const float* dy;
  const float* x;
  const float* weight;
  const float* mean;
  const float* invstd;
  float* dx;
  int64_t rows, n;
  int64_t rows_per_task;
};

/// partial [parts][n]: the sum of dy xhat over the rows of a part.
struct LayerNormWeight {
  const float* dy;
  const float* x;
  const float* mean;
  const float* invstd;
  float* partial;
  int64_t rows, n;
  int64_t rows_per_part;
};

/// Tasks: ceil(rows / rows_per_task), or the number of parts.
struct LayerNormKernels {
  void (*forward)(const LayerNorm&, int64_t task, void* scratch);
  void (*backward)(const LayerNormBackward&, int64_t task, void* scratch);
  void (*backward_weight)(const LayerNormWeight&, int64_t task, void* scratch);
};

THAW_KERNELS(LayerNormKernels, layer_norm)

}  // namespace thaw
