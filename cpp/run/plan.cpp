#include "run/plan.h"

#include <algorithm>
#include <set>

#include "ops/op.h"

namespace thaw {

/// Collects what one node's lowering asks for.
class Lowerer final : public Lower {
 public:
  explicit Lowerer(Plan& plan) : plan_(plan) {}
  void visit(size_t n) {
    n_ = n;
    if (!node().op->lower) fail_expected("ERR_INTERNAL", "a lowering", "operator", node().op->name);
    node().op->lower(*this);
  }
  const Graph& graph() const override { return plan_.program_.graph; }
  const Node& node() const override { return graph().nodes[n_]; }
  Isa isa() const override { return plan_.program_.isa; }
  Buffer workspace(size_t bytes) override {
    plan_.workspace_bytes_.push_back(bytes);
    plan_.workspace_node_.push_back(static_cast<NodeId>(n_));
    return static_cast<Buffer>(graph().values.size() + plan_.workspace_bytes_.size() - 1);
  }
  void add(std::function<void(Run&)> step) override { plan_.steps_[n_].push_back(std::move(step)); }

 private:
  Plan& plan_;
  size_t n_ = 0;
};

namespace {

/// The memory in which one buffer begins and ends on a cache line of its own.
size_t padded(size_t bytes) { return (std::max<size_t>(bytes, 1) + 63) / 64 * 64; }

}  // namespace

Plan::Plan(const Request& request, Store& store, PreparedCache& cache) {
  program_ = partition(request);
  fold(program_);
  if (is_training(request.mode)) {
    differentiate(program_);
    std::vector<ValueId> gradients;
    for (const ParameterGradient& g : program_.gradients) {
      gradients.push_back(g.value);
      if (g.indices != kNone) gradients.push_back(g.indices);
    }
    prune(program_.graph, gradients);
  }
  fuse(program_);
  select(program_);
  choose_layouts(program_);
  find_prepared(program_);

  const Graph& graph = program_.graph;
  for (const Value& v : graph.values) {
    if (v.role != Role::parameter && v.role != Role::state) continue;
    const Tensor* tensor = store.find(v.name);
    if (tensor && tensor->shape != v.shape)
      fail_expected("ERR_SHAPE", to_string(v.shape), "tensor '" + v.name + "'", to_string(tensor->shape));
  }
  lower_nodes();
  place_buffers();
  share_prepared(cache);
  Arena::shared().reserve(arena_bytes_);
}

Plan::~Plan() { Arena::shared().release(arena_bytes_); }

void Plan::lower_nodes() {
  steps_.resize(program_.graph.nodes.size());
  Lowerer lowerer(*this);
  for (size_t n = 0; n < steps_.size(); ++n) lowerer.visit(n);
}

void Plan::place_buffers() {
  const Graph& graph = program_.graph;
  const std::set<ValueId> kept(program_.kept.begin(), program_.kept.end());
  places_.assign(graph.values.size(), Place::none);
  offsets_.assign(graph.values.size() + workspace_bytes_.size(), 0);
  pointers_.assign(offsets_.size(), nullptr);
  std::vector<bool> used(graph.values.size(), false);
  for (const Node& node : graph.nodes)
    for (ValueId v : node.inputs)
      if (v != kNone) used[v] = true;
  for (ValueId v : graph.outputs) used[v] = true;
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const Value& value = graph.values[v];
    if (value.role == Role::parameter || value.role == Role::state)
      places_[v] = used[v] ? Place::store : Place::none;
    else if (kept.count(static_cast<ValueId>(v)))
      places_[v] = Place::kept;
    else if (value.role == Role::input || value.producer != kNone)
      places_[v] = Place::arena;
  }
  // Preparing is over before the rest begins: both lie at the start of the arena.
  arena_bytes_ = std::max(place_range(true), place_range(false));
}

size_t Plan::place_range(bool prepared) {
  const Graph& graph = program_.graph;
  const int end = static_cast<int>(graph.nodes.size());
  std::vector<int> last(graph.values.size(), -1);
  for (int n = 0; n < end; ++n)
    for (ValueId v : graph.nodes[n].inputs)
      if (v != kNone) last[v] = n;
  for (size_t v = 0; v < last.size(); ++v)
    if (leaves_graph(graph, static_cast<ValueId>(v))) last[v] = end;
  for (const ParameterGradient& g : program_.gradients) {
    last[g.value] = end;
    if (g.indices != kNone) last[g.indices] = end;
  }

  std::vector<Interval> intervals;
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const Value& value = graph.values[v];
    if (places_[v] != Place::arena) continue;
    const bool is_prepared = value.role != Role::input && program_.prepared[value.producer];
    if (is_prepared != prepared) continue;
    const int first = value.role == Role::input ? -1 : value.producer;
    intervals.push_back({static_cast<int32_t>(v), padded(physical_bytes(value)), first, std::max(last[v], first)});
  }
  for (size_t w = 0; w < workspace_bytes_.size(); ++w) {
    const NodeId n = workspace_node_[w];
    if (program_.prepared[n] == prepared)
      intervals.push_back({static_cast<int32_t>(graph.values.size() + w), padded(workspace_bytes_[w]), n, n});
  }
  const size_t bytes = place(intervals);
  for (const Interval& interval : intervals) offsets_[interval.buffer] = interval.offset;
  return bytes;
}

