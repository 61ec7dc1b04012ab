// scale(x, s?[]; factor 1): x * factor * s.
#include "kernels/elementwise.h"
#include "ops/op.h"

namespace thaw {

namespace {

void infer(Infer& infer) {
  infer.expect_f32(0);
  if (infer.has(1)) {
    infer.expect_f32(1);
    if (count(infer.shape(1)) != 1) infer.fail("a scalar to scale by", to_string(infer.shape(1)));
  }
  infer.output(DType::f32, infer.shape(0));
}

void differentiate(Gradient& g) {
  const Json factor = Json::object().set("factor", g.attrs().get("factor", 1.0));
  const ValueId s = g.input(1);
  if (g.needs(0)) g.add(0, g.emit1("scale", {g.grad(0), s}, factor));
  if (s == kNone || !g.needs(1)) return;
  const ValueId product = g.emit1("multiply", {g.grad(0), g.input(0)});
  // Summed to a scalar, in the shape of s ([] or [1]).
  const ValueId sum = g.emit1("sum_to", {product}, Json::object().set("shape", g.value(s).shape));
  g.add(1, g.emit1("scale", {sum}, factor));
}

template <class T>
void lower_as(Lower& lower, void (*kernel)(const ScaleOf<T>&, int64_t, void*)) {
  const Buffer x = lower.input(0), s = lower.input(1), y = lower.output(0);
  const int64_t n = physical_count(lower.out(0));
  const float factor = static_cast<float>(lower.attrs().get("factor", 1.0));
  lower.launch(kernel, chunks(n), 0, [=](Run& run) {
    return ScaleOf<T>{static_cast<const T*>(run.at(x)), run.f32(s), static_cast<T*>(run.at(y)), n, factor};
  });
}

void lower(Lower& lower) {
  if (lower.out(0).layout == Layout::blocked_bf16) return lower_as(lower, elementwise_bf16_kernels(lower.isa()).scale);
  lower_as(lower, elementwise_kernels(lower.isa()).scale);
}

}  // namespace

const OpDef& op_scale() {
  static const OpDef def{.name = "scale", .infer = infer, .gradient = differentiate, .layout = layout_follow,
                         .lower = lower, .bf16 = true, .per_picture = true, .rows = same_row};
  return def;
}

}  // namespace thaw
