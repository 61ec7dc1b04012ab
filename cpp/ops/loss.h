#pragma once
// What the losses share: masks, the mean's divisor, the join of the tasks' sums.
#include "kernels/loss.h"
#include "ops/op.h"

namespace thaw {

/// Checks operand i (absent: fine) as factors of a loss over `shape`: f32, or bool where `allow_bool`. It may have the
/// loss's shape, or its trailing dimensions, or its leading ones.
void expect_factors(const Infer&, size_t i, const Shape& shape, bool allow_bool);
/// How operand i is read. `leading`: a shape that could be both is leading dimensions (masks by sample).
Factors factors_of(const Lower&, size_t i, const Shape& shape, bool leading);
/// The same at run time.
inline Factors bound(const Factors& factors, const Run& run, Buffer buffer) {
  Factors result = factors;
  result.data = run.at(buffer);
  return result;
}

/// attrs.reduction: true for 'mean', false for 'sum'; throws ERR_ATTRIBUTE otherwise.
bool is_mean(const Node&);
/// outputs[loss] and outputs[total] from the shares of `tasks` tasks.
void lower_finish(Lower&, Buffer shares, int64_t tasks, size_t loss, size_t total);
/// Refuses the gradient of an operand that a loss is not differentiated by.
void refuse_gradient(const Gradient&, size_t i, const char* operand);

}  // namespace thaw
