#pragma once
// Losses as scalars. Each task leaves the sums of its share in double; `finish` joins them in order.
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

enum class TargetKind : int32_t { i32, i64, probabilities };

/// Factors by element: null, or f32, or bytes that are 0 or not (bool). Element i of the loss reads
/// (i / divide) % modulo.
struct Factors {
  const void* data;
  bool bytes;
  int64_t divide, modulo;
};

/// What a task adds: the loss, and the weight that a mean divides by.
struct LossShare {
  double loss, weight;
};

/// Scores [outer][n][inner], one loss for each of outer * inner positions:
/// sum_c q[c] (log_sum - score[c]) mask, with q[c] = class_weight[c] ((1 - smoothing) target[c] + smoothing / n).
struct CrossEntropy {
  const float* scores;
  const void* target;
  const float* class_weights;  // [n] or null
  Factors mask;                // by position
  float* log_sum;              // [outer * inner]
  LossShare* shares;           // [tasks]
  int64_t* wrong;              // [tasks]: the first position with a target outside the classes, or -1
  int64_t outer, n, inner;
  int64_t units_per_task;
  int64_t ignore_index;
  float smoothing;
  TargetKind kind;
};

/// dscores[c] = dloss / total * mask * (sum(q) softmax[c] - q[c]).
struct CrossEntropyBackward {
  CrossEntropy loss;   // operands and shape; log_sum is read
  const float* dloss;  // scalar
  const float* total;  // scalar: what the mean divided by, 1 for a sum
  float* dscores;
};

enum class PointwiseLoss : int32_t { binary_cross_entropy, squared_error };

/// loss = sum of f(score, target) weight mask over elements; binary cross-entropy takes logits.
struct Pointwise {
  const float* scores;
  const float* target;
  Factors weights, mask;
  LossShare* shares;  // [tasks]
  int64_t count;
  PointwiseLoss kind;
};

struct PointwiseBackward {
  Pointwise loss;
  const float* dloss;
  const float* total;
  float* dscores;
};

/// loss = sum of losses / total; total = the sum of weights for a mean, else 1. A mean over nothing is 0.
struct FinishLoss {
  const LossShare* shares;
  int64_t count;
  bool mean;
  float* loss;
  float* total;
};

struct LossKernels {
  // Units: outer * ceil(inner / 16); tasks: ceil(units / units_per_task).
  void (*cross_entropy)(const CrossEntropy&, int64_t task, void* scratch);
  void (*cross_entropy_backward)(const CrossEntropyBackward&, int64_t task, void* scratch);
  // Tasks: chunks(count).
  void (*pointwise)(const Pointwise&, int64_t task, void* scratch);
  void (*pointwise_backward)(const PointwiseBackward&, int64_t task, void* scratch);
  void (*finish)(const FinishLoss&, int64_t task, void* scratch);  // one task
};

THAW_KERNELS(LossKernels, loss)

}  // namespace thaw
