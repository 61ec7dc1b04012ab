#pragma once
// Parameter updates on a stretch of elements. With g the gradient times `scale`:
//
//   sgd    g += decay * (w - origin);  b = momentum * b + g;  w -= rate * (nesterov ? g + momentum * b : b)
//   adam   g += decay * (w - origin)                 (adamw: w -= rate * decay * (w - origin) first)
//          m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g^2
//          w -= step * m / (sqrt(v) / root + eps),   step = rate / (1 - beta1^t), root = sqrt(1 - beta2^t)
//
// as torch.optim.SGD (dampening 0), Adam and AdamW do. Without `origin` it counts as zero: plain weight decay.
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

struct SgdUpdate {
  float* weight;
  const float* gradient;
  const float* origin;   // null: zero
  float* momentum_sum;   // b; null where momentum is 0
  int64_t count;
  float scale, rate, decay, momentum;
  bool nesterov;
};

struct AdamUpdate {
  float* weight;
  const float* gradient;
  const float* origin;
  float* first;          // m
  float* second;         // v
  int64_t count;
  float scale, decay, shrink;  // coupled decay; decoupled: rate * decay. One of them is 0
  float beta1, rest1, beta2, rest2, step, root, eps;  // rest = 1 - beta
};

struct Stretch {
  const float* x;
  float* y;
  int64_t count;
};

struct OptimKernels {
  void (*sgd)(const SgdUpdate&);
  void (*adam)(const AdamUpdate&);
  /// Sum of x^2, in double.
  double (*square_sum)(const Stretch&);
  /// y += x
  void (*add)(const Stretch&);
};

THAW_KERNELS(OptimKernels, optim)

}  // namespace thaw
