// What follows from parameters and states alone (folded batch norms, packed weights) is computed once and kept until one
// of them changes. But for parameters that the program trains: every step changes them, and what is packed where it is
// used is in the cache by then, and in memory no longer than that.
#include <algorithm>

#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

void find_prepared(Program& program) {
  const Graph& graph = program.graph;
  std::vector<bool> varies(graph.values.size(), false);
  for (size_t v = 0; v < graph.values.size(); ++v) varies[v] = graph.values[v].role == Role::input;
  for (const ParameterGradient& g : program.gradients) varies[g.parameter] = true;
  program.prepared.assign(graph.nodes.size(), false);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const bool varying = node.op->random || std::any_of(node.inputs.begin(), node.inputs.end(),
                                                        [&](ValueId v) { return v != kNone && varies[v]; });
    program.prepared[n] = !varying;
    for (ValueId v : node.outputs) varies[v] = varying;
  }

  std::vector<bool> kept(graph.values.size(), false);
  const auto keep = [&](ValueId v) {
    if (v == kNone || graph.values[v].producer == kNone) return;
    if (program.prepared[graph.values[v].producer]) kept[v] = true;
  };
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (!program.prepared[n])
      for (ValueId v : graph.nodes[n].inputs) keep(v);
  for (size_t v = 0; v < graph.values.size(); ++v)
    if (leaves_graph(graph, static_cast<ValueId>(v))) keep(static_cast<ValueId>(v));
  for (const ParameterGradient& g : program.gradients) keep(g.value), keep(g.indices);
  for (size_t v = 0; v < kept.size(); ++v)
    if (kept[v]) program.kept.push_back(static_cast<ValueId>(v));
}

}  // namespace thaw
