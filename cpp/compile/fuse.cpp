// Joins what follows a convolution or linear layer into it: a residual sum and an activation cost no pass of their own
// then. In the same way a gradient by a convolution's input takes in the sum with another gradient and the backward of a
// relu.
#include <algorithm>
#include <functional>

#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

bool is_op(const Node& node, std::string_view name) { return node.op->name == name; }

class Fuser {
 public:
  explicit Fuser(Program& program) : graph_(program.graph), escapes_(count_readers(program)) {}

  void fuse_forward() {
    visit([&](const Node& node) { return fuse_residual(node) || fuse_activation(node); });
  }

  void fuse_backward() {
    visit([&](const Node& node) { return fuse_gate(node); });
  }

 private:
  /// Each node in turn joins one before it, or stays.
  void visit(const std::function<bool(const Node&)>& joins) {
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    for (Node& node : nodes)
      if (!joins(node)) graph_.nodes.push_back(std::move(node));
    graph_.renumber();
  }

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
    // The later of the two takes the sum: the other operand exists by then.
    const int at_a = candidate(a), at_b = candidate(b);
    int at = std::max(at_a, at_b);
    if (at < 0) return false;
    // Of two gradients the one without gaps takes it: the other's pixels between them are zeros.
    if (std::min(at_a, at_b) >= 0 && has_gaps(graph_.nodes[at])) at = std::min(at_a, at_b);
    Node& conv = graph_.nodes[at];
    const size_t operand = residual_operand(conv);
    conv.inputs.resize(operand + 1, kNone);
    conv.inputs[operand] = at == at_a ? b : a;
    move_to_end(at, sum);
    return true;
  }

  int candidate(ValueId v) const {
    const int at = sole_producer(v);
    if (at < 0) return -1;
    const Node& node = graph_.nodes[at];
    const size_t operand = residual_operand(node);
    const bool free = operand != 0 && bare(node) && node.inputs.size() <= operand;
    return free ? at : -1;
  }

  /// Does a gradient by x have pixels that no weight reaches?
  static bool has_gaps(const Node& node) {
    if (!is_op(node, "conv2d_backward_data")) return false;
    const std::vector<int64_t> stride = node.attrs.get("stride", std::vector<int64_t>{1, 1});
    return stride[0] > 1 || stride[1] > 1;
  }

  /// 0: the operator takes no residual.
  static size_t residual_operand(const Node& node) {
    return is_op(node, "conv2d") ? 3 : is_op(node, "conv2d_backward_data") ? 2 : 0;
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

  bool fuse_gate(const Node& slope) {
    if (!is_op(slope, "activation_backward") || slope.attrs.at("kind").as_string() != "relu") return false;
    const int at = sole_producer(slope.inputs[0]);
    if (at < 0 || !is_op(graph_.nodes[at], "conv2d_backward_data") || graph_.nodes[at].inputs.size() > 3) return false;
    Node& gradient = graph_.nodes[at];
    gradient.inputs.resize(4, kNone);
    gradient.inputs[3] = slope.inputs[1];
    move_to_end(at, slope);
    return true;
  }

  Graph& graph_;
  std::vector<int> escapes_;  // readers of each value, the caller among them
};

}  // namespace

void fuse(Program& program) {
  Fuser(program).fuse_forward();
  // Takes the backward of most activations: it reads what it needs for them anyway.
  fuse_batch_norm(program);
  Fuser(program).fuse_backward();
}

}  // namespace thaw
