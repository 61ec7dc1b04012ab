// multiply(a, b): a * b with broadcasting.
#include "ops/combine.h"

namespace thaw {

namespace {

void differentiate(Gradient& g) {
  for (size_t i = 0; i < 2; ++i) {
    if (g.needs(i)) add_summed(g, i, g.emit1("multiply", {g.grad(0), g.input(1 - i)}));
  }
}

void lower(Lower& lower) {
  lower_combine(lower, elementwise_kernels(lower.isa()).multiply, elementwise_bf16_kernels(lower.isa()).multiply);
}

}  // namespace

const OpDef& op_multiply() {
  static const OpDef def{.name = "multiply", .infer = infer_combine, .gradient = differentiate,
                         .layout = layout_combine, .lower = lower, .bf16 = true, .per_picture = true, .rows = same_row};
  return def;
}

}  // namespace thaw
