// A 1x1 convolution and the depthwise one that alone reads it become one node, which computes them a few rows at a time.
// After kernels and layouts are chosen: it takes both as they are, so that the bits are the same.
#include <algorithm>

#include "compile/compile.h"
#include "ops/op.h"
#include "run/pool.h"

namespace thaw {

namespace {

bool is_pointwise(const Node& node) {
  if (std::string_view(node.op->name) != "conv2d" || node.inputs.size() > 3) return false;
  const std::string& kernel = node.attrs.at("kernel").as_string();
  const Shape weight = node.attrs.at("weight_shape").as_ints();
  const auto all = [&](const char* name, int64_t wanted) {
    const Json* list = node.attrs.find(name);
    if (!list) return true;
    const std::vector<int64_t> numbers = list->as_ints();
    return std::all_of(numbers.begin(), numbers.end(), [=](int64_t i) { return i == wanted; });
  };
  return (kernel == "bf16" || kernel == "direct") && weight[2] == 1 && weight[3] == 1 && all("stride", 1) &&
         all("padding", 0) && node.attrs.get("groups", int64_t{1}) == 1;
}

bool is_deep(const Node& node) {
  return std::string_view(node.op->name) == "conv2d" && node.inputs.size() <= 3 &&
         node.attrs.at("kernel").as_string().starts_with("depthwise");
}

/// The node before `deep` that computes what it reads, if it alone reads it and a picture of it is large; else the end.
std::vector<Node>::iterator wide_of(Graph& graph, const Node& deep, const std::vector<int>& readers) {
  const auto none = graph.nodes.end();
  if (!is_deep(deep) || readers[deep.inputs[0]] != 1) return none;
  const Value& map = graph.values[deep.inputs[0]];
  // Maps that stay in the cache anyway gain nothing.
  const size_t pictures = static_cast<size_t>(std::max<int64_t>(1, map.shape[0]));
  if (physical_bytes(map) / pictures < second_level_cache() / 4) return none;
  return std::find_if(graph.nodes.begin(), none, [&](const Node& node) {
    return node.outputs[0] == deep.inputs[0] && is_pointwise(node);
  });
}

Node join(const Node& wide, Node deep) {
  const bool bf16 = wide.attrs.at("kernel").as_string() == "bf16";
  Json attrs = Json::object();
  attrs.set("kernel", bf16 ? "expand_depthwise_bf16" : "expand_depthwise");
  attrs.set("expand", wide.attrs).set("depthwise", deep.attrs);
  std::vector<ValueId> inputs = wide.inputs;
  inputs.resize(3, kNone);
  inputs.insert(inputs.end(), deep.inputs.begin() + 1, deep.inputs.end());
  deep.inputs = std::move(inputs);
  deep.attrs = std::move(attrs);
  return deep;
}

}  // namespace

void join_expansions(Program& program) {
  Graph& graph = program.graph;
  const std::vector<int> readers = count_readers(program);
  std::vector<Node> nodes = std::move(graph.nodes);
  graph.nodes.clear();
  for (Node& node : nodes) {
    const auto wide = wide_of(graph, node, readers);
    if (wide == graph.nodes.end()) {
      graph.nodes.push_back(std::move(node));
      continue;
    }
    Node joined = join(*wide, std::move(node));
    graph.nodes.erase(wide);
    graph.nodes.push_back(std::move(joined));
  }
  graph.renumber();
}

}  // namespace thaw
