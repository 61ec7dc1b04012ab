// Operators that move elements and change none; of any type.
//
//   flatten(x; start 1)                    the dimensions from `start` on become one
//   reshape(x; shape)                      0 keeps the dimension, one -1 is inferred
//   transpose(x; perm)                     y's dimension d is x's perm[d]
//   slice(x; axis, start 0, end, step 1)   Python's meaning, step >= 1; negative positions count from the end
//   slice_backward(dy; axis, start, step, input_shape)
//   pad(x; pads [before…, after…], value 0)  negative pads crop
//   concat(xs…; axis)
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/move.h"
#include "ops/op.h"

namespace thaw {

namespace {

size_t axis_of(const Infer& infer, int64_t axis, size_t rank) {
  const int64_t r = static_cast<int64_t>(rank);
  if (axis < -r || axis >= r) infer.fail("an axis of " + to_string(infer.shape(0)), std::to_string(axis));
  return static_cast<size_t>(axis < 0 ? axis + r : axis);
}

size_t axis_of(const Json& attrs, size_t rank) {
  const int64_t axis = attrs.get("axis", 0);
  return static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
}

void expect_rank(const Infer& infer) {
  if (infer.shape(0).size() > kMaxRank) infer.fail("at most 8 dimensions", to_string(infer.shape(0)));
}

// ---- flatten, reshape -------------------------------------------------------------------------------------------

void infer_flatten(Infer& infer) {
  const Shape& x = infer.shape(0);
  const size_t start = x.empty() ? 0 : axis_of(infer, infer.attrs().get("start", 1), x.size());
  Shape y(x.begin(), x.begin() + start);
  y.push_back(count(Shape(x.begin() + start, x.end())));
  infer.output(infer.dtype(0), y);
}

void infer_reshape(Infer& infer) {
  const Shape& x = infer.shape(0);
  Shape y = infer.attrs().at("shape").as_ints();
  const auto unfit = [&] {
    infer.fail("a shape for the elements of " + to_string(x), to_string(infer.attrs().at("shape").as_ints()));
  };
  int64_t known = 1, open = -1;
  for (size_t d = 0; d < y.size(); ++d) {
    if (y[d] == 0 && d < x.size()) y[d] = x[d];
    if (y[d] < -1 || (y[d] == -1 && open >= 0)) unfit();
    if (y[d] == -1) open = static_cast<int64_t>(d);
    else known *= y[d];
  }
  if (open >= 0) {
    if (known == 0 || count(x) % known != 0) unfit();
    y[open] = count(x) / known;
  }
  if (count(y) != count(x)) unfit();
  infer.output(infer.dtype(0), y);
}

void gradient_of_reshape(Gradient& g) {
  if (!g.needs(0) || g.grad(0) == kNone) return;
  g.add(0, g.emit1("reshape", {g.grad(0)}, Json::object().set("shape", g.value(g.input(0)).shape)));
}

void lower_copy(Lower& low) {
  const int64_t bytes = count(low.in(0).shape) * static_cast<int64_t>(dtype_size(low.in(0).dtype));
  const Buffer x = low.input(0), y = low.output(0);
  low.launch(shape_kernels(low.isa()).copy, (bytes + kCopyBytes - 1) / kCopyBytes, 0,
             [=](Run& run) { return Copy{run.at(x), run.at(y), bytes}; });
}

// ---- transpose --------------------------------------------------------------------------------------------------

void infer_transpose(Infer& infer) {
  expect_rank(infer);
  const Shape& x = infer.shape(0);
  const auto perm = infer.attrs().at("perm").as_ints();
  auto sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  bool sound = perm.size() == x.size();
  for (size_t d = 0; sound && d < sorted.size(); ++d) sound = sorted[d] == static_cast<int64_t>(d);
  if (!sound) infer.fail("perm: each dimension of " + to_string(x) + " once", to_string(perm));
  Shape y;
  for (const int64_t d : perm) y.push_back(x[d]);
  infer.output(infer.dtype(0), y);
}

void gradient_of_transpose(Gradient& g) {
  if (!g.needs(0) || g.grad(0) == kNone) return;
  const auto perm = g.attrs().at("perm").as_ints();
  std::vector<int64_t> back(perm.size());
  for (size_t d = 0; d < perm.size(); ++d) back[perm[d]] = static_cast<int64_t>(d);
  g.add(0, g.emit1("transpose", {g.grad(0)}, Json::object().set("perm", back)));
}

void lower_transpose(Lower& low) {
  const auto perm = low.attrs().at("perm").as_ints();
  const Shape strides = plain_strides(low.in(0).shape);
  Tables tables;
  for (const int64_t d : perm) {
    std::vector<int64_t> table(low.in(0).shape[d]);
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<int64_t>(i) * strides[d];
    tables.push_back(std::move(table));
  }
  lower_gather(low, std::move(tables), static_cast<int64_t>(dtype_size(low.in(0).dtype)), 0);
}

// ---- slice ------------------------------------------------------------------------------------------------------

struct Range {
  int64_t start, count, step;
};

Range range_of(const Json& attrs, int64_t size) {
  const auto position = [&](int64_t p) { return std::clamp<int64_t>(p < 0 ? p + size : p, 0, size); };
  const int64_t step = attrs.get("step", 1), start = position(attrs.get("start", 0));
  const int64_t end = attrs.find("end") ? position(attrs.at("end").as_int()) : size;
  return {start, step > 0 && end > start ? (end - start + step - 1) / step : 0, step};
}

void infer_slice(Infer& infer) {
  expect_rank(infer);
  Shape y = infer.shape(0);
  const size_t axis = axis_of(infer, infer.attrs().at("axis").as_int(), y.size());
  const Range range = range_of(infer.attrs(), y[axis]);
  if (range.count < 1) {
    infer.fail("start, end and step >= 1 that leave something of " + to_string(y), infer.attrs().dump());
  }
  y[axis] = range.count;
  infer.output(infer.dtype(0), y);
}

void gradient_of_slice(Gradient& g) {
  if (!g.needs(0) || g.grad(0) == kNone) return;
  const Shape& x = g.value(g.input(0)).shape;
  const size_t axis = axis_of(g.attrs(), x.size());
  const Range range = range_of(g.attrs(), x[axis]);
  Json attrs = Json::object();
  attrs.set("axis", static_cast<int64_t>(axis)).set("start", range.start).set("step", range.step).set("input_shape", x);
  g.add(0, g.emit1("slice_backward", {g.grad(0)}, attrs));
}

void infer_slice_backward(Infer& infer) {
  infer.output(infer.dtype(0), infer.attrs().at("input_shape").as_ints());
}

IndexMap identity(int64_t size) {
  IndexMap map(size);
  std::iota(map.begin(), map.end(), 0);
  return map;
}

std::vector<IndexMap> identities(const Shape& shape) {
  std::vector<IndexMap> maps;
  for (const int64_t size : shape) maps.push_back(identity(size));
  return maps;
}

void lower_slice(Lower& low) {
  const size_t axis = axis_of(low.attrs(), low.in(0).shape.size());
  const Range range = range_of(low.attrs(), low.in(0).shape[axis]);
  auto maps = identities(low.out(0).shape);
  for (int64_t& i : maps[axis]) i = range.start + i * range.step;
  lower_map(low, maps, 0);
}

void lower_slice_backward(Lower& low) {
  const size_t axis = axis_of(low.attrs(), low.in(0).shape.size());
  const int64_t start = low.attrs().get("start", 0), step = low.attrs().get("step", 1), count = low.in(0).shape[axis];
  auto maps = identities(low.out(0).shape);
  for (int64_t& i : maps[axis]) {
    const int64_t from = i - start;
    i = from >= 0 && from % step == 0 && from / step < count ? from / step : -1;
  }
  lower_map(low, maps, 0);
}

// ---- pad --------------------------------------------------------------------------------------------------------

void infer_pad(Infer& infer) {
  expect_rank(infer);
  Shape y = infer.shape(0);
  const auto pads = infer.attrs().at("pads").as_ints();
  if (pads.size() != 2 * y.size()) infer.fail("pads [before…, after…] for " + to_string(y), to_string(pads));
  for (size_t d = 0; d < y.size(); ++d) {
    y[d] += pads[d] + pads[d + y.size()];
    if (y[d] < 1) infer.fail("pads that leave something of " + to_string(infer.shape(0)), to_string(pads));
  }
  if (infer.dtype(0) != DType::f32 && infer.attrs().get("value", 0.0) != 0) {
    infer.fail("value 0 for a type other than f32", infer.attrs().at("value").dump());
  }
  infer.output(infer.dtype(0), y);
}

void gradient_of_pad(Gradient& g) {
  if (!g.needs(0) || g.grad(0) == kNone) return;
  auto pads = g.attrs().at("pads").as_ints();
  for (int64_t& p : pads) p = -p;
  g.add(0, g.emit1("pad", {g.grad(0)}, Json::object().set("pads", pads)));
}

/// Blocked only where channels stay or nothing else changes, and where padding lanes stay finite.
void layout_pad(const Graph& graph, const Node& node, Layouts& layouts) {
  const auto pads = node.attrs.at("pads").as_ints();
  if (pads.size() != 8 || !std::isfinite(node.attrs.get("value", 0.0))) return;
  const bool channels = pads[1] != 0 || pads[5] != 0;
  const bool others = pads[0] || pads[2] || pads[3] || pads[4] || pads[6] || pads[7];
  if (!(channels && others)) layout_follow(graph, node, layouts);
}

void lower_pad(Lower& low) {
  const auto pads = low.attrs().at("pads").as_ints();
  const Shape& x = low.in(0).shape;
  auto maps = identities(low.out(0).shape);
  for (size_t d = 0; d < x.size(); ++d) {
    for (int64_t& i : maps[d]) {
      const int64_t from = i - pads[d];
      i = from >= 0 && from < x[d] ? from : -1;
    }
  }
  lower_map(low, maps, static_cast<float>(low.attrs().get("value", 0.0)));
}

// ---- concat -----------------------------------------------------------------------------------------------------

void infer_concat(Infer& infer) {
  Shape y = infer.shape(0);
  const size_t axis = axis_of(infer, infer.attrs().at("axis").as_int(), y.size());
  for (size_t i = 1; i < infer.inputs(); ++i) {
    const Shape& x = infer.shape(i);
    Shape expected = y;
    if (x.size() == y.size()) expected[axis] = x[axis];
    if (x != expected || infer.dtype(i) != infer.dtype(0)) {
      infer.fail("operands of one type that agree with " + to_string(y) + " but in dimension " + std::to_string(axis),
                 std::string(dtype_name(infer.dtype(i))) + " " + to_string(x));
    }
    y[axis] += x[axis];
  }
  infer.output(infer.dtype(0), y);
}

void gradient_of_concat(Gradient& g) {
  if (g.grad(0) == kNone) return;
  const size_t axis = axis_of(g.attrs(), g.value(g.output(0)).shape.size());
  int64_t start = 0;
  for (size_t i = 0; i < g.node().inputs.size(); ++i) {
    const int64_t end = start + g.value(g.input(i)).shape[axis];
    Json attrs = Json::object();
    attrs.set("axis", static_cast<int64_t>(axis)).set("start", start).set("end", end);
    if (g.needs(i)) g.add(i, g.emit1("slice", {g.grad(0)}, attrs));
    start = end;
  }
}

bool takes_part(const Graph& graph, const Node& node, int) {
  return axis_of(node.attrs, graph.values[node.outputs[0]].shape.size()) == 1 && joins_blocks(graph, node);
}

void lower_concat(Lower& low) { lower_join(low, axis_of(low.attrs(), low.out(0).shape.size())); }

}  // namespace

const OpDef& op_flatten() {
  static const OpDef def{.name = "flatten", .infer = infer_flatten, .gradient = gradient_of_reshape,
                         .lower = lower_copy, .per_picture = true};
  return def;
}

const OpDef& op_reshape() {
  static const OpDef def{.name = "reshape", .infer = infer_reshape, .gradient = gradient_of_reshape,
                         .lower = lower_copy};
  return def;
}

const OpDef& op_transpose() {
  static const OpDef def{.name = "transpose", .infer = infer_transpose, .gradient = gradient_of_transpose,
                         .lower = lower_transpose};
  return def;
}

const OpDef& op_slice() {
  static const OpDef def{.name = "slice", .infer = infer_slice, .gradient = gradient_of_slice, .layout = layout_follow,
                         .lower = lower_slice, .bf16 = true};
  return def;
}

const OpDef& op_slice_backward() {
  static const OpDef def{.name = "slice_backward", .infer = infer_slice_backward, .layout = layout_follow,
                         .lower = lower_slice_backward, .bf16 = true};
  return def;
}

const OpDef& op_pad() {
  static const OpDef def{.name = "pad", .infer = infer_pad, .gradient = gradient_of_pad, .layout = layout_pad,
                         .lower = lower_pad, .bf16 = true, .per_picture = true};
  return def;
}

const OpDef& op_concat() {
  static const OpDef def{.name = "concat", .infer = infer_concat, .gradient = gradient_of_concat,
                         .layout = layout_follow, .lower = lower_concat, .bf16 = true, .per_picture = true,
                         .parts = takes_part, .rows = same_row};
  return def;
}

}  // namespace thaw
