// Reverse-mode differentiation on the graph: every operator's rule emits nodes, and only for values that a trainable
// parameter needs. What is frozen gets no gradient node at all.
#include <algorithm>

#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

/// One contribution to the gradient of a value: dense, or rows at indices.
struct Contribution {
  ValueId value = kNone;
  ValueId indices = kNone;
};

class Differentiator final : public Gradient {
 public:
  explicit Differentiator(Program& program) : program_(program), graph_(program.graph) {
    std::vector<bool> seed(graph_.values.size(), false);
    for (size_t v = 0; v < graph_.values.size(); ++v) seed[v] = graph_.values[v].trainable;
    needed_ = depends_on(graph_, seed);
    contributions_.resize(graph_.values.size());
  }

  void run() {
    const size_t forward_nodes = graph_.nodes.size();  // those that the seeds add are not differentiated
    seed_losses();
    for (size_t n = forward_nodes; n-- > 0;) visit(n);
    for (size_t v = 0; v < needed_.size(); ++v)
      if (graph_.values[v].trainable) finish_parameter(static_cast<ValueId>(v));
  }

  const Graph& graph() const override { return graph_; }
  const Node& node() const override { return current_; }
  ValueId grad(size_t i) const override { return grads_[i]; }
  bool needs(size_t i) const override {
    const ValueId v = input(i);
    return v != kNone && static_cast<size_t>(v) < needed_.size() && needed_[v];
  }
  std::vector<ValueId> emit(const std::string& op, std::vector<ValueId> inputs, Json attrs) override {
    const NodeId id = graph_.append(op, current_.name + "/" + op, std::move(inputs), std::move(attrs));
    return graph_.nodes[id].outputs;
  }
  void add(size_t i, ValueId gradient) override {
    check_shape(i, gradient);
    contributions_[input(i)].push_back({gradient, kNone});
  }
  void add_rows(size_t i, ValueId indices, ValueId rows) override {
    contributions_[input(i)].push_back({rows, indices});
  }

 private:
  void check_shape(size_t i, ValueId gradient) const {
    const Shape &want = value(input(i)).shape, &got = value(gradient).shape;
    if (want != got)
      fail_expected("ERR_INTERNAL", to_string(want), "the gradient of operand " + std::to_string(i) + " of '" +
                    current_.name + "'", to_string(got));
  }

  void seed_losses() {
    if (graph_.losses.empty()) fail_expected("ERR_GRAPH", "a loss", "a graph to train", "none");
    Value scale;
    scale.name = "/loss_scale";
    scale.role = Role::input;
    program_.loss_scale = graph_.add_value(std::move(scale));
    for (const Loss& loss : graph_.losses) {
      if (!needed_[loss.value]) continue;
      current_ = Node{};
      current_.name = graph_.values[loss.value].name;
      Json attrs = Json::object();
      attrs.set("factor", loss.weight);
      contributions_[loss.value].push_back({emit1("scale", {program_.loss_scale}, std::move(attrs)), kNone});
    }
  }

  ValueId densify(const Contribution& c, const Shape& shape) {
    if (c.indices == kNone) return c.value;
    Json attrs = Json::object();
    attrs.set("rows_total", shape[0]);
    return emit1("scatter_rows", {c.indices, c.value}, std::move(attrs));
  }

  /// Sums the contributions to one value in the order of the nodes they come from.
  ValueId total(ValueId v) {
    std::vector<Contribution>& all = contributions_[v];
    if (all.empty()) return kNone;
    const Shape shape = graph_.values[v].shape;
    ValueId sum = kNone;
    for (auto c = all.rbegin(); c != all.rend(); ++c) {
      const ValueId dense = densify(*c, shape);
      sum = sum == kNone ? dense : emit1("add", {sum, dense});
    }
    all.assign(1, {sum, kNone});
    return sum;
  }

  void visit(size_t n) {
    // A copy: emitting nodes moves the list that holds it.
    current_ = graph_.nodes[n];
    if (std::none_of(current_.outputs.begin(), current_.outputs.end(), [&](ValueId v) { return needed_[v]; })) return;
    grads_.clear();
    bool any = false;
    for (ValueId v : current_.outputs) {
      grads_.push_back(needed_[v] ? total(v) : kNone);
      any |= grads_.back() != kNone;
    }
    if (!any) return;
    if (!current_.op->gradient)
      fail_expected("ERR_NOT_DIFFERENTIABLE", "an operator with a gradient", "node '" + current_.name + "'", current_.op->name);
    current_.op->gradient(*this);
  }

  void finish_parameter(ValueId v) {
    current_ = Node{};
    current_.name = graph_.values[v].name;
    const std::vector<Contribution>& all = contributions_[v];
    if (all.empty()) return;  // no loss depends on it
    if (all.size() == 1 && all[0].indices != kNone) {
      program_.gradients.push_back({v, all[0].value, all[0].indices});
      return;
    }
    program_.gradients.push_back({v, total(v), kNone});
  }

  Program& program_;
  Graph& graph_;
  Node current_;
  std::vector<ValueId> grads_;
  std::vector<bool> needed_;
  std::vector<std::vector<Contribution>> contributions_;
};

}  // namespace

void differentiate(Program& program) { Differentiator(program).run(); }

}  // namespace thaw