std::string Plan::expression(ValueId v, std::map<ValueId, std::string>& known, std::vector<std::string>& sources) const {
  const Graph& graph = program_.graph;
  const Value& value = graph.values[v];
  if (value.role == Role::parameter || value.role == Role::state) {
    if (std::find(sources.begin(), sources.end(), value.name) == sources.end()) sources.push_back(value.name);
    return "'" + value.name + "'";
  }
  const Node& node = graph.nodes[value.producer];
  std::string text = std::string(node.op->name) + node.attrs.dump() + "(";
  for (ValueId input : node.inputs) text += (input == kNone ? "-" : expression(input, known, sources)) + ",";
  const auto output = std::find(node.outputs.begin(), node.outputs.end(), v) - node.outputs.begin();
  text += ")" + std::to_string(output) + to_string(value.shape) + layout_name(value.layout);
  known[v] = text;
  return text;
}

void Plan::share_prepared(PreparedCache& cache) {
  std::map<ValueId, std::string> known;
  for (ValueId v : program_.kept) {
    std::vector<std::string> sources;
    const std::string key = std::string(isa_name(program_.isa)) + expression(v, known, sources);
    std::shared_ptr<Prepared> entry = cache.entries[key].lock();
    if (!entry) {
      entry = std::make_shared<Prepared>();
      entry->sources = sources;
      cache.entries[key] = entry;
    }
    kept_[v] = entry;
    kept_bytes_ += padded(physical_bytes(program_.graph.values[v]));

    std::set<NodeId> nodes;
    std::vector<ValueId> open{v};
    while (!open.empty()) {
      const ValueId at = open.back();
      open.pop_back();
      const NodeId producer = at == kNone ? kNone : program_.graph.values[at].producer;
      if (producer == kNone || !nodes.insert(producer).second) continue;
      const Node& node = program_.graph.nodes[producer];
      open.insert(open.end(), node.inputs.begin(), node.inputs.end());
    }
    ancestors_[v].assign(nodes.begin(), nodes.end());
  }
  for (auto it = cache.entries.begin(); it != cache.entries.end();)
    it = it->second.expired() ? cache.entries.erase(it) : std::next(it);
}

Json Plan::describe_values(const std::vector<ValueId>& values) const {
  Json result = Json::array();
  for (ValueId v : values) {
    // A reorder may stand in front of an output: callers know the value by its own name.
    const Value& given = value(v);
    const Node* producer = given.producer == kNone ? nullptr : &program_.graph.nodes[given.producer];
    const bool reordered = producer && producer->op->name == std::string_view("reorder");
    Json row = Json::object();
    row.set("name", reordered ? value(producer->inputs[0]).name : given.name);
    row.set("dtype", dtype_name(given.dtype)).set("shape", given.shape);
    result.push(std::move(row));
  }
  return result;
}

Json Plan::describe_outputs() const { return describe_values(program_.graph.outputs); }

Json Plan::describe_launches() const {
  const Graph& graph = program_.graph;
  Json launches = Json::array();
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    Json row = Json::object();
    // Pools have an attribute of that name too: their window.
    const Json* kernel = node.attrs.find("kernel");
    const bool chosen = kernel && kernel->kind() == Json::Kind::string;
    row.set("node", node.name).set("op", node.op->name).set("kernel", chosen ? kernel->as_string() : "");
    row.set("prepared", static_cast<bool>(program_.prepared[n]));
    if (profile_.size() == graph.nodes.size()) row.set("ms", profile_[n]);
    launches.push(std::move(row));
  }
  return launches;
}

Json Plan::describe() const {
  const Graph& graph = program_.graph;
  size_t gradient_bytes = 0, workspace = 0;
  std::vector<ValueId> trained;
  for (const ParameterGradient& g : program_.gradients) {
    gradient_bytes += physical_bytes(graph.values[g.value]);
    trained.push_back(g.parameter);
  }
  for (size_t bytes : workspace_bytes_) workspace = std::max(workspace, bytes);
  Json bytes = Json::object(), declined = Json::array();
  bytes.set("arena", static_cast<int64_t>(arena_bytes_)).set("prepared", static_cast<int64_t>(kept_bytes_));
  bytes.set("gradients", static_cast<int64_t>(gradient_bytes)).set("workspace", static_cast<int64_t>(workspace));
  for (const Declined& d : program_.declined) {
    Json row = Json::object();
    row.set("node", d.node).set("kernel", d.kernel).set("why", d.why);
    declined.push(std::move(row));
  }
  Json result = Json::object();
  result.set("isa", isa_name(program_.isa)).set("precision", program_.precision == Precision::bf16 ? "bf16" : "fp32");
  result.set("inputs", describe_values(program_.inputs)).set("outputs", describe_outputs());
  result.set("cut", describe_values(program_.cut)).set("gradients", describe_values(trained));
  result.set("bytes", std::move(bytes)).set("launches", describe_launches()).set("declined", std::move(declined));
  return result;
}

}  // namespace thaw
