// Chooses how each value lies in memory. A node states the layouts it wants; where a producer disagrees a reorder node
// is put between. What crosses the border of the plan is plain.
#include <map>

#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

class LayoutPass {
 public:
  explicit LayoutPass(Program& program) : program_(program), graph_(program.graph) {}

  void run() {
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    for (Node& node : nodes) visit(node);
    for (ValueId& v : graph_.outputs) v = in_layout(v, Layout::plain);
    for (Loss& loss : graph_.losses) loss.value = in_layout(loss.value, Layout::plain);
    for (StateUpdate& update : graph_.updates) update.value = in_layout(update.value, Layout::plain);
    for (ParameterGradient& g : program_.gradients) g.value = in_layout(g.value, Layout::plain);
    graph_.renumber();
  }

 private:
  void visit(Node& node) {
    Layouts want{std::vector<Layout>(node.inputs.size(), Layout::plain),
                 std::vector<Layout>(node.outputs.size(), Layout::plain)};
    if (node.op->layout) node.op->layout(graph_, node, want);
    for (size_t i = 0; i < node.inputs.size(); ++i)
      if (node.inputs[i] != kNone) node.inputs[i] = in_layout(node.inputs[i], want.inputs[i]);
    for (size_t i = 0; i < node.outputs.size(); ++i) graph_.values[node.outputs[i]].layout = want.outputs[i];
    graph_.nodes.push_back(std::move(node));
  }

  ValueId in_layout(ValueId v, Layout layout) {
    const Layout original = graph_.values[v].layout;
    if (original == layout) return v;
    const auto key = std::make_pair(v, layout);
    if (const auto it = made_.find(key); it != made_.end()) return it->second;
    Json attrs = Json::object();
    attrs.set("from", layout_name(original)).set("to", layout_name(layout));
    Node reorder = graph_.make("reorder", graph_.values[v].name + "/reorder", {v}, std::move(attrs));
    const ValueId result = reorder.outputs[0];
    graph_.values[result].layout = layout;
    graph_.nodes.push_back(std::move(reorder));
    made_[key] = result;
    made_[{result, original}] = v;  // the way back
    return result;
  }

  Program& program_;
  Graph& graph_;
  std::map<std::pair<ValueId, Layout>, ValueId> made_;
};

}  // namespace

void choose_layouts(Program& program) { LayoutPass(program).run(); }

}  // namespace thaw
