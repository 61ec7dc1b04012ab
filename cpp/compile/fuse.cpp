// Joins what follows a convolution or linear layer into it: a residual sum and an activation cost no pass of
// their own then.
#include <algorithm>

#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

bool is_op(const Node& node, std::string_view name) { return node.op->name == name; }

class Fuser {
 public:
  explicit Fuser(Program& program) : graph_(program.graph), escapes_(count_readers(program)) {}

  void run() {
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    for (Node& node : nodes)
      if (!fuse_residual(node) && !fuse_activation(node)) graph_.nodes.push_back(std::move(node));
    graph_.renumber();
  }

 private:
  /// Position of the node that computes v, if v has one reader and nobody outside reads it; else -1.
  int sole_producer(ValueId v) const {
    if (v == kNone || escapes_[v] != 1) return -1;
    for (int i = static_cast<int>(graph_.nodes.size()) - 1; i >= 0; --i)
      if (graph_.nodes[i].outputs[0] == v) return i;
    return -1;
  }

  bool bare(const Node& node) const { return node.attrs.get("activation", "none") == std::string("none"); }

  /// Takes the layer from its place and gives it the value and the place of `last`.
  void move_to_end(int at, const Node& last) {
    Node layer = std::move(graph_.nodes[at]);
    graph_.nodes.erase(graph_.nodes.begin() + at);
    layer.outputs[0] = last.outputs[0];
    graph_.nodes.push_back(std::move(layer));
  }

  bool fuse_residual(const Node& sum) {
    if (!is_op(sum, "add")) return false;
    const ValueId a = sum.inputs[0], b = sum.inputs[1];
    if (a == b || graph_.values[a].shape != graph_.values[b].shape) return false;
    // The later of the two convolutions takes the sum: the other operand exists by then.
    const int at_a = candidate(a), at_b = candidate(b), at = std::max(at_a, at_b);
    if (at < 0) return false;
    Node& conv = graph_.nodes[at];
    conv.inputs.resize(4, kNone);
    conv.inputs[3] = at == at_a ? b : a;
    move_to_end(at, sum);
    return true;
  }

  int candidate(ValueId v) const {
    const int at = sole_producer(v);
    if (at < 0) return -1;
    const Node& node = graph_.nodes[at];
    const bool free = is_op(node, "conv2d") && bare(node) && (node.inputs.size() < 4 || node.inputs[3] == kNone);
    return free ? at : -1;
  }

  bool fuse_activation(const Node& activation) {
    if (!is_activation(activation)) return false;
    const int at = sole_producer(activation.inputs[0]);
    if (at < 0) return false;
    Node& layer = graph_.nodes[at];
    if ((!is_op(layer, "conv2d") && !is_op(layer, "linear")) || !bare(layer)) return false;
    set_activation(layer, activation);
    move_to_end(at, activation);
    return true;
  }

  Graph& graph_;
  std::vector<int> escapes_;  // readers of each value, the caller among them
};

}  // namespace

void fuse(Program& program) {
  Fuser(program).run();
  fuse_batch_norm(program);
}

}  // namespace thaw
