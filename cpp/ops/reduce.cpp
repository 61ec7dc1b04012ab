// reduce(x; kind 'sum'|'mean'|'max', axes, keepdims false): over the axes given (negative ones count from the end).
// reduce_backward(dy, x?, y?; the same, input_shape) → dx. Several elements that are the maximum share its
// gradient.
#include "ops/combine.h"
#include "ops/reduction.h"

#include <algorithm>

namespace thaw {

namespace {

std::vector<bool> reduced_dims(const Node& node, size_t rank) {
  std::vector<bool> reduced(rank, false);
  for (int64_t axis : node.attrs.at("axes").as_ints()) {
    if (axis < 0) axis += static_cast<int64_t>(rank);
    if (axis < 0 || axis >= static_cast<int64_t>(rank)) {
      fail_expected("ERR_SHAPE", "axes within " + std::to_string(rank) + " dimensions",
                    std::string(node.op->name) + " '" + node.name + "'", std::to_string(axis));
    }
    reduced[axis] = true;
  }
  return reduced;
}

Shape reduced_shape(const Shape& x, const std::vector<bool>& reduced, bool keepdims) {
  Shape y;
  for (size_t d = 0; d < x.size(); ++d) {
    if (!reduced[d]) y.push_back(x[d]);
    if (reduced[d] && keepdims) y.push_back(1);
  }
  return y;
}

int64_t reduced_count(const Shape& x, const std::vector<bool>& reduced) {
  int64_t n = 1;
  for (size_t d = 0; d < x.size(); ++d) n *= reduced[d] ? x[d] : 1;
  return n;
}

std::string kind_of(const Node& node) {
  const std::string kind = node.attrs.at("kind").as_string();
  if (kind != "sum" && kind != "mean" && kind != "max") {
    fail_expected("ERR_ATTRIBUTE", "'sum', 'mean' or 'max'", "kind of '" + node.name + "'", "'" + kind + "'");
  }
  return kind;
}

void infer(Infer& infer) {
  infer.expect_f32(0);
  const Shape& x = infer.shape(0);
  const std::vector<bool> reduced = reduced_dims(infer.node, x.size());
  if (kind_of(infer.node) != "sum" && reduced_count(x, reduced) == 0) infer.fail("something to reduce", to_string(x));
  if (x.size() > kMaxRank) infer.fail("at most 8 dimensions", to_string(x));
  infer.output(DType::f32, reduced_shape(x, reduced, infer.attrs().get("keepdims", false)));
}

void differentiate(Gradient& g) {
  if (!g.needs(0)) return;
  Json attrs = g.attrs();
  attrs.set("input_shape", g.value(g.input(0)).shape);
  const bool max = kind_of(g.node()) == "max";
  g.add(0, max ? g.emit1("reduce_backward", {g.grad(0), g.input(0), g.output(0)}, attrs)
               : g.emit1("reduce_backward", {g.grad(0)}, attrs));
}

double factor_of(const Node& node, const Shape& x, const std::vector<bool>& reduced) {
  return kind_of(node) == "mean" ? 1.0 / static_cast<double>(reduced_count(x, reduced)) : 1.0;
}

void lower(Lower& lower) {
  const Shape& x = lower.in(0).shape;
  const std::vector<bool> reduced = reduced_dims(lower.node(), x.size());
  std::vector<Extent> extents;
  for (size_t d = 0; d < x.size(); ++d) extents.push_back({x[d], reduced[d]});
  const auto& kernels = reduce_kernels(lower.isa());
  const ReduceKernel kernel = kind_of(lower.node()) == "max" ? kernels.max : kernels.sum;
  lower_reduction(lower, kernel, lower.input(0), extents, lower.output(0), factor_of(lower.node(), x, reduced));
}

void infer_backward(Infer& infer) {
  infer.expect_f32(0);
  const Shape x = infer.attrs().at("input_shape").as_ints();
  const std::vector<bool> reduced = reduced_dims(infer.node, x.size());
  infer.expect_shape(0, reduced_shape(x, reduced, infer.attrs().get("keepdims", false)));
  if (kind_of(infer.node) == "max") {
    infer.expect_shape(1, x);
    infer.expect_shape(2, infer.shape(0));
  }
  infer.output(DType::f32, x);
}

void lower_max_backward(Lower& lower, const Shape& x, const std::vector<bool>& reduced) {
  ReduceMaxBackward shape{};
  Shape strides(x.size(), 1);
  for (size_t d = x.size(); d-- > 1;) strides[d - 1] = strides[d] * x[d];
  int64_t at = 0;
  for (const bool wanted : {false, true}) {
    for (size_t d = 0; d < x.size(); ++d) {
      if (reduced[d] != wanted) continue;
      shape.sizes[at] = x[d];
      shape.strides[at++] = strides[d];
      ++(wanted ? shape.reduced_rank : shape.kept_rank);
    }
  }
  const int64_t length = reduced_count(x, reduced);
  shape.kept = count(lower.in(0).shape);
  shape.kept_per_task = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, length));
  const Buffer dy = lower.input(0), in = lower.input(1), y = lower.input(2), dx = lower.output(0);
  const int64_t tasks = (shape.kept + shape.kept_per_task - 1) / shape.kept_per_task;
  lower.launch(reduce_kernels(lower.isa()).max_backward, tasks, 0, [=](Run& run) {
    ReduceMaxBackward args = shape;
    args.dy = run.f32(dy);
    args.x = run.f32(in);
    args.y = run.f32(y);
    args.dx = run.f32(dx);
    return args;
  });
}

void lower_backward(Lower& lower) {
  const Shape& x = lower.out(0).shape;
  const std::vector<bool> reduced = reduced_dims(lower.node(), x.size());
  if (kind_of(lower.node()) == "max") return lower_max_backward(lower, x, reduced);
  const double factor = factor_of(lower.node(), x, reduced);
  lower_expand(lower, lower.input(0), reduced_shape(x, reduced, true), lower.output(0), x, static_cast<float>(factor));
}

}  // namespace

const OpDef& op_reduce() {
  static const OpDef def{.name = "reduce", .infer = infer, .gradient = differentiate, .lower = lower};
  return def;
}

const OpDef& op_reduce_backward() {
  static const OpDef def{.name = "reduce_backward", .infer = infer_backward, .lower = lower_backward};
  return def;
}

}  // namespace thaw
