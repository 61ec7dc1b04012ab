// mean_squared_error(scores, target f32, mask?; reduction 'mean'|'sum') → loss [], total []: (x - t)^2 for each
// element; the mask (bool or f32; leading or trailing dimensions) multiplies and counts in the mean.
// mean_squared_error_backward(dloss, scores, target, mask?, total; reduction) → dscores.
#include "ops/pointwise_loss.h"

namespace thaw {

namespace {

constexpr PointwiseOperands kForward{0, 1, kNone, 2}, kBackward{1, 2, kNone, 3};

void infer(Infer& infer) { infer_pointwise(infer, kForward); }

void differentiate(Gradient& g) {
  refuse_gradient(g, 2, "a mask");
  if (g.grad(0) == kNone || !(g.needs(0) || g.needs(1))) return;
  const ValueId dscores = g.emit1("mean_squared_error_backward",
                                  {g.grad(0), g.input(0), g.input(1), g.input(2), g.output(1)}, g.attrs());
  if (g.needs(0)) g.add(0, dscores);
  if (!g.needs(1)) return;
  const Shape target = g.value(g.input(1)).shape;
  ValueId dtarget = g.emit1("scale", {dscores}, Json::object().set("factor", -1.0));
  if (g.value(dtarget).shape != target) dtarget = g.emit1("reshape", {dtarget}, Json::object().set("shape", target));
  g.add(1, dtarget);
}

void lower(Lower& lower) { lower_pointwise(lower, kForward, PointwiseLoss::squared_error); }

void infer_backward(Infer& infer) {
  check_pointwise(infer, kBackward);
  infer.output(DType::f32, infer.shape(1));
}

void lower_backward(Lower& lower) { lower_pointwise_backward(lower, kBackward, PointwiseLoss::squared_error, 4); }

}  // namespace

const OpDef& op_mean_squared_error() {
  static const OpDef def{.name = "mean_squared_error", .infer = infer, .gradient = differentiate, .lower = lower};
  return def;
}

const OpDef& op_mean_squared_error_backward() {
  static const OpDef def{.name = "mean_squared_error_backward", .infer = infer_backward, .lower = lower_backward};
  return def;
}

}  // namespace thaw
