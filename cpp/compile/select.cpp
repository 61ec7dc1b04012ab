// Every operator chooses its kernel and packs its weights; candidates that decline are recorded with their reason.
#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

class Selector final : public Select {
 public:
  Selector(Program& program, std::vector<Node>& result) : program_(program), result_(result) {}

  void visit(Node& node) {
    node_ = &node;
    if (node.op->select) node.op->select(*this);
  }

  Graph& graph() override { return program_.graph; }
  Node& node() override { return *node_; }
  Isa isa() const override { return program_.isa; }
  bool bf16() const override { return program_.precision == Precision::bf16; }

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
  Program& program_;
  std::vector<Node>& result_;
  Node* node_ = nullptr;
};

}  // namespace

void select(Program& program) {
  std::vector<Node> nodes = std::move(program.graph.nodes);
  std::vector<Node> result;
  result.reserve(nodes.size() * 2);
  Selector selector(program, result);
  for (Node& node : nodes) {
    selector.visit(node);
    result.push_back(std::move(node));
  }
  program.graph.nodes = std::move(result);
  program.graph.renumber();
}

}  // namespace thaw
