// Training in depth-first order. A batch norm with the batch's statistics mixes pictures, and so does its gradient; each is
// three nodes here: sums of every picture, what joins them (and is tiny), and what is done to every picture. Then a
// picture can go through the end of one batch norm, the convolution behind it and the sums of the next without leaving
// the second-level cache.
#include <algorithm>
#include <set>

#include "compile/compile.h"
#include "ops/batch_norm.h"
#include "ops/conv2d_pack.h"

namespace thaw {

namespace {

/// The second-level cache of most processors, in bytes: which sums are of single pictures, and so bits, must not follow
/// from the one at hand.
constexpr size_t kCache = size_t{2} << 20;

bool is_op(const Node& node, std::string_view name) { return node.op->name == name; }

class Splitter {
 public:
  Splitter(Program& program, int64_t pictures, int64_t batch)
      : program_(program), graph_(program.graph), pictures_(pictures), batch_(batch) {}

  /// Were there any?
  bool run() {
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    const size_t before = nodes.size();
    for (Node& node : nodes) {
      if (is_op(node, "batch_norm") && has_batch_statistics(node.attrs) && is_large(node.inputs[0])) split(node);
      else if (is_op(node, "batch_norm_backward") && splits_backward(node)) split_backward(node);
      else if (is_op(node, "conv2d_backward_weights") && splits_weights(node)) split_weights(node);
      else graph_.nodes.push_back(std::move(node));
    }
    graph_.renumber();
    return graph_.nodes.size() > before;
  }

 private:
  /// Maps of the batch that leave the second-level cache between two nodes, of pictures whose sums are their own.
  bool is_large(ValueId v) const {
    const Value& value = graph_.values[v];
    if (value.layout != Layout::blocked_bf16 || value.shape[0] != pictures_) return false;
    if (batch_norm_form(value, program_.isa).picture_words() == 0) return false;
    const size_t picture = physical_bytes(value) / static_cast<size_t>(pictures_);
    return picture <= kCache / 8 * 7 && picture * static_cast<size_t>(batch_) > kCache;
  }

  bool splits_backward(const Node& node) const {
    return !has_frozen_statistics(node.attrs) && node.attrs.get("data", true) && is_large(node.inputs[1]);
  }

  Json with_place(const Node& node, ValueId x) const {
    Json attrs = node.attrs;
    return attrs.set("input_shape", graph_.values[x].shape).set("layout", layout_name(graph_.values[x].layout));
  }

  ValueId emit(const std::string& op, const Node& of, std::vector<ValueId> inputs, Json attrs,
               const std::vector<ValueId>& outputs = {}) {
    Node made = graph_.make(op, of.name + "/" + op, std::move(inputs), std::move(attrs));
    if (!outputs.empty()) made.outputs = outputs;
    graph_.nodes.push_back(std::move(made));
    return graph_.nodes.back().outputs[0];
  }

  void split(Node& node) {
    const ValueId x = node.inputs[0];
    const ValueId partial = emit("batch_norm_sums", node, {x}, Json::object());
    std::vector<ValueId> old{partial, node.inputs[3], node.inputs[4]};
    if (node.inputs.size() > 5 && node.inputs[5] != kNone) old.push_back(node.inputs[5]);
    const std::vector<ValueId> made(node.outputs.begin() + 1, node.outputs.end());
    emit("batch_norm_statistics", node, std::move(old), with_place(node, x), made);
    node.inputs[3] = made[0], node.inputs[4] = made[1];
    if (node.inputs.size() > 5) node.inputs[5] = kNone;
    node.outputs.resize(1);
    node.attrs.set("mode", "given");
    graph_.nodes.push_back(std::move(node));
  }

  void split_backward(const Node& node) {
    std::vector<ValueId> inputs(node.inputs.begin(), node.inputs.begin() + 5);
    inputs.push_back(node.inputs.size() > 5 ? node.inputs[5] : kNone);
    const ValueId partial = emit("batch_norm_backward_sums", node, inputs, node.attrs);
    Node join = graph_.make("batch_norm_backward_join", node.name + "/batch_norm_backward_join", {partial, inputs[4]},
                            with_place(node, inputs[1]));
    for (size_t i = 1; i < node.outputs.size(); ++i) join.outputs[i] = node.outputs[i];
    inputs.push_back(join.outputs[0]);
    graph_.nodes.push_back(std::move(join));
    emit("batch_norm_backward_apply", node, std::move(inputs), node.attrs, {node.outputs[0]});
    by_picture_.insert(node.outputs[0]);
  }

  /// Gradients by weights whose dy need not be written then, where that is more than writing each picture's sums.
  bool splits_weights(const Node& node) const {
    if (by_picture_.count(node.inputs[1]) == 0 || node.attrs.at("kernel").as_string() != "bf16") return false;
    const Value &x = graph_.values[node.inputs[0]], &dy = graph_.values[node.inputs[1]];
    const Conv2dShape c = conv2d_shape(node.attrs, x.shape, node.attrs.at("weight_shape").as_ints());
    const size_t sums = 2 * sizeof(float) * static_cast<size_t>(weights_bf16_words(c));
    return sums < (physical_bytes(x) + physical_bytes(dy)) / static_cast<size_t>(pictures_);
  }

  void split_weights(const Node& node) {
    const ValueId partial = emit("conv2d_backward_weights_sums", node, node.inputs, node.attrs);
    Json attrs = node.attrs;
    emit("conv2d_backward_weights_join", node, {partial}, attrs.set("input_shape", graph_.values[node.inputs[0]].shape),
         node.outputs);
  }

  Program& program_;
  Graph& graph_;
  int64_t pictures_, batch_;
  std::set<ValueId> by_picture_;  // gradients that a picture's own node makes
};

/// Puts nodes that see one picture at a time next to each other. What else stands between two of them moves before them,
/// if it needs none of them, or behind.
class Scheduler {
 public:
  explicit Scheduler(Graph& graph) : graph_(graph) {}

  void run() {
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    for (Node& node : nodes) {
      const bool by_picture = node.op->per_picture && !(is_op(node, "batch_norm") && has_batch_statistics(node.attrs));
      if (by_picture) {
        if (reads(node, behind_made_) || waiting_ > kMostWaiting) flush();
        note(node, stretch_made_);
        stretch_.push_back(std::move(node));
      } else if (reads(node, stretch_made_) || reads(node, behind_made_)) {
        // A gradient by weights keeps two maps alive while it waits.
        waiting_ += is_op(node, "conv2d_backward_weights") ? 1 : 0;
        note(node, behind_made_);
        behind_.push_back(std::move(node));
      } else {
        graph_.nodes.push_back(std::move(node));
      }
    }
    flush();
    graph_.renumber();
  }

 private:
  static constexpr int kMostWaiting = 1;

  static bool reads(const Node& node, const std::set<ValueId>& values) {
    return std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return values.count(v) > 0; });
  }
  static void note(const Node& node, std::set<ValueId>& values) { values.insert(node.outputs.begin(), node.outputs.end()); }

  void flush() {
    for (std::vector<Node>* part : {&stretch_, &behind_}) {
      for (Node& node : *part) graph_.nodes.push_back(std::move(node));
      part->clear();
    }
    stretch_made_.clear(), behind_made_.clear();
    waiting_ = 0;
  }

  Graph& graph_;
  std::vector<Node> stretch_, behind_;
  std::set<ValueId> stretch_made_, behind_made_;
  int waiting_ = 0;
};

}  // namespace

void split_by_picture(Program& program, int64_t pictures, int64_t batch) {
  if (Splitter(program, pictures, batch).run()) Scheduler(program.graph).run();
}

}  // namespace thaw
