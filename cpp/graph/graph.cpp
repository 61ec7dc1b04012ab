#include "graph/graph.h"

#include "ops/op.h"

namespace thaw {

namespace {

struct DTypeRow {
  DType dtype;
  const char* name;
  size_t size;
};
constexpr DTypeRow kDTypes[] = {{DType::f32, "f32", 4},
                                {DType::bf16, "bf16", 2},
                                {DType::i32, "i32", 4},
                                {DType::i64, "i64", 8},
                                {DType::boolean, "bool", 1}};

const DTypeRow& row(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

}  // namespace

size_t dtype_size(DType dtype) { return row(dtype).size; }
const char* dtype_name(DType dtype) { return row(dtype).name; }

DType dtype_from(std::string_view name) {
  for (const DTypeRow& r : kDTypes)
    if (name == r.name) return r.dtype;
  fail_expected("ERR_DTYPE", "f32, bf16, i32, i64 or bool", "a value's type", "'" + std::string(name) + "'");
}

int64_t count(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

int64_t physical_count(const Value& v) {
  if (v.layout == Layout::plain) return count(v.shape);
  return v.shape[0] * channel_blocks(v) * v.shape[2] * v.shape[3] * block_channels(v);
}

int64_t block_channels(const Value& v) { return v.layout == Layout::blocked_bf16 ? kBlockBf16 : kBlock; }

int64_t channel_blocks(const Value& v) { return (v.shape[1] + block_channels(v) - 1) / block_channels(v); }

size_t physical_bytes(const Value& v) {
  const DType stored = v.layout == Layout::blocked_bf16 ? DType::bf16 : v.dtype;
  return static_cast<size_t>(physical_count(v)) * dtype_size(stored);
}

const char* layout_name(Layout layout) {
  return layout == Layout::plain ? "plain" : layout == Layout::blocked ? "blocked" : "blocked_bf16";
}

ValueId Graph::add_value(Value value) {
  const ValueId id = static_cast<ValueId>(values.size());
  if (!by_name.emplace(value.name, id).second)
    fail_expected("ERR_GRAPH", "a name of its own", "each value", "'" + value.name + "' twice");
  values.push_back(std::move(value));
  return id;
}

ValueId Graph::find(std::string_view name) const {
  const auto it = by_name.find(std::string(name));
  if (it == by_name.end())
    fail_expected("ERR_GRAPH", "the name of a value", "an operand or output", "'" + std::string(name) + "'");
  return it->second;
}

Node Graph::make(const std::string& op, std::string name, std::vector<ValueId> inputs, Json attrs) {
  Node node;
  node.op = find_op(op);
  if (!node.op) fail_expected("ERR_OPERATOR", "an operator of the catalogue", "node '" + name + "'", "'" + op + "'");
  // Passes emit several nodes of one kind for one layer: their names get a number.
  std::string unique = name;
  for (int i = 2; by_name.count(unique); ++i) unique = name + "#" + std::to_string(i);
  node.name = std::move(unique);
  node.inputs = std::move(inputs);
  node.attrs = std::move(attrs);

  Infer infer(*this, node);
  node.op->infer(infer);
  for (size_t i = 0; i < infer.outputs.size(); ++i) {
    Value value;
    value.name = i == 0 ? node.name : node.name + ":" + std::to_string(i);
    value.dtype = infer.outputs[i].dtype;
    value.shape = infer.outputs[i].shape;
    node.outputs.push_back(add_value(std::move(value)));
  }
  return node;
}

NodeId Graph::append(const std::string& op, std::string name, std::vector<ValueId> inputs, Json attrs) {
  Node node = make(op, std::move(name), std::move(inputs), std::move(attrs));
  const NodeId id = static_cast<NodeId>(nodes.size());
  for (ValueId v : node.outputs) values[v].producer = id;
  nodes.push_back(std::move(node));
  return id;
}

void Graph::renumber() {
  for (Value& v : values) v.producer = kNone;
  for (size_t n = 0; n < nodes.size(); ++n)
    for (ValueId v : nodes[n].outputs) values[v].producer = static_cast<NodeId>(n);
}

std::vector<std::vector<NodeId>> Graph::readers() const {
  std::vector<std::vector<NodeId>> result(values.size());
  for (size_t n = 0; n < nodes.size(); ++n)
    for (ValueId v : nodes[n].inputs)
      if (v != kNone) result[v].push_back(static_cast<NodeId>(n));
  return result;
}

int64_t Graph::gap(ValueId v) const {
  return home(v) == v ? 0 : channel_blocks(values[home(v)]) - channel_blocks(values[v]);
}

size_t Graph::offset_in_home(ValueId v) const {
  const Value& value = values[v];
  return home(v) == v ? 0 : static_cast<size_t>(value.whole_block * value.shape[2] * value.shape[3] * 64);
}

}  // namespace thaw
