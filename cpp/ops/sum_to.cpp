// sum_to(x; shape): x summed to a shape that broadcasts to x's. With channels true the shape is [C], and all but
// dimension 1 is summed (the gradient of a convolution's bias).
#include <algorithm>

#include "kernels/activation.h"  // kChunk
#include "ops/reduction.h"

namespace thaw {

namespace {

/// The target aligned with x: one entry per dimension of x.
Shape aligned(const Node& node, const Shape& x) {
  const Shape shape = node.attrs.at("shape").as_ints();
  Shape target(x.size(), 1);
  if (node.attrs.get("channels", false)) {
    if (x.size() >= 2 && shape.size() == 1) target[1] = shape[0];
  } else if (shape.size() <= x.size()) {
    std::copy(shape.begin(), shape.end(), target.end() - static_cast<std::ptrdiff_t>(shape.size()));
  }
  return target;
}

void infer(Infer& infer) {
  infer.expect_f32(0);
  const Shape shape = infer.attrs().at("shape").as_ints(), &x = infer.shape(0);
  const Shape target = aligned(infer.node, x);
  bool fits = count(target) == count(shape);
  for (size_t d = 0; d < x.size(); ++d) fits = fits && (target[d] == x[d] || target[d] == 1);
  if (!fits) infer.fail("a shape that broadcasts to " + to_string(x), to_string(shape));
  infer.output(DType::f32, shape);
}

void differentiate(Gradient& g) {
  if (!g.needs(0)) return;
  const Shape x = g.value(g.input(0)).shape, target = aligned(g.node(), x);
  std::vector<int64_t> axes;
  for (size_t d = 0; d < x.size(); ++d) {
    if (target[d] != x[d]) axes.push_back(static_cast<int64_t>(d));
  }
  ValueId dy = g.grad(0);
  if (g.value(dy).shape != target) dy = g.emit1("reshape", {dy}, Json::object().set("shape", target));
  Json attrs = Json::object().set("kind", "sum").set("axes", axes).set("keepdims", true).set("input_shape", x);
  g.add(0, g.emit1("reduce_backward", {dy}, attrs));
}

/// Over [N, blocks, H, W, 16] only sums that keep the channels are done in blocks.
bool keeps_channels(const Shape& x, const Shape& target) {
  return target[1] == x[1] && target[2] == 1 && target[3] == 1;
}

void layout(const Graph& graph, const Node& node, Layouts& layouts) {
  const Value& x = graph.values[node.inputs[0]];
  const Value& y = graph.values[node.outputs[0]];
  if (x.shape.size() != 4 || x.layout == Layout::plain) return;
  const Shape target = aligned(node, x.shape);
  if (!keeps_channels(x.shape, target)) return;
  layouts.inputs[0] = x.layout;
  if (target[0] == x.shape[0] && y.shape.size() == 4) layouts.outputs[0] = x.layout;
}

/// x in bf16: the pixels of each plane, in f32 unless that is the result, then the pictures.
void lower_bf16(Lower& lower, const Shape& x) {
  const int64_t channels = (x[1] + kBlockBf16 - 1) / kBlockBf16 * kBlockBf16, pixels = x[2] * x[3];
  const int64_t planes = x[0] * channels / kBlockBf16;
  const int64_t per_task = std::max<int64_t>(1, kChunk / kBlockBf16 / std::max<int64_t>(1, pixels));
  const bool to_picture = lower.out(0).layout == Layout::blocked_bf16;
  const ReduceBf16Kernels& kernels = reduce_bf16_kernels(lower.isa());
  const Buffer from = lower.input(0);
  const Buffer sums = to_picture ? lower.output(0) : lower.workspace(sizeof(float) * x[0] * channels);
  lower.launch(to_picture ? kernels.sum_to_bf16 : kernels.sum_to_f32, (planes + per_task - 1) / per_task, 0,
               [=](Run& run) {
    return SumPixels{static_cast<const uint16_t*>(run.at(from)), run.at(sums), planes, pixels, per_task};
  });
  if (to_picture) return;
  const Buffer padded = lower.workspace(sizeof(float) * channels);
  lower_reduction(lower, reduce_kernels(lower.isa()).sum, sums, {{x[0], true}, {channels, false}}, padded, 1.0);
  lower_copy(lower, padded, lower.output(0), x[1]);
}

/// Blocked x: the sums of all channel blocks, then those of the real channels.
void lower_blocked(Lower& lower, const Shape& x, const Shape& target) {
  const ReduceKernel sum = reduce_kernels(lower.isa()).sum;
  const int64_t channels = (x[1] + kBlock - 1) / kBlock * kBlock;
  const std::vector<Extent> extents = {
      {x[0], target[0] == 1}, {channels / kBlock, false}, {x[2] * x[3], true}, {kBlock, false}};
  if (lower.out(0).layout == Layout::blocked || channels == x[1]) {
    return lower_reduction(lower, sum, lower.input(0), extents, lower.output(0), 1.0);
  }
  const Buffer padded = lower.workspace(sizeof(float) * target[0] * channels);
  lower_reduction(lower, sum, lower.input(0), extents, padded, 1.0);
  lower_copy(lower, padded, lower.output(0), x[1]);
}

void lower(Lower& lower) {
  const Value& x = lower.in(0);
  const Shape target = aligned(lower.node(), x.shape);
  if (x.layout == Layout::blocked_bf16) return lower_bf16(lower, x.shape);
  if (x.layout == Layout::blocked) return lower_blocked(lower, x.shape, target);
  std::vector<Extent> extents;
  for (size_t d = 0; d < x.shape.size(); ++d) extents.push_back({x.shape[d], target[d] != x.shape[d]});
  lower_reduction(lower, reduce_kernels(lower.isa()).sum, lower.input(0), extents, lower.output(0), 1.0);
}

}  // namespace

const OpDef& op_sum_to() {
  static const OpDef def{.name = "sum_to", .infer = infer, .gradient = differentiate, .layout = layout, .lower = lower,
                         .bf16 = true};
  return def;
}

}  // namespace thaw
