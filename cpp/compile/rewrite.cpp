// Helpers that several passes share.
#include <algorithm>

#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

void replace_uses(Graph& graph, ValueId from, ValueId to) {
  for (Node& node : graph.nodes) std::replace(node.inputs.begin(), node.inputs.end(), from, to);
  std::replace(graph.outputs.begin(), graph.outputs.end(), from, to);
  for (Loss& loss : graph.losses)
    if (loss.value == from) loss.value = to;
  for (StateUpdate& update : graph.updates)
    if (update.value == from) update.value = to;
}

void prune(Graph& graph, const std::vector<ValueId>& extra) {
  std::vector<bool> needed(graph.values.size(), false);
  for (ValueId v : graph.outputs) needed[v] = true;
  for (const Loss& loss : graph.losses) needed[loss.value] = true;
  for (const StateUpdate& update : graph.updates) needed[update.value] = true;
  for (ValueId v : extra) needed[v] = true;

  std::vector<Node> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const bool live = std::any_of(node->outputs.begin(), node->outputs.end(), [&](ValueId v) {
      return needed[v] && graph.values[v].role == Role::computed;
    });
    if (!live) continue;
    for (ValueId v : node->inputs)
      if (v != kNone) needed[v] = true;
    kept.push_back(std::move(*node));
  }
  std::reverse(kept.begin(), kept.end());
  graph.nodes = std::move(kept);
  graph.renumber();
}

std::vector<bool> depends_on(const Graph& graph, const std::vector<bool>& seed) {
  std::vector<bool> result = seed;
  for (const Node& node : graph.nodes) {
    const bool any = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return v != kNone && result[v]; });
    if (any)
      for (ValueId v : node.outputs) result[v] = true;
  }
  return result;
}

bool leaves_graph(const Graph& graph, ValueId v) {
  return std::find(graph.outputs.begin(), graph.outputs.end(), v) != graph.outputs.end() ||
         std::any_of(graph.losses.begin(), graph.losses.end(), [&](const Loss& l) { return l.value == v; }) ||
         std::any_of(graph.updates.begin(), graph.updates.end(), [&](const StateUpdate& u) { return u.value == v; });
}

std::vector<int> count_readers(const Program& program) {
  const Graph& graph = program.graph;
  std::vector<int> readers(graph.values.size(), 0);
  for (const Node& node : graph.nodes)
    for (ValueId v : node.inputs)
      if (v != kNone) ++readers[v];
  for (const ParameterGradient& g : program.gradients) ++readers[g.value];
  for (size_t v = 0; v < readers.size(); ++v)
    if (leaves_graph(graph, static_cast<ValueId>(v))) ++readers[v];
  return readers;
}

bool is_activation(const Node& node) {
  static const char* const kinds[] = {"relu",         "relu6", "leaky_relu", "hard_swish",
                                      "hard_sigmoid", "silu",  "sigmoid",    "tanh", "gelu"};
  return std::any_of(std::begin(kinds), std::end(kinds),
                     [&](const char* kind) { return std::string_view(node.op->name) == kind; });
}

void set_activation(Node& layer, const Node& activation) {
  const std::string_view kind = activation.op->name;
  layer.attrs.set("activation", activation.op->name);
  if (kind == "leaky_relu") layer.attrs.set("alpha", activation.attrs.get("alpha", 0.01));
  if (kind == "gelu") layer.attrs.set("approximate", activation.attrs.get("approximate", "none"));
}

}  // namespace thaw
