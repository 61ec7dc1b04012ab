// reorder(x[N,C,H,W]; to 'plain' | 'blocked'): the same values in another layout. Inserted where two neighbours want
// different layouts; the values of the graph say which layouts these are.
#include "kernels/reorder.h"

#include "ops/op.h"

namespace thaw {

namespace {

Layout target(const Json& attrs) { return attrs.at("to").as_string() == "blocked" ? Layout::blocked : Layout::plain; }

void infer(Infer& infer) {
  infer.expect_f32(0, 4);
  const std::string& to = infer.attrs().at("to").as_string();
  if (to != "plain" && to != "blocked") infer.fail("to 'plain' or 'blocked'", "'" + to + "'");
  infer.output(DType::f32, infer.shape(0));
}

void layout(const Graph&, const Node& node, Layouts& layouts) {
  layouts.outputs[0] = target(node.attrs);
  layouts.inputs[0] = layouts.outputs[0] == Layout::blocked ? Layout::plain : Layout::blocked;
}

void lower(Lower& low) {
  const Shape& s = low.in(0).shape;
  const Reorder args = {nullptr, nullptr, s[0], s[1], s[2] * s[3]};
  const int64_t blocks = (args.channels + kBlock - 1) / kBlock;
  const int64_t tasks = args.pictures * blocks * ((args.pixels + kReorderPixels - 1) / kReorderPixels);
  const ReorderKernels& kernels = reorder_kernels(low.isa());
  const bool blocked = target(low.attrs()) == Layout::blocked;
  const Buffer x = low.input(0), y = low.output(0);
  low.launch(blocked ? kernels.to_blocked : kernels.to_plain, tasks, 0, [=](Run& run) {
    return Reorder{run.f32(x), run.f32(y), args.pictures, args.channels, args.pixels};
  });
}

}  // namespace

const OpDef& op_reorder() {
  static const OpDef def{.name = "reorder", .infer = infer, .layout = layout, .lower = lower};
  return def;
}

}  // namespace thaw
