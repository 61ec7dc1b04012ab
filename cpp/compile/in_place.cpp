// Concatenations of blocked pictures along channels without a copy: their operands become parts of them, written there by
// their producers. Only the distance of pictures differs from a value of its own, and operators say where they can do with
// that (OpDef::parts).
#include <algorithm>

#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

class Pass {
 public:
  explicit Pass(Program& program) : program_(program), graph_(program.graph), readers_(graph_.readers()) {}

  // From the last: a concatenation that is a part of another knows its place when its own operands ask for theirs.
  void run() {
    for (size_t n = graph_.nodes.size(); n-- > 0;) {
      const Node& node = graph_.nodes[n];
      if (node.op->name == std::string_view("concat") && !program_.prepared[n] && is_blocked(node)) visit(n);
    }
  }

 private:
  bool is_blocked(const Node& node) const { return graph_.values[node.outputs[0]].layout != Layout::plain; }

  static bool takes(const Graph& graph, const Node& node, int operand) {
    return node.op->parts && node.op->parts(graph, node, operand);
  }

  void visit(size_t n) {
    Node& node = graph_.nodes[n];
    const ValueId y = node.outputs[0];
    if (!takes(graph_, node, kResult)) return decline(node, "operands along channels that all begin with a block", sizes(node));
    if (is_prefix(node)) {
      const Value first = graph_.values[node.inputs[0]];
      set(y, first.whole, first.whole_block);
    }
    std::string reason;
    int64_t block = graph_.values[y].whole_block;
    for (ValueId v : node.inputs) {
      const std::string why = join(v, graph_.home(y), block);
      if (reason.empty()) reason = why;
      block += channel_blocks(graph_.values[v]);
    }
    if (reason.empty()) node.attrs.set("kernel", "in place");
    else decline(node, "operands that their producers may write there", reason);
  }

  /// Do the operands lie one behind the other in a later concatenation already, and so their concatenation too?
  bool is_prefix(const Node& node) const {
    const ValueId y = node.outputs[0];
    const Value first = graph_.values[node.inputs[0]];
    if (graph_.values[y].whole != kNone || first.whole == kNone || !reason_against(y).empty()) return false;
    int64_t block = first.whole_block;
    return std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) {
      const bool next = graph_.values[v].whole == first.whole && graph_.values[v].whole_block == block;
      block += channel_blocks(graph_.values[v]);
      return next;
    });
  }

  /// Makes v the part of `whole` from `block` on, or says why not.
  std::string join(ValueId v, ValueId whole, int64_t block) {
    const Value& value = graph_.values[v];
    if (value.whole == kNone) {
      const std::string why = reason_against(v);
      if (!why.empty()) return why;
      set(v, whole, block);
    }
    const bool there = value.whole == whole && value.whole_block == block;
    return there ? "" : "'" + value.name + "' in another place too";
  }

  void set(ValueId v, ValueId whole, int64_t block) {
    graph_.values[v].whole = whole;
    graph_.values[v].whole_block = block;
  }

  /// Why v can be no part of another value; empty: it can.
  std::string reason_against(ValueId v) const {
    const Value& value = graph_.values[v];
    const std::string name = "'" + value.name + "'";
    if (value.producer == kNone || program_.prepared[value.producer]) return name + ", which no node of the plan makes";
    if (leaves_graph(graph_, v)) return name + ", which the caller reads";
    const Node& producer = graph_.nodes[value.producer];
    if (!takes(graph_, producer, kResult)) return name + ", which a " + kind_of(producer) + " makes";
    for (NodeId n : readers_[v]) {
      const Node& reader = graph_.nodes[n];
      for (size_t i = 0; i < reader.inputs.size(); ++i)
        if (reader.inputs[i] == v && !takes(graph_, reader, static_cast<int>(i)))
          return name + ", which a " + kind_of(reader) + " reads";
    }
    return "";
  }

  static std::string kind_of(const Node& node) {
    const Json* kernel = node.attrs.find("kernel");
    const bool chosen = kernel && kernel->kind() == Json::Kind::string;
    return node.op->name + (chosen ? " (" + kernel->as_string() + ")" : std::string());
  }

  std::string sizes(const Node& node) const {
    std::string text;
    for (ValueId v : node.inputs) text += (text.empty() ? "" : ", ") + to_string(graph_.values[v].shape);
    return text;
  }

  void decline(const Node& node, const std::string& expected, const std::string& received) {
    program_.declined.push_back({node.name, "in place", "expected " + expected + ", received " + received});
  }

  Program& program_;
  Graph& graph_;
  const std::vector<std::vector<NodeId>> readers_;
};

}  // namespace

void write_in_place(Program& program) {
  if (program.isa != Isa::cuda) Pass(program).run();
}

}  // namespace thaw
