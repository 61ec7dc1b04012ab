// layer_norm(x, weight?, bias?; normalized_shape, eps 1e-5) → y, mean, invstd: over the trailing dimensions, PyTorch's
// biased variance. layer_norm_backward(dy, x, weight?, mean, invstd; normalized_shape, of 'data'|'weight') → dx or
// dweight.
#include "kernels/layer_norm.h"

#include <algorithm>

#include "kernels/activation.h"
#include "ops/reduction.h"

namespace thaw {

namespace {

struct Rows {
  int64_t rows, n;
  Shape shape;  // of mean and invstd: the leading dimensions
};

Rows rows_of(const Node& node, const Shape& x) {
  const Shape trailing = node.attrs.at("normalized_shape").as_ints();
  const bool fits = !trailing.empty() && trailing.size() <= x.size() &&
                    std::equal(trailing.rbegin(), trailing.rend(), x.rbegin());
  if (!fits) {
    fail_expected("ERR_SHAPE", "an operand ending in " + to_string(trailing), "layer_norm '" + node.name + "'",
                  to_string(x));
  }
  const Shape leading(x.begin(), x.end() - static_cast<std::ptrdiff_t>(trailing.size()));
  return {count(leading), count(trailing), leading};
}

int64_t rows_per_task(const Rows& r) { return std::max<int64_t>(1, kChunk / std::max<int64_t>(1, r.n)); }
int64_t tasks_of(const Rows& r) { return (r.rows + rows_per_task(r) - 1) / rows_per_task(r); }

void infer(Infer& infer) {
  infer.expect_f32(0);
  const Rows r = rows_of(infer.node, infer.shape(0));
  const Shape trailing = infer.attrs().at("normalized_shape").as_ints();
  for (size_t i = 1; i < 3; ++i) {
    if (infer.has(i)) infer.expect_f32(i), infer.expect_shape(i, trailing);
  }
  infer.output(DType::f32, infer.shape(0));
  infer.output(DType::f32, r.shape);
  infer.output(DType::f32, r.shape);
}

Json backward_attrs(const Gradient& g, const char* of) {
  return Json::object().set("normalized_shape", g.attrs().at("normalized_shape")).set("of", of);
}

void differentiate(Gradient& g) {
  const ValueId dy = g.grad(0), x = g.input(0), weight = g.input(1), bias = g.input(2);
  if (dy == kNone) return;
  const std::vector<ValueId> operands = {dy, x, weight, g.output(1), g.output(2)};
  if (g.needs(0)) g.add(0, g.emit1("layer_norm_backward", operands, backward_attrs(g, "data")));
  if (weight != kNone && g.needs(1)) g.add(1, g.emit1("layer_norm_backward", operands, backward_attrs(g, "weight")));
  if (bias != kNone && g.needs(2)) {
    g.add(2, g.emit1("sum_to", {dy}, Json::object().set("shape", g.value(bias).shape)));
  }
}

void lower(Lower& lower) {
  const Rows r = rows_of(lower.node(), lower.in(0).shape);
  const double eps = lower.attrs().get("eps", 1e-5);
  const Buffer x = lower.input(0), weight = lower.input(1), bias = lower.input(2);
  const Buffer y = lower.output(0), mean = lower.output(1), invstd = lower.output(2);
  lower.launch(layer_norm_kernels(lower.isa()).forward, tasks_of(r), 0, [=](Run& run) {
    return LayerNorm{run.f32(x), run.f32(weight), run.f32(bias), run.f32(y), run.f32(mean), run.f32(invstd),
                     r.rows, r.n, rows_per_task(r), eps};
  });
}

void infer_backward(Infer& infer) {
  infer.expect_f32(0);
  infer.expect_shape(1, infer.shape(0));
  rows_of(infer.node, infer.shape(0));
  const bool data = infer.attrs().at("of").as_string() == "data";
  infer.output(DType::f32, data ? infer.shape(0) : infer.attrs().at("normalized_shape").as_ints());
}

void lower_data(Lower& lower, const Rows& r) {
  const Buffer dy = lower.input(0), x = lower.input(1), weight = lower.input(2);
  const Buffer mean = lower.input(3), invstd = lower.input(4), dx = lower.output(0);
  lower.launch(layer_norm_kernels(lower.isa()).backward, tasks_of(r), 0, [=](Run& run) {
    return LayerNormBackward{run.f32(dy), run.f32(x), run.f32(weight), run.f32(mean), run.f32(invstd), run.f32(dx),
                             r.rows, r.n, rows_per_task(r)};
  });
}

void lower_weight(Lower& lower, const Rows& r) {
  constexpr int64_t kRowsPerPart = 64;
  const int64_t parts = (r.rows + kRowsPerPart - 1) / kRowsPerPart;
  const Buffer dy = lower.input(0), x = lower.input(1), mean = lower.input(3), invstd = lower.input(4);
  const Buffer partial = lower.workspace(sizeof(float) * std::max<int64_t>(1, parts * r.n));
  lower.launch(layer_norm_kernels(lower.isa()).backward_weight, parts, 0, [=](Run& run) {
    return LayerNormWeight{run.f32(dy), run.f32(x), run.f32(mean), run.f32(invstd), run.f32(partial),
                           r.rows, r.n, kRowsPerPart};
  });
  lower_reduction(lower, reduce_kernels(lower.isa()).sum, partial, {{parts, true}, {r.n, false}}, lower.output(0), 1.0);
}

void lower_backward(Lower& lower) {
  const Rows r = rows_of(lower.node(), lower.in(0).shape);
  if (lower.attrs().at("of").as_string() == "data") return lower_data(lower, r);
  lower_weight(lower, r);
}

}  // namespace

const OpDef& op_layer_norm() {
  static const OpDef def{.name = "layer_norm", .infer = infer, .gradient = differentiate, .lower = lower};
  return def;
}

const OpDef& op_layer_norm_backward() {
  static const OpDef def{.name = "layer_norm_backward", .infer = infer_backward, .lower = lower_backward};
  return def;
}

}  // namespace thaw
