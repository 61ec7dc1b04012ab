// conv2d(x [N,C,H,W], weight [K,C/groups,kh,kw], bias? [K], residual? [N,K,oh,ow]) → [N,K,oh,ow]:
//   y = activation(conv(x, weight) + bias + residual), cross-correlation as in PyTorch.
// Attributes: stride [1,1], padding [top,left,bottom,right] (0), dilation [1,1], groups 1; set by passes: residual,
// activation "none", alpha, approximate; by select: weight_shape, pack; by compile/expand.cpp: expand, depthwise
// (ops/conv2d_expand.cpp); by compile/shortcut.cpp: shortcut, the attributes of a 1x1 convolution whose x, weight and bias
// are operands 3 to 5 and whose result is what is added.
#include <memory>

#include "ops/conv2d_winograd.h"
#include "ops/product.h"

namespace thaw {

namespace {

Shape weight_shape(const Graph& graph, const Node& node) {
  return node.attrs.get("weight_shape", graph.values[node.inputs[1]].shape);
}

void infer(Infer& infer) {
  infer.expect_f32(0, 4);
  infer.expect_f32(1);
  const Conv2dShape c =
      conv2d_shape(infer.attrs(), infer.shape(0), weight_shape(infer.graph, infer.node),
                   [&](const std::string& expected, const std::string& received) { infer.fail(expected, received); });
  if (infer.has(2)) infer.expect_f32(2), infer.expect_shape(2, {c.out_channels()});
  if (infer.has(3)) infer.expect_f32(3), infer.expect_shape(3, c.out());
  infer.output(DType::f32, c.out());
}

bool writes_part(const Graph&, const Node& node, int operand) {
  const std::string& kernel = node.attrs.at("kernel").as_string();
  const bool residual = node.inputs.size() > 3 && node.inputs[3] != kNone;
  const bool writes = kernel == "direct" || kernel.ends_with("split") || kernel == "winograd" || kernel == "bf16";
  return operand == kResult && !residual && writes;
}

Json geometry(const Json& attrs) {
  Json result = Json::object();
  for (const char* name : {"stride", "padding", "dilation", "groups"})
    if (const Json* value = attrs.find(name)) result.set(name, *value);
  return result;
}

// Fusing comes after differentiating, so there is neither residual nor activation here.
void differentiate(Gradient& g) {
  const ValueId dy = g.grad(0);
  const Shape x = g.value(g.input(0)).shape, weight = g.value(g.input(1)).shape;  // copies: emit moves the values
  if (g.needs(0))
    g.add(0, g.emit1("conv2d_backward_data", {dy, g.input(1)}, geometry(g.attrs()).set("input_shape", x)));
  if (g.needs(1))
    g.add(1, g.emit1("conv2d_backward_weights", {g.input(0), dy}, geometry(g.attrs()).set("weight_shape", weight)));
  if (g.input(2) != kNone && g.needs(2)) {
    const int64_t channels = weight[0];
    const ValueId sum = g.emit1("sum_to", {dy}, Json::object().set("shape", Shape{1, channels, 1, 1}));
    g.add(2, g.emit1("reshape", {sum}, Json::object().set("shape", Shape{channels})));
  }
}

RowWindow rows(const Node& node) {
  // Two pictures with windows of their own (compile/shortcut.cpp): none.
  if (node.attrs.find("shortcut")) return {.size = 0};
  // Of two joined nodes the 1x1 has no part in it.
  const Json* deep = node.attrs.find("depthwise");
  const Json& attrs = deep ? *deep : node.attrs;
  const int64_t kernel = attrs.at("weight_shape").as_ints()[2], one = 1;
  const int64_t dilation = attrs.get("dilation", std::vector<int64_t>{one, one})[0];
  return {.size = (kernel - 1) * dilation + 1,
          .stride = attrs.get("stride", std::vector<int64_t>{one, one})[0],
          .top = attrs.get("padding", std::vector<int64_t>{0, 0, 0, 0})[0],
          .multiple = attrs.at("kernel").as_string().starts_with("winograd") ? kWinogradTile : one,
          .has_padding = true};
}

void layout(const Graph&, const Node& node, Layouts& layouts) {
  const Layout pictures = conv2d_layout(node);
  layouts.inputs[0] = node.attrs.at("kernel").as_string().starts_with("narrow") ? Layout::plain : pictures;
  layouts.outputs[0] = pictures;
  if (node.inputs.size() > 3) layouts.inputs[3] = pictures;
}

void lower(Lower& lower) {
  if (lower.attrs().find("expand")) return lower_expansion(lower);
  const Conv2dShape c = conv2d_shape(lower.attrs(), lower.in(0).shape, lower.attrs().at("weight_shape").as_ints());
  if (lower.attrs().at("kernel").as_string() == "narrow_bf16") return lower_narrow(lower, c);
  GridProblem problem;
  problem.grid = forward_grid(c);
  problem.channels = {c.in_channels(), c.out_channels(), c.groups};
  problem.pictures = c.pictures();
  problem.in_height = c.x[2], problem.in_width = c.x[3];
  problem.out_height = c.out_height, problem.out_width = c.out_width;
  const bool shortcut = lower.attrs().find("shortcut");
  GridOperands operands{lower.input(0),
                        lower.input(1),
                        lower.input(2),
                        shortcut ? kNone : lower.input(3),
                        lower.output(0),
                        kNone,
                        fused_activation(lower.attrs()),
                        static_cast<float>(lower.attrs().get("alpha", 0.01)),
                        lower.streams(0),
                        lower.gap_out(0)};
  if (shortcut) {
    const std::vector<int64_t> stride = lower.attrs().at("shortcut").get("stride", std::vector<int64_t>{1, 1});
    const Shape& from = lower.in(3).shape;
    problem.shortcut = {from[1], from[2], from[3], stride[0], stride[1]};
    operands.shortcut = {lower.input(3), lower.input(4), lower.input(5)};
  }
  lower_grid(lower, problem, operands);
}

void lower_direct(Lower& lower, const GridProblem& problem, const GridOperands& o) {
  const Conv2dKernels& kernels = conv2d_kernels(lower.isa());
  const std::shared_ptr<Conv2dPlan> plan = plan_grid(problem, direct_tiling(kernels), lower.threads());
  const int64_t offset = problem.weights_offset;
  lower.launch(kernels.direct, plan->tasks, direct_scratch(*plan), [=](Run& run) {
    Conv2d a = plan->args;
    bind_operands(run, o, offset, a);
    return a;
  });
}

void lower_depthwise(Lower& lower, const GridProblem& p, const GridOperands& o) {
  const auto offsets = [&](const GridAxis& axis) {
    std::vector<int64_t> result;
    for (const GridAxis::Tap& tap : axis.taps) result.push_back(tap.offset);
    return lower.table(result);
  };
  const Buffer offsets_y = offsets(p.grid.y), offsets_x = offsets(p.grid.x);
  const DepthwiseForm form = depthwise_form(lower.attrs().at("kernel").as_string(), lower.isa());
  const int64_t blocks = blocks_of(p.channels.in, form.block);
  lower.launch(form.kernels.direct, p.pictures * blocks, 0, [=](Run& run) {
    Depthwise a = depthwise_args(p, form.block);
    a.x = run.f32(o.x), a.weights = run.f32(o.weights) + p.weights_offset, a.bias = run.f32(o.bias);
    a.residual = run.f32(o.residual), a.gate = run.f32(o.gate), a.y = run.f32(o.y), a.activation = o.activation, a.alpha = o.alpha;
    a.offset_y = static_cast<const int64_t*>(run.at(offsets_y)), a.offset_x = static_cast<const int64_t*>(run.at(offsets_x));
    return a;
  });
}

}  // namespace

void bind_operands(const Run& run, const GridOperands& o, int64_t weights_offset, Conv2d& a) {
  a.x = run.f32(o.x), a.weights = run.f32(o.weights) + weights_offset, a.bias = run.f32(o.bias);
  a.residual = run.f32(o.residual), a.gate = run.f32(o.gate), a.y = run.f32(o.y), a.y_gap = o.y_gap;
  a.activation = o.activation, a.alpha = o.alpha, a.stream = o.stream;
  a.shortcut.x = run.f32(o.shortcut.x), a.shortcut.weights = run.f32(o.shortcut.weights);
  a.shortcut.bias = run.f32(o.shortcut.bias);
}

size_t direct_scratch(const Conv2dPlan& plan) {
  const int64_t points = plan.args.cols * plan.args.interleave;
  return plan.scratch + 64 * sizeof(float) + 2 * sizeof(int64_t) * static_cast<size_t>(points);
}

Depthwise depthwise_args(const GridProblem& p, int64_t block) {
  Depthwise a{};
  a.pictures = p.pictures, a.channels = p.channels.in, a.blocks = blocks_of(p.channels.in, block);
  a.in_height = p.in_height, a.in_width = p.in_width, a.out_height = p.out_height, a.out_width = p.out_width;
  a.rows = p.grid.y.size, a.cols = p.grid.x.size;
  a.out_start_y = p.grid.y.start, a.out_start_x = p.grid.x.start, a.out_step_y = p.grid.y.step,
  a.out_step_x = p.grid.x.step;
  a.stride_y = p.grid.y.stride, a.stride_x = p.grid.x.stride;
  a.taps_y = static_cast<int64_t>(p.grid.y.taps.size()), a.taps_x = static_cast<int64_t>(p.grid.x.taps.size());
  return a;
}

void lower_grid(Lower& lower, const GridProblem& problem, const GridOperands& operands) {
  if (problem.pictures == 0 || problem.grid.y.size == 0 || problem.grid.x.size == 0) return;
  const std::string& form = lower.attrs().at("kernel").as_string();
  if (is_gemm(form)) lower_gemm(lower, problem, operands);
  else if (form == "bf16" || form == "shortcut_bf16") lower_bf16(lower, problem, operands);
  else if (is_depthwise(form)) lower_depthwise(lower, problem, operands);
  else if (form == "narrow") lower_narrow(lower, problem, operands);
  else if (form == "winograd") lower_winograd(lower, problem, operands);
  else if (form == "winograd_split") lower_winograd_split(lower, problem, operands);
  else if (form == "split") lower_split(lower, problem, operands);
  else lower_direct(lower, problem, operands);
}

const OpDef& op_conv2d() {
  static const OpDef def{.name = "conv2d",
                         .infer = infer,
                         .gradient = differentiate,
                         .select = [](Select& select) { select_packed(select, false); },
                         .layout = layout,
                         .lower = lower, .per_picture = true, .parts = writes_part, .rows = rows};
  return def;
}

}  // namespace thaw
