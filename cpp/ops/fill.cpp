// fill(; shape, value): every element is `value`.
#include "kernels/elementwise.h"
#include "ops/op.h"

namespace thaw {

namespace {

void infer(Infer& infer) { infer.output(DType::f32, infer.attrs().at("shape").as_ints()); }

void lower(Lower& lower) {
  const Buffer y = lower.output(0);
  const int64_t n = physical_count(lower.out(0));
  const float value = static_cast<float>(lower.attrs().get("value", 0.0));
  lower.launch(elementwise_kernels(lower.isa()).fill, chunks(n), 0,
               [=](Run& run) { return Fill{run.f32(y), n, value}; });
}

}  // namespace

const OpDef& op_fill() {
  static const OpDef def{.name = "fill", .infer = infer, .lower = lower};
  return def;
}

}  // namespace thaw
