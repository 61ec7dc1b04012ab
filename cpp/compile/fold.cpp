// Frozen batch norm is a fixed affine map per channel. Behind a convolution that is not trained it
// disappears into that convolution's weight and bias, which are computed once.
#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

bool is_op(const Node& node, std::string_view name) { return node.op->name == name; }

class Folder {
 public:
  explicit Folder(Program& program) : graph_(program.graph), readers_(graph_.readers()) {
    std::vector<bool> seed(graph_.values.size(), false);
    for (size_t v = 0; v < graph_.values.size(); ++v) seed[v] = graph_.values[v].trainable;
    trained_ = depends_on(graph_, seed);
  }

  void run() {
    std::vector<Node> nodes = std::move(graph_.nodes);
    std::vector<Node> result;
    for (Node& node : nodes) {
      if (!is_op(node, "batch_norm") || !fold_into(node, result)) result.push_back(std::move(node));
    }
    graph_.nodes = std::move(result);
    graph_.renumber();
  }

 private:
  bool trained(ValueId v) const { return v != kNone && static_cast<size_t>(v) < trained_.size() && trained_[v]; }

  /// The position in `result` of the convolution that can take this batch norm, or -1.
  int target(const Node& bn, const std::vector<Node>& result) const {
    if (bn.attrs.get("mode", "frozen") != "frozen") return -1;
    for (size_t i = 1; i < bn.inputs.size(); ++i)
      if (trained(bn.inputs[i])) return -1;
    const ValueId x = bn.inputs[0];
    if (static_cast<size_t>(x) >= readers_.size() || readers_[x].size() != 1 || leaves_graph(graph_, x)) return -1;
    for (int i = static_cast<int>(result.size()) - 1; i >= 0; --i) {
      const Node& node = result[i];
      if (node.outputs[0] != x) continue;
      if (!is_op(node, "conv2d") && !is_op(node, "linear")) return -1;
      if (is_op(node, "linear") && graph_.values[x].shape.size() != 2) return -1;
      const bool fixed = !trained(node.inputs[1]) && !(node.inputs.size() > 2 && trained(node.inputs[2]));
      return fixed ? i : -1;
    }
    return -1;
  }

  bool fold_into(Node& bn, std::vector<Node>& result) {
    const int at = target(bn, result);
    if (at < 0) return false;
    Node layer = std::move(result[at]);
    result.erase(result.begin() + at);
    layer.inputs.resize(3, kNone);
    Json attrs = Json::object();
    attrs.set("eps", bn.attrs.get("eps", 1e-5));
    const ValueId gamma = bn.inputs[1], beta = bn.inputs[2], mean = bn.inputs[3], variance = bn.inputs[4];
    Node weight = graph_.make("fold_batch_norm_weight", layer.name + "/weight",
                              {layer.inputs[1], gamma, mean, variance}, attrs);
    Node bias = graph_.make("fold_batch_norm_bias", layer.name + "/bias", {layer.inputs[2], gamma, beta, mean, variance}, attrs);
    layer.inputs[1] = weight.outputs[0];
    layer.inputs[2] = bias.outputs[0];
    // The convolution now computes the batch norm's value.
    layer.outputs[0] = bn.outputs[0];
    result.push_back(std::move(weight));
    result.push_back(std::move(bias));
    result.push_back(std::move(layer));
    return true;
  }

  Graph& graph_;
  std::vector<std::vector<NodeId>> readers_;
  std::vector<bool> trained_;
};

}  // namespace

void fold(Program& program) { Folder(program).run(); }

}  // namespace thaw
