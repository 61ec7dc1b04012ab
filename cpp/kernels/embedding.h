#pragma once
// Rows by index: y[i] = weight[indices[i]], and its gradient, dense[indices[i]] += rows[i] in order.
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

/// Integers of either width.
struct Indices {
  const void* data;
  bool wide;  // int64_t, else int32_t
};

struct Embedding {
  Indices indices;
  const float* weight;  // [rows][width]
  float* y;             // [count][width]
  int32_t* kept;        // [count]: the index, -1 for the padding index
  int64_t* wrong;       // [tasks]: the first position whose index lies outside the rows, or -1
  int64_t count, rows, width;
  int64_t padding;      // -1: none
  int64_t per_task;
};

struct Scatter {
  Indices indices;
  const float* rows;  // [count][width]
  float* dense;       // [rows_total][width]
  int64_t count, rows_total, width;
  int64_t per_task;   // rows of `dense`
};

struct EmbeddingKernels {
  void (*gather)(const Embedding&, int64_t task, void* scratch);  // tasks: ceil(count / per_task)
  void (*scatter)(const Scatter&, int64_t task, void* scratch);   // tasks: ceil(rows_total / per_task)
};

THAW_KERNELS(EmbeddingKernels, embedding)

}  // namespace thaw
