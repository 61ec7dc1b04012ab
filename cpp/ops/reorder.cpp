// reorder(x[N,C,H,W]; to 'plain' | 'blocked' | 'blocked_bf16'): the same values in another layout. Inserted where two
// neighbours want different layouts; the values of the graph say which layouts these are.
#include "kernels/reorder.h"

#include "ops/op.h"

namespace thaw {

namespace {

void infer(Infer& infer) {
  infer.expect_f32(0, 4);
  const std::string& to = infer.attrs().at("to").as_string();
  if (to != "plain" && to != "blocked" && to != "blocked_bf16")
    infer.fail("to 'plain', 'blocked' or 'blocked_bf16'", "'" + to + "'");
  infer.output(DType::f32, infer.shape(0));
}

void layout(const Graph& graph, const Node& node, Layouts& layouts) {
  const std::string& to = node.attrs.at("to").as_string();
  layouts.inputs[0] = graph.values[node.inputs[0]].layout;
  layouts.outputs[0] = to == "plain" ? Layout::plain : to == "blocked" ? Layout::blocked : Layout::blocked_bf16;
}

int64_t tasks_of(const Shape& s, int64_t block) {
  const int64_t pixels = s[2] * s[3];
  return s[0] * ((s[1] + block - 1) / block) * ((pixels + kReorderPixels - 1) / kReorderPixels);
}

void lower_bf16(Lower& low, Layout from, Layout to) {
  const ReorderBf16Kernels& kernels = reorder_bf16_kernels(low.isa());
  const auto kernel = to == Layout::blocked_bf16 ? (from == Layout::plain ? kernels.from_plain : kernels.from_blocked)
                                                 : (to == Layout::plain ? kernels.to_plain : kernels.to_blocked);
  const Shape& s = low.in(0).shape;
  const int64_t pictures = s[0], channels = s[1], pixels = s[2] * s[3];
  const Buffer x = low.input(0), y = low.output(0);
  low.launch(kernel, tasks_of(s, kBlockBf16), 0, [=](Run& run) {
    return ReorderBf16{run.at(x), run.at(y), pictures, channels, pixels};
  });
}

void lower(Lower& low) {
  const Layout from = low.in(0).layout, to = low.out(0).layout;
  if (from == Layout::blocked_bf16 || to == Layout::blocked_bf16) return lower_bf16(low, from, to);
  const Shape& s = low.in(0).shape;
  const int64_t pictures = s[0], channels = s[1], pixels = s[2] * s[3];
  const ReorderKernels& kernels = reorder_kernels(low.isa());
  const Buffer x = low.input(0), y = low.output(0);
  low.launch(to == Layout::blocked ? kernels.to_blocked : kernels.to_plain, tasks_of(s, kBlock), 0, [=](Run& run) {
    return Reorder{run.f32(x), run.f32(y), pictures, channels, pixels};
  });
}

}  // namespace

const OpDef& op_reorder() {
  static const OpDef def{.name = "reorder", .infer = infer, .layout = layout, .lower = lower,
                         .per_picture = true, .rows = same_row};
  return def;
}

}  // namespace thaw
