#include "run/lowered.h"

#include <algorithm>
#include <cstring>

#include "ops/op.h"
#include "run/pool.h"

namespace thaw {

namespace {

/// Collects what one node's lowering asks for.
class Lowerer final : public Lower {
 public:
  Lowerer(Lowered& lowered, size_t n) : lowered_(lowered), n_(n) {}
  const Graph& graph() const override { return lowered_.program.graph; }
  const Node& node() const override { return graph().nodes[n_]; }
  Isa isa() const override { return lowered_.program.isa; }
  Buffer workspace(size_t bytes) override {
    lowered_.extras.push_back({bytes, static_cast<NodeId>(n_), Memory()});
    return static_cast<Buffer>(lowered_.buffers()) - 1;
  }
  Buffer table(const void* data, size_t bytes) override {
    Memory memory(bytes);
    if (bytes > 0) std::memcpy(memory.data(), data, bytes);
    lowered_.extras.push_back({bytes, static_cast<NodeId>(n_), std::move(memory)});
    return static_cast<Buffer>(lowered_.buffers()) - 1;
  }
  void check(const std::vector<Buffer>& reads, std::function<void(Run&)> look) override {
    if (isa() != Isa::cuda) return add(std::move(look));
    lowered_.checks.push_back(std::move(look));
    lowered_.checked.insert(reads.begin(), reads.end());
  }
  int threads() const override { return lowered_.threads; }
  bool streams(size_t i) const override {
    // In inference groups of pictures stay in a thread's cache (run/depth_first.h).
    const bool training = !lowered_.program.gradients.empty();
    return training && physical_bytes(out(i)) > second_level_cache() * static_cast<size_t>(threads());
  }
  void announce(size_t scratch) override { lowered_.scratch = std::max(lowered_.scratch, scratch); }
  void add(std::function<void(Run&)> step) override { lowered_.steps[n_].push_back(std::move(step)); }

 private:
  Lowered& lowered_;
  size_t n_;
};

}  // namespace

Lowered::Lowered(Program made, int sharing) : program(std::move(made)), threads(sharing) { steps.resize(program.graph.nodes.size()); }

void Lowered::lower(size_t n) {
  const Node& node = program.graph.nodes[n];
  if (!node.op->lower) fail_expected("ERR_INTERNAL", "a lowering", "operator", node.op->name);
  Lowerer lowerer(*this, n);
  node.op->lower(lowerer);
}

std::vector<Interval> Lowered::intervals(const std::function<bool(ValueId)>& wanted,
                                         const std::function<bool(NodeId)>& wanted_node) const {
  const Graph& graph = program.graph;
  const int end = static_cast<int>(graph.nodes.size());
  std::vector<int> last(graph.values.size(), -1);
  for (int n = 0; n < end; ++n)
    for (ValueId v : graph.nodes[n].inputs)
      if (v != kNone) last[v] = n;
  for (size_t v = 0; v < last.size(); ++v)
    if (leaves_graph(graph, static_cast<ValueId>(v)) || checked.count(static_cast<int32_t>(v))) last[v] = end;
  for (const ParameterGradient& g : program.gradients) {
    last[g.value] = end;
    if (g.indices != kNone) last[g.indices] = end;
  }

  std::vector<int> first(graph.values.size(), -1);
  for (size_t v = 0; v < first.size(); ++v) {
    const Value& value = graph.values[v];
    if (value.role != Role::input) first[v] = value.producer;
  }
  for (const Value& value : graph.values) {
    if (value.whole == kNone) continue;
    const auto v = static_cast<size_t>(&value - graph.values.data()), whole = static_cast<size_t>(value.whole);
    first[whole] = std::min(first[whole], first[v]), last[whole] = std::max(last[whole], last[v]);
  }

  std::vector<Interval> result;
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const Value& value = graph.values[v];
    if (value.whole != kNone || !wanted(static_cast<ValueId>(v))) continue;
    result.push_back({static_cast<int32_t>(v), padded_bytes(physical_bytes(value)), first[v], std::max(last[v], first[v])});
  }
  for (size_t e = 0; e < extras.size(); ++e) {
    const Extra& extra = extras[e];
    const auto buffer = static_cast<int32_t>(graph.values.size() + e);
    if (extra.table.empty() && wanted_node(extra.node))
      result.push_back({buffer, padded_bytes(extra.bytes), extra.node, checked.count(buffer) ? end : extra.node});
  }
  return result;
}

void Lowered::set_offsets(const std::vector<Interval>& placed, std::vector<size_t>& offsets) const {
  const Graph& graph = program.graph;
  for (const Interval& i : placed) offsets[i.buffer] = i.offset;
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const auto id = static_cast<ValueId>(v);
    if (graph.home(id) != id) offsets[v] = offsets[graph.home(id)] + graph.offset_in_home(id);
  }
}

}  // namespace thaw
