#pragma once
// What binary cross-entropy and mean squared error share: losses that are a mean over elements.
#include "ops/loss.h"

namespace thaw {

/// Operand numbers of a loss; kNone: it has no such operand.
struct PointwiseOperands {
  size_t scores, target;
  int32_t weights, mask;
};

void check_pointwise(const Infer&, const PointwiseOperands&);
/// Outputs loss [], total [].
void infer_pointwise(Infer&, const PointwiseOperands&);
void lower_pointwise(Lower&, const PointwiseOperands&, PointwiseLoss kind);
/// Operands dloss, then the loss's, then total: output dscores.
void lower_pointwise_backward(Lower&, const PointwiseOperands&, PointwiseLoss kind, size_t total);

}  // namespace thaw
