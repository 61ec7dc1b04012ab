// softmax(x; axis -1) and softmax_backward(dy, y; axis) → dx.
#include "kernels/softmax.h"
#include "ops/units.h"

namespace thaw {

namespace {

void infer(Infer& infer) {
  infer.expect_f32(0);
  const Shape& x = infer.shape(0);
  const int64_t axis = infer.attrs().get("axis", -1), rank = static_cast<int64_t>(x.size());
  if (axis < -rank || axis >= rank) {
    infer.fail("an axis within " + std::to_string(rank) + " dimensions", std::to_string(axis));
  }
  if (infer.has(1)) infer.expect_shape(1, x);
  infer.output(DType::f32, x);
}

void differentiate(Gradient& g) {
  if (!g.needs(0)) return;
  Json axis = Json::object().set("axis", g.attrs().get("axis", -1));
  g.add(0, g.emit1("softmax_backward", {g.grad(0), g.output(0)}, axis));
}

void lower(Lower& lower) {
  const Units u = units_along(lower.in(0).shape, lower.attrs().get("axis", -1));
  const Buffer x = lower.input(0), y = lower.output(0);
  lower.launch(softmax_kernels(lower.isa()).forward, u.tasks, 0,
               [=](Run& run) { return Softmax{run.f32(x), run.f32(y), u.outer, u.n, u.inner, u.per_task}; });
}

void lower_backward(Lower& lower) {
  const Units u = units_along(lower.in(0).shape, lower.attrs().get("axis", -1));
  const Buffer dy = lower.input(0), y = lower.input(1), dx = lower.output(0);
  lower.launch(softmax_kernels(lower.isa()).backward, u.tasks, 0, [=](Run& run) {
    return SoftmaxBackward{run.f32(dy), run.f32(y), run.f32(dx), u.outer, u.n, u.inner, u.per_task};
  });
}

}  // namespace

const OpDef& op_softmax() {
  static const OpDef def{.name = "softmax", .infer = infer, .gradient = differentiate, .lower = lower};
  return def;
}

const OpDef& op_softmax_backward() {
  static const OpDef def{.name = "softmax_backward", .infer = infer, .lower = lower_backward};
  return def;
}

}  // namespace thaw
