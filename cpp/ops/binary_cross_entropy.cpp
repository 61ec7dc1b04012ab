// binary_cross_entropy(scores, target f32, weights?, mask?; reduction 'mean'|'sum') → loss [], total []: from logits,
// max(x, 0) - x t + log(1 + e^-|x|) for each element. Weights (trailing dimensions, as PyTorch broadcasts) multiply;
// the mask (bool or f32; leading or trailing dimensions) multiplies and counts in the mean.
// binary_cross_entropy_backward(dloss, scores, target, weights?, mask?, total; reduction) → dscores.
#include "ops/pointwise_loss.h"

namespace thaw {

namespace {

constexpr PointwiseOperands kForward{0, 1, 2, 3}, kBackward{1, 2, 3, 4};

void infer(Infer& infer) { infer_pointwise(infer, kForward); }

void differentiate(Gradient& g) {
  refuse_gradient(g, 1, "a target");
  refuse_gradient(g, 2, "weights");
  refuse_gradient(g, 3, "a mask");
  if (!g.needs(0) || g.grad(0) == kNone) return;
  g.add(0, g.emit1("binary_cross_entropy_backward",
                   {g.grad(0), g.input(0), g.input(1), g.input(2), g.input(3), g.output(1)}, g.attrs()));
}

void lower(Lower& lower) { lower_pointwise(lower, kForward, PointwiseLoss::binary_cross_entropy); }

void infer_backward(Infer& infer) {
  check_pointwise(infer, kBackward);
  infer.output(DType::f32, infer.shape(1));
}

void lower_backward(Lower& lower) {
  lower_pointwise_backward(lower, kBackward, PointwiseLoss::binary_cross_entropy, 5);
}

}  // namespace

const OpDef& op_binary_cross_entropy() {
  static const OpDef def{.name = "binary_cross_entropy", .infer = infer, .gradient = differentiate, .lower = lower};
  return def;
}

const OpDef& op_binary_cross_entropy_backward() {
  static const OpDef def{.name = "binary_cross_entropy_backward", .infer = infer_backward, .lower = lower_backward};
  return def;
}

}  // namespace thaw
