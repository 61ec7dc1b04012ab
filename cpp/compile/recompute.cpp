// Normalised pictures that only the backward pass still wants are made again there, from the input of their batch norm,
// which is kept for its own backward anyway: one more pass over memory for one tensor less from forward to backward.
#include <algorithm>

#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

bool is_backward(const Node& node) { return std::string_view(node.op->name).find("_backward") != std::string_view::npos; }

struct Again {
  NodeId layer;     // the batch norm
  NodeId reader;    // the first of the backward pass that reads its output
};

/// Batch norms of pictures with batch statistics, without a residual sum (which would have to be kept instead).
std::vector<Again> candidates(const Graph& graph) {
  std::vector<Again> result;
  const auto readers = graph.readers();
  for (NodeId n = 0; n < static_cast<NodeId>(graph.nodes.size()); ++n) {
    const Node& node = graph.nodes[n];
    if (std::string_view(node.op->name) != "batch_norm" || node.attrs.get("mode", "frozen") == "frozen") continue;
    const ValueId y = node.outputs[0];
    if (node.inputs.size() > 6 || graph.values[y].shape.size() != 4 || leaves_graph(graph, y)) continue;
    const auto backward = [&](NodeId reader) { return is_backward(graph.nodes[reader]); };
    // Its own backward pass comes after all that read y.
    const auto keeps_x = std::any_of(readers[node.inputs[0]].begin(), readers[node.inputs[0]].end(), backward);
    const auto first = std::find_if(readers[y].begin(), readers[y].end(), backward);
    if (keeps_x && first != readers[y].end()) result.push_back({n, *first});
  }
  return result;
}

}  // namespace

void recompute(Program& program, size_t least) {
  Graph& graph = program.graph;
  const std::vector<Again> again = candidates(graph);
  size_t bytes = 0;
  for (const Again& a : again) bytes += physical_bytes(graph.values[graph.nodes[a.layer].outputs[0]]);
  if (bytes < least) return;
  std::vector<std::vector<Node>> before(graph.nodes.size());
  for (const Again& a : again) {
    const Node& layer = graph.nodes[a.layer];
    const std::vector<ValueId> inputs = {layer.inputs[0], layer.inputs[1], layer.inputs[2], layer.outputs[1],
                                         layer.outputs[2]};
    const ValueId y = layer.outputs[0];
    Json attrs = layer.attrs;
    Node made = graph.make("batch_norm", layer.name + "/again", inputs, attrs.set("mode", "given"));
    for (Node& node : graph.nodes)
      if (is_backward(node)) std::replace(node.inputs.begin(), node.inputs.end(), y, made.outputs[0]);
    before[a.reader].push_back(std::move(made));
  }
  std::vector<Node> nodes;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (Node& node : before[n]) nodes.push_back(std::move(node));
    nodes.push_back(std::move(graph.nodes[n]));
  }
  graph.nodes = std::move(nodes);
  graph.renumber();
}

}  // namespace thaw
