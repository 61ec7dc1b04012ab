// Joins what follows a batch norm that stays (its statistics are the batch's, or something about it is trained) into it: a
// residual sum and an activation. The activation's backward goes into the batch norm's: the gradient between the two is
// never written. Behind a residual sum it stays, since two read that gradient.
#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

bool is_op(const Node& node, std::string_view name) { return node.op->name == name; }
bool is_image(const Graph& graph, ValueId v) { return graph.values[v].shape.size() == 4; }

class BatchNormFuser {
 public:
  explicit BatchNormFuser(Program& program) : graph_(program.graph), readers_(count_readers(program)) {
    of_.assign(graph_.values.size(), {});
    for (size_t n = 0; n < graph_.nodes.size(); ++n)
      for (ValueId v : graph_.nodes[n].inputs)
        if (v != kNone) of_[v].push_back(n);
    producer_.assign(graph_.values.size(), kNone);
    for (size_t n = 0; n < graph_.nodes.size(); ++n)
      for (ValueId v : graph_.nodes[n].outputs) producer_[v] = static_cast<NodeId>(n);
    gone_.assign(graph_.nodes.size(), false);
    place_.resize(graph_.nodes.size());
    for (size_t n = 0; n < place_.size(); ++n) place_[n] = n;
  }

  void run() {
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (is_op(graph_.nodes[n], "add")) fuse_residual(n);
      else if (is_activation(graph_.nodes[n])) fuse_activation(n);
    }
    std::vector<Node> kept;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const size_t from = place_[n];
      if (!gone_[from]) kept.push_back(std::move(graph_.nodes[from]));
    }
    graph_.nodes = std::move(kept);
    graph_.renumber();
  }

 private:
  /// The batch norm of pictures whose first output is v, or kNone.
  NodeId batch_norm_of(ValueId v) const {
    const NodeId n = producer_[v];
    if (n == kNone || !is_op(graph_.nodes[n], "batch_norm") || graph_.nodes[n].outputs[0] != v) return kNone;
    const bool bare = graph_.nodes[n].attrs.get("activation", "none") == std::string("none");
    return bare && is_image(graph_, v) ? n : kNone;
  }

  NodeId summand(ValueId v) const {
    const NodeId n = readers_[v] == 1 ? batch_norm_of(v) : kNone;
    return n != kNone && graph_.nodes[n].inputs.size() <= 6 ? n : kNone;
  }

  /// The batch norm takes the place of the sum, where the other operand exists.
  void fuse_residual(size_t sum) {
    const ValueId a = graph_.nodes[sum].inputs[0], b = graph_.nodes[sum].inputs[1], y = graph_.nodes[sum].outputs[0];
    if (a == b || graph_.values[a].shape != graph_.values[b].shape) return;
    const NodeId from_a = summand(a), from_b = summand(b), n = std::max(from_a, from_b);
    if (n == kNone) return;
    Node& layer = graph_.nodes[n];
    layer.inputs.resize(7, kNone);
    layer.inputs[6] = n == from_a ? b : a;
    layer.outputs[0] = y;
    producer_[y] = n;
    gone_[sum] = true;
    std::swap(place_[sum], place_[n]);
  }

  void fuse_activation(size_t at) {
    const Node& activation = graph_.nodes[at];
    const ValueId z = activation.inputs[0], y = activation.outputs[0];
    const NodeId n = batch_norm_of(z);
    if (n == kNone) return;
    Node& layer = graph_.nodes[n];
    const NodeId slope = backward_of(z, y);
    const bool reads_z = slope != kNone && graph_.nodes[slope].inputs[1] == z;
    if (readers_[z] != 1 + reads_z) return;
    if (slope != kNone && layer.inputs.size() <= 6) {
      if (!fuse_backward(layer, static_cast<size_t>(slope), activation) && reads_z) return;
    } else if (reads_z) {
      return;
    }
    set_activation(layer, activation);
    layer.outputs[0] = y;
    gone_[at] = true;
  }

  /// The backward node of an activation y = f(z), or kNone.
  NodeId backward_of(ValueId z, ValueId y) const {
    for (const ValueId v : {z, y})
      for (size_t n : of_[v])
        if (is_op(graph_.nodes[n], "activation_backward") && graph_.nodes[n].inputs[1] == v)
          return static_cast<NodeId>(n);
    return kNone;
  }

  /// dx of `layer` from the gradient of the activation's output.
  bool fuse_backward(const Node& layer, size_t slope, const Node& activation) {
    const ValueId dz = graph_.nodes[slope].outputs[0];
    if (readers_[dz] != 1 || of_[dz].empty()) return false;
    Node& backward = graph_.nodes[of_[dz][0]];
    if (!is_op(backward, "batch_norm_backward") || backward.inputs[0] != dz) return false;
    backward.inputs.resize(7, kNone);
    backward.inputs[0] = graph_.nodes[slope].inputs[0];
    backward.inputs[5] = layer.inputs[2];
    if (backward.inputs[1] == kNone) {
      // Frozen statistics: what is kept of the two anyway.
      const bool from_y = graph_.nodes[slope].inputs[1] == activation.outputs[0];
      backward.inputs[from_y ? 6 : 1] = from_y ? activation.outputs[0] : layer.inputs[0];
    }
    set_activation(backward, activation);
    gone_[slope] = true;
    return true;
  }

  Graph& graph_;
  std::vector<int> readers_;
  std::vector<std::vector<size_t>> of_;  // nodes that read each value, as they were at the beginning
  std::vector<NodeId> producer_;
  std::vector<bool> gone_;
  std::vector<size_t> place_;  // which node stands at each place
};

}  // namespace

void fuse_batch_norm(Program& program) { BatchNormFuser(program).run(); }

}  // namespace thaw
