// linear(x[…,K], weight[N,K], bias?[N]) → […,N]: y = act(x weightᵀ + bias).
// Attributes (set by passes): activation "none", alpha, approximate; after packing weight_shape [N,K].
// In bf16 plans the rows and the weights are rounded where no gradient goes through the layer; but not in the last layer,
// whose scores stay as exact as the features are.
#include <algorithm>

#include "kernels/linear_bf16.h"
#include "ops/product.h"

namespace thaw {

namespace {

/// All but the last dimension, as rows.
int64_t rows_of(const Shape& shape) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

void infer_linear(Infer& infer) {
  infer.expect_f32(0);
  infer.expect_f32(1);
  const Shape weight = infer.attrs().get("weight_shape", infer.shape(1));
  const Shape& x = infer.shape(0);
  if (weight.size() != 2) infer.fail("a weight of shape [outputs, inputs]", to_string(weight));
  if (x.empty() || x.back() != weight[1]) {
    infer.fail("an operand whose last dimension is " + std::to_string(weight[1]), to_string(x));
  }
  if (infer.has(2)) infer.expect_f32(2), infer.expect_shape(2, {weight[0]});
  Shape y = x;
  y.back() = weight[0];
  infer.output(DType::f32, y);
}

void differentiate_linear(Gradient& g) {
  const ValueId dy = g.grad(0);
  if (g.needs(0)) g.add(0, g.emit1("matmul", {dy, g.input(1)}));
  if (g.needs(1)) g.add(1, g.emit1("linear_backward_weights", {g.input(0), dy}));
  if (g.input(2) != kNone && g.needs(2)) {
    g.add(2, g.emit1("sum_to", {dy}, Json::object().set("shape", g.value(g.input(2)).shape)));
  }
}

// ---- bf16 -------------------------------------------------------------------------------------------------------

constexpr int64_t kTaskBytes = 512 << 10;  // rounded rows: a part of the second-level cache
constexpr int64_t kTaskRows = 256;
constexpr int64_t kTaskWork = 8 << 20;  // multiply-adds that are worth a task

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

bool takes_bf16(Select& select) {
  const std::vector<ValueId>& outputs = select.graph().outputs;
  const bool last = std::find(outputs.begin(), outputs.end(), select.node().outputs[0]) != outputs.end();
  return select.bf16() && select.inference() && !last;
}

LinearBf16 cut(int64_t rows, const Shape& weight, int threads) {
  LinearBf16 a{};
  a.rows = rows, a.inputs = weight[1], a.outputs = weight[0];
  a.steps = divide_up(a.inputs, 32), a.panels = divide_up(a.outputs, 32);
  const int64_t fit = std::clamp<int64_t>(kTaskBytes / linear_bf16_row(a.steps) / 32 * 32, 32, kTaskRows);
  const int64_t wanted = threads > 1 ? 4 * threads : 1;
  const int64_t worth = std::max<int64_t>(1, rows * a.inputs * a.outputs / kTaskWork);
  // Rows are cut first: each such task rounds its rows once.
  a.row_tasks = std::max(divide_up(rows, fit), std::min({divide_up(rows, 32), wanted, worth}));
  a.task_rows = divide_up(rows, a.row_tasks);
  a.row_tasks = divide_up(rows, a.task_rows);
  const int64_t chunks = std::clamp<int64_t>(std::min(wanted, worth) / a.row_tasks, 1, a.panels);
  a.task_panels = divide_up(a.panels, chunks);
  a.tile_rows = divide_up(a.task_rows, divide_up(a.task_rows, 16));
  return a;
}

void lower_linear_bf16(Lower& lower, const Shape& weight) {
  LinearBf16 plan = cut(rows_of(lower.in(0).shape), weight, lower.threads());
  if (plan.rows == 0 || plan.outputs == 0) return;
  plan.activation = fused_activation(lower.attrs());
  plan.alpha = static_cast<float>(lower.attrs().get("alpha", 0.01));
  const Buffer x = lower.input(0), weights = lower.input(1), bias = lower.input(2), y = lower.output(0);
  const int64_t tasks = plan.row_tasks * divide_up(plan.panels, plan.task_panels);
  lower.launch(linear_bf16_kernels(lower.isa()).direct, tasks, static_cast<size_t>(linear_bf16_scratch(plan)),
               [=](Run& run) {
                 LinearBf16 a = plan;
                 a.x = run.f32(x), a.weights = static_cast<const uint16_t*>(run.at(weights));
                 a.bias = run.f32(bias), a.y = run.f32(y);
                 return a;
               });
}

void select_linear(Select& select) {
  const Shape weight = select.graph().values[select.node().inputs[1]].shape;
  if (takes_bf16(select)) {
    const Json form = Json::object().set("form", "bf16").set("groups", 1);
    const char* pack = linear_bf16_kernels(select.isa()).pack ? "linear_pack" : "conv2d_pack";
    const ValueId packed = select.before(pack, {select.node().inputs[1]}, form);
    select.node().inputs[1] = packed;
    select.node().attrs.set("weight_shape", weight);
    return select.choose("bf16");
  }
  const ValueId packed = select.before("linear_pack", {select.node().inputs[1]});
  select.node().inputs[1] = packed;
  select.node().attrs.set("weight_shape", weight);
  select.choose("packed");
}

void lower_linear(Lower& lower) {
  const Shape weight = lower.attrs().at("weight_shape").as_ints();
  if (lower.attrs().at("kernel").as_string() == "bf16") return lower_linear_bf16(lower, weight);
  Product p;
  p.m = rows_of(lower.in(0).shape);
  p.n = weight[0];
  p.k = weight[1];
  p.a = lower.input(0);
  p.m_stride = p.k;
  p.k_stride = 1;
  p.b = lower.input(1);
  p.bias = lower.input(2);
  p.c = lower.output(0);
  p.activation = fused_activation(lower.attrs());
  p.alpha = static_cast<float>(lower.attrs().get("alpha", 0.01));
  lower_product(lower, p);
}

// linear_pack(weight[N,K]; form "bf16" or none) → panels of weightᵀ, or what linear_bf16 asks for: f32 words of two
// numbers each.
bool packs_bf16(const Json& attrs) { return attrs.get("form", "") == "bf16"; }

void infer_pack(Infer& infer) {
  infer.expect_f32(0, 2);
  if (packs_bf16(infer.attrs())) {
    return infer.output(DType::f32, {divide_up(infer.shape(0)[0], 32), divide_up(infer.shape(0)[1], 32), 32 * 32 / 2});
  }
  infer.output(DType::f32, packed_shape({}, infer.shape(0)[1], infer.shape(0)[0]));
}

void lower_linear_pack(Lower& lower) {
  const Shape& weight = lower.in(0).shape;
  if (packs_bf16(lower.attrs())) {
    const int64_t outputs = weight[0], inputs = weight[1];
    const Buffer from = lower.input(0), to = lower.output(0);
    return lower.launch(linear_bf16_kernels(lower.isa()).pack, 1, 0, [=](Run& run) {
      return LinearBf16Pack{run.f32(from), static_cast<uint16_t*>(run.at(to)), outputs, inputs};
    });
  }
  lower_pack(lower, lower.input(0), lower.output(0), 1, weight[1], weight[0], 1, weight[1]);
}

// linear_backward_weights(x[…,K], dy[…,N]) → dweight [N,K] = dyᵀ x, the rows summed in order.
void infer_weights(Infer& infer) {
  infer.expect_f32(0);
  infer.expect_f32(1);
  if (infer.shape(0).empty() || infer.shape(1).empty() || rows_of(infer.shape(0)) != rows_of(infer.shape(1))) {
    infer.fail("as many rows as " + to_string(infer.shape(0)), to_string(infer.shape(1)));
  }
  infer.output(DType::f32, {infer.shape(1).back(), infer.shape(0).back()});
}

void lower_weights(Lower& lower) {
  Product p;
  p.m = lower.in(1).shape.back();
  p.n = lower.in(0).shape.back();
  p.k = rows_of(lower.in(0).shape);
  p.a = lower.input(1);
  p.m_stride = 1;
  p.k_stride = p.m;
  p.over_rows = true;
  p.b = lower.workspace(sizeof(float) * count(packed_shape({}, p.k, p.n)));
  p.c = lower.output(0);
  lower_pack(lower, lower.input(0), p.b, 1, p.k, p.n, p.n, 1);
  lower_product(lower, p);
}

}  // namespace

const OpDef& op_linear() {
  static const OpDef def{.name = "linear", .infer = infer_linear, .gradient = differentiate_linear,
                         .select = select_linear, .lower = lower_linear, .per_picture = true};
  return def;
}

const OpDef& op_linear_pack() {
  static const OpDef def{.name = "linear_pack", .infer = infer_pack, .lower = lower_linear_pack};
  return def;
}

const OpDef& op_linear_backward_weights() {
  static const OpDef def{.name = "linear_backward_weights", .infer = infer_weights, .lower = lower_weights};
  return def;
}

}  // namespace thaw
