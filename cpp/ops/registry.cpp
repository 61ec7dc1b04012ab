// The catalogue by name, and what every operator's checks and layout rules share.
#include <algorithm>
#include <string>
#include <unordered_map>

#include "ops/op.h"

namespace thaw {

const OpDef* find_op(std::string_view name) {
  static const std::unordered_map<std::string_view, const OpDef*> ops = {
#define OP(name) {#name, &op_##name()},
#include "ops.def"
#undef OP
  };
  const auto found = ops.find(name);
  return found == ops.end() ? nullptr : found->second;
}

const Value& Infer::in(size_t i) const {
  if (!has(i)) {
    fail_expected("ERR_GRAPH", "an operand " + std::to_string(i), std::string(node.op->name) + " '" + node.name + "'",
                  "nothing there");
  }
  return graph.values[node.inputs[i]];
}

void Infer::output(DType dtype, Shape shape) { outputs.push_back({dtype, std::move(shape)}); }

void Infer::expect_f32(size_t i, int rank) const {
  const Value& value = in(i);
  const std::string operand = "operand " + std::to_string(i) + " ";
  if (value.dtype != DType::f32) fail(operand + "of type f32", dtype_name(value.dtype));
  if (rank >= 0 && value.shape.size() != static_cast<size_t>(rank)) {
    fail(operand + "with " + std::to_string(rank) + " dimensions", to_string(value.shape));
  }
}

void Infer::expect_shape(size_t i, const Shape& expected) const {
  if (shape(i) == expected) return;
  fail("operand " + std::to_string(i) + " of shape " + to_string(expected), to_string(shape(i)));
}

void Infer::fail(const std::string& expected, const std::string& received) const {
  fail_expected("ERR_SHAPE", expected, std::string(node.op->name) + " '" + node.name + "'", received);
}

namespace {

bool is_image(const Value& value) { return value.dtype == DType::f32 && value.shape.size() == 4; }

void block_images(const Graph& graph, const std::vector<ValueId>& ids, Layout layout, std::vector<Layout>& layouts) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] != kNone && is_image(graph.values[ids[i]])) layouts[i] = layout;
  }
}

bool some_input_is(const Graph& graph, const Node& node, Layout layout) {
  return std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
    return id != kNone && is_image(graph.values[id]) && graph.values[id].layout == layout;
  });
}

}  // namespace

void layout_images(const Graph& graph, const Node& node, Layouts& layouts) {
  const bool bf16 = node.op->bf16 && some_input_is(graph, node, Layout::blocked_bf16);
  const Layout layout = bf16 ? Layout::blocked_bf16 : Layout::blocked;
  block_images(graph, node.inputs, layout, layouts.inputs);
  block_images(graph, node.outputs, layout, layouts.outputs);
}

void layout_follow(const Graph& graph, const Node& node, Layouts& layouts) {
  if (some_input_is(graph, node, Layout::blocked) || some_input_is(graph, node, Layout::blocked_bf16))
    layout_images(graph, node, layouts);
}

}  // namespace thaw
