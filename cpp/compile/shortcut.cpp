// Two convolutions whose results are added, one of them 1x1: where a ResNet's stage begins, the last of a block and the
// one beside the block. They become one node, which adds the products of both to the same sums, so that neither result
// but their sum is written. After kernels and layouts are chosen, from the shapes of one picture.
#include <algorithm>

#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

bool is_conv2d(const Node& node) { return std::string_view(node.op->name) == "conv2d" && !node.attrs.find("expand"); }

bool has_residual(const Node& node) { return node.inputs.size() > 3 && node.inputs[3] != kNone; }

std::string kernel_of(const Node& node) { return node.attrs.at("kernel").as_string(); }

bool is_grouped(const Node& node) { return node.attrs.get("groups", 1) != 1; }

bool is_pointwise(const Node& node) {
  const Shape weight = node.attrs.at("weight_shape").as_ints();
  const std::vector<int64_t> padding = node.attrs.get("padding", std::vector<int64_t>{0});
  return weight[2] == 1 && weight[3] == 1 &&
         std::all_of(padding.begin(), padding.end(), [](int64_t p) { return p == 0; });
}

bool is_dense(const Node& node) {
  const std::vector<int64_t> stride = node.attrs.get("stride", std::vector<int64_t>{1, 1});
  return std::all_of(stride.begin(), stride.end(), [](int64_t s) { return s == 1; });
}

/// Bytes of packed bf16 weights that 32 outputs read.
int64_t panel_bytes(const Node& node) {
  const Shape weight = node.attrs.at("weight_shape").as_ints();
  return (weight[1] + kBlockBf16 - 1) / kBlockBf16 * weight[2] * weight[3] * kBlockBf16 * kBlockBf16 * 2;
}

class Joiner {
 public:
  explicit Joiner(Program& program)
      : program_(program), graph_(program.graph), readers_(count_readers(program)), trained_(graph_.values.size()) {
    for (size_t v = 0; v < trained_.size(); ++v) trained_[v] = graph_.values[v].trainable;
    trained_ = depends_on(graph_, trained_);
  }

  void run() {
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    for (Node& node : nodes) {
      const auto other = added_to(node);
      if (other == graph_.nodes.end()) {
        graph_.nodes.push_back(std::move(node));
        continue;
      }
      Node joined = join(*other, node);
      graph_.nodes.erase(other);
      graph_.nodes.push_back(std::move(joined));
    }
    graph_.renumber();
  }

 private:
  /// The convolution whose result `node` alone reads and adds, if one node can do both; else the end.
  std::vector<Node>::iterator added_to(const Node& node) {
    const auto none = graph_.nodes.end();
    if (!is_conv2d(node) || !has_residual(node) || readers_[node.inputs[3]] != 1) return none;
    const auto other = std::find_if(graph_.nodes.begin(), none,
                                    [&](const Node& n) { return n.outputs[0] == node.inputs[3]; });
    if (other == none || !is_conv2d(*other) || has_residual(*other)) return none;
    const std::string why = why_apart(*other, node);
    if (why.empty()) return other;
    program_.declined.push_back({node.name, "shortcut", why});
    return none;
  }

  std::string why_apart(const Node& first, const Node& last) const {
    const std::string kernel = kernel_of(first), other = kernel_of(last);
    if (kernel != other || (kernel != "bf16" && kernel != "direct"))
      return "expected direct sums of both convolutions, received " + kernel + " and " + other;
    if (first.attrs.get("activation", "none") != std::string("none"))
      return "expected no activation before the sum, received " + first.attrs.get("activation", "none");
    if (is_grouped(first) || is_grouped(last)) return "expected one group, received groups";
    if (!is_pointwise(first) && !is_pointwise(last)) return "expected a 1x1 convolution without padding, received none";
    if (trained_[last.outputs[0]]) return "expected inference, received what training changes";
    // Products in bf16 read a panel's weights again for each two tiles: from the first-level cache, if they fit.
    constexpr int64_t most = 32 << 10;
    const int64_t bytes = panel_bytes(first) + panel_bytes(last);
    if (kernel == "bf16" && bytes > most && panel_bytes(first) <= most && panel_bytes(last) <= most)
      return "expected at most 32 KiB of weights of 32 outputs where both apart have no more, received " +
             std::to_string(bytes >> 10) + " KiB";
    return "";
  }

  /// The shortcut is the 1x1 one, of two the one that steps over pixels.
  static Node join(const Node& first, const Node& last) {
    const bool ends = is_pointwise(last) && (!is_pointwise(first) || is_dense(first));
    const Node &main = ends ? first : last, &shortcut = ends ? last : first;
    Node joined = last;
    joined.inputs = main.inputs;
    joined.inputs.resize(3, kNone);
    joined.inputs.insert(joined.inputs.end(), shortcut.inputs.begin(), shortcut.inputs.end());
    joined.inputs.resize(std::min<size_t>(joined.inputs.size(), 6), kNone);
    joined.attrs = main.attrs;
    for (const char* name : {"activation", "alpha", "approximate"})
      if (const Json* value = last.attrs.find(name)) joined.attrs.set(name, *value);
    joined.attrs.set("kernel", kernel_of(main) == "bf16" ? "shortcut_bf16" : "shortcut");
    joined.attrs.set("shortcut", shortcut.attrs);
    return joined;
  }

  Program& program_;
  Graph& graph_;
  const std::vector<int> readers_;
  std::vector<bool> trained_;
};

}  // namespace

void join_shortcuts(Program& program) { Joiner(program).run(); }

}  // namespace thaw
