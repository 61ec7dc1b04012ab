// Every operator chooses its kernel and packs its weights; candidates that decline are recorded with their reason.
#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

class Selector final : public Select {
 public:
  Selector(Program& program, std::vector<Node>& result)
      : program_(program), result_(result), trained_(trained(program.graph)) {}

  void visit(Node& node) {
    node_ = &node;
    if (node.op->select) node.op->select(*this);
  }

  Graph& graph() override { return program_.graph; }
  Node& node() override { return *node_; }
  Isa isa() const override { return program_.isa; }
  bool bf16() const override { return program_.precision == Precision::bf16; }
  bool inference() const override {
    return !is_training(program_.mode) || !trained_[static_cast<size_t>(node_->outputs[0])];
  }

  ValueId before(const std::string& op, std::vector<ValueId> inputs, Json attrs) override {
    // Two readers of one weight share its packed form.
    const std::string text = attrs.dump();
    for (const Node& other : result_)
      if (other.op->name == op && other.inputs == inputs && other.attrs.dump() == text) return other.outputs[0];
    result_.push_back(program_.graph.make(op, node_->name + "/" + op, std::move(inputs), std::move(attrs)));
    return result_.back().outputs[0];
  }
  void choose(const std::string& kernel) override { node_->attrs.set("kernel", kernel); }
  void declined(const std::string& kernel, const std::string& why) override {
    program_.declined.push_back({node_->name, kernel, why});
  }

 private:
  /// What trainable parameters change, among the values there are before any node is inserted.
  static std::vector<bool> trained(const Graph& graph) {
    std::vector<bool> seed(graph.values.size());
    for (size_t v = 0; v < seed.size(); ++v) seed[v] = graph.values[v].trainable;
    return depends_on(graph, seed);
  }

  Program& program_;
  std::vector<Node>& result_;
  const std::vector<bool> trained_;
  Node* node_ = nullptr;
};

}  // namespace

void select(Program& program) {
  std::vector<Node> result;
  Selector selector(program, result);
  std::vector<Node> nodes = std::move(program.graph.nodes);
  result.reserve(nodes.size() * 2);
  for (Node& node : nodes) {
    selector.visit(node);
    result.push_back(std::move(node));
  }
  program.graph.nodes = std::move(result);
  program.graph.renumber();
}

}  // namespace thaw
