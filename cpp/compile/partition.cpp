// Where training begins. A value is live when a trainable parameter, batch statistics or an active random node can
// change it. The cut is the set of values that are not live and that live nodes read: it lies as late as possible.
#include <algorithm>

#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

namespace {

bool is_op(const Node& node, const char* name) { return node.op->name == std::string_view(name); }

std::string batch_norm_mode(const Request& request, const std::string& node) {
  const auto it = request.batch_norm.find(node);
  return it == request.batch_norm.end() ? "frozen" : it->second;
}

/// The description with the batch-norm modes that this plan runs, without inputs that have no shape, and without what
/// reads those.
Json effective_description(const Request& request) {
  const Json& given = request.graph;
  std::set<std::string> absent;
  Json result = Json::object(), inputs = Json::array(), nodes = Json::array(), losses = Json::array(), states = Json::array();
  for (const Json& input : given.at("inputs").items()) {
    if (request.shapes.find(input.at("name").as_string()))
      inputs.push(input);
    else
      absent.insert(input.at("name").as_string());
  }
  for (const Json& node : given.at("nodes").items()) {
    const std::string& name = node.at("name").as_string();
    const auto& operands = node.at("inputs").items();
    const bool reads_absent = std::any_of(operands.begin(), operands.end(), [&](const Json& operand) {
      return !operand.is_null() && absent.count(operand.as_string().substr(0, operand.as_string().find(':')));
    });
    if (reads_absent) {
      absent.insert(name);
      continue;
    }
    Json copy = node;
    if (node.at("op").as_string() == "batch_norm") {
      Json attrs = node.find("attrs") ? node.at("attrs") : Json::object();
      attrs.set("mode", is_training(request.mode) ? batch_norm_mode(request, name) : std::string("frozen"));
      copy.set("attrs", std::move(attrs));
    }
    nodes.push(std::move(copy));
  }
  if (const Json* list = given.find("losses"))
    for (const Json& loss : list->items())
      if (!absent.count(loss.at("value").as_string())) losses.push(loss);
  if (const Json* list = given.find("states"))
    for (const Json& state : list->items()) {
      Json copy = state;
      const Json* update = state.find("update");
      if (update && (absent.count(update->as_string()) || !is_training(request.mode))) copy.set("update", Json());
      states.push(std::move(copy));
    }
  Json outputs = Json::array();
  if (request.outputs.empty()) {
    for (const Json& output : given.at("outputs").items()) outputs.push(output);
  } else {
    for (const std::string& name : request.outputs) outputs.push(name);
  }
  result.set("inputs", std::move(inputs)).set("parameters", given.at("parameters")).set("states", std::move(states));
  result.set("nodes", std::move(nodes)).set("outputs", std::move(outputs)).set("losses", std::move(losses));
  return result;
}

void mark_trainable(Graph& graph, const Request& request) {
  for (const std::string& name : request.trainable) {
    const auto it = graph.by_name.find(name);
    if (it == graph.by_name.end() || graph.values[it->second].role != Role::parameter)
      fail_expected("ERR_GRAPH", "the name of a parameter", "trainable", "'" + name + "'");
    graph.values[it->second].trainable = true;
  }
}

/// What batch statistics and trainable parameters can change; random nodes do not count yet.
std::vector<bool> changed_by_training(const Graph& graph, const Request& request) {
  std::vector<bool> seed(graph.values.size(), false);
  for (size_t v = 0; v < graph.values.size(); ++v) seed[v] = graph.values[v].trainable;
  for (const Node& node : graph.nodes)
    if (is_op(node, "batch_norm") && batch_norm_mode(request, node.name) != "frozen")
      for (ValueId v : node.outputs) seed[v] = true;
  return depends_on(graph, seed);
}

bool reads_parameter(const Graph& graph, const Node& node, bool trainable) {
  return std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) {
    return v != kNone && graph.values[v].role == Role::parameter && graph.values[v].trainable == trainable;
  });
}

/// A random node below everything trainable is active when the first layers with parameters above it are all trained
/// (the dropout before a new head); one that feeds a frozen part is off.
bool feeds_trained_layers_only(const Graph& graph, const std::vector<std::vector<NodeId>>& readers, ValueId start) {
  std::vector<ValueId> open{start};
  std::set<ValueId> seen;
  bool trained = false;
  while (!open.empty()) {
    const ValueId v = open.back();
    open.pop_back();
    if (!seen.insert(v).second) continue;
    for (NodeId n : readers[v]) {
      const Node& node = graph.nodes[n];
      const bool here = reads_parameter(graph, node, true);
      if (!here && reads_parameter(graph, node, false)) return false;
      trained |= here;
      if (!here) open.insert(open.end(), node.outputs.begin(), node.outputs.end());
    }
  }
  return trained;
}

/// Removes the random nodes that `active` does not name: their readers read the operand instead.
void bypass_random(Graph& graph, const std::set<std::string>& active) {
  for (Node& node : graph.nodes)
    if (node.op->random && !active.count(node.name)) replace_uses(graph, node.outputs[0], node.inputs[0]);
}

std::set<std::string> active_random_nodes(const Graph& graph, const std::vector<bool>& changed) {
  const auto readers = graph.readers();
  std::set<std::string> active;
  for (const Node& node : graph.nodes)
    if (node.op->random && (changed[node.inputs[0]] || feeds_trained_layers_only(graph, readers, node.outputs[0])))
      active.insert(node.name);
  return active;
}

std::vector<ValueId> find_cut(const Graph& graph, const Request& request, const std::set<std::string>& active) {
  std::vector<bool> live = changed_by_training(graph, request), data(graph.values.size(), false);
  for (const Node& node : graph.nodes)
    if (active.count(node.name)) live[node.outputs[0]] = true;
  live = depends_on(graph, live);
  for (size_t v = 0; v < graph.values.size(); ++v) data[v] = graph.values[v].role == Role::input;
  data = depends_on(graph, data);

  std::set<ValueId> cut;
  for (const Node& node : graph.nodes) {
    const bool is_live = std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId v) { return live[v]; });
    if (!is_live) continue;
    for (ValueId v : node.inputs)
      if (v != kNone && !live[v] && data[v] && graph.values[v].role == Role::computed) cut.insert(v);
  }
  // An output that nothing trainable can change comes through the cut too. These are the description's outputs, not the
  // request's, so that every mode has the same cut.
  for (const Json& output : request.graph.at("outputs").items()) {
    const auto found = graph.by_name.find(output.as_string());
    if (found == graph.by_name.end()) continue;
    const ValueId v = found->second;
    if (!live[v] && graph.values[v].role == Role::computed && data[v]) cut.insert(v);
  }
  return {cut.begin(), cut.end()};
}

void collect_inputs(Program& program) {
  Graph& graph = program.graph;
  std::vector<bool> read(graph.values.size(), false);
  for (const Node& node : graph.nodes)
    for (ValueId v : node.inputs)
      if (v != kNone) read[v] = true;
  for (ValueId v : graph.outputs) read[v] = true;
  for (size_t v = 0; v < graph.values.size(); ++v)
    if (graph.values[v].role == Role::input && read[v]) program.inputs.push_back(static_cast<ValueId>(v));
}

}  // namespace

Mode mode_from(const std::string& name) {
  if (name == "run") return Mode::run;
  if (name == "embed") return Mode::embed;
  if (name == "head") return Mode::head;
  if (name == "step") return Mode::step;
  if (name == "gradients") return Mode::gradients;
  fail_expected("ERR_REQUEST", "run, embed, head, step or gradients", "mode", "'" + name + "'");
}

Precision precision_from(const std::string& name, Isa isa) {
  if (name == "auto") return isa >= Isa::amx ? Precision::bf16 : Precision::fp32;
  if (name == "fp32") return Precision::fp32;
  if (name == "bf16") return Precision::bf16;
  fail_expected("ERR_REQUEST", "auto, fp32 or bf16", "precision", "'" + name + "'");
}

Program partition(const Request& request) {
  Program program;
  program.mode = request.mode;
  program.isa = request.isa;
  program.precision = request.precision;
  program.graph = read_graph(effective_description(request), request.shapes);
  Graph& graph = program.graph;
  mark_trainable(graph, request);

  const std::set<std::string> active = active_random_nodes(graph, changed_by_training(graph, request));
  bypass_random(graph, active);
  program.cut = find_cut(graph, request, active);
  if (!is_training(request.mode)) {
    bypass_random(graph, {});
    for (Value& v : graph.values) v.trainable = false;
    graph.losses.clear();
    graph.updates.clear();
  }
  if (request.mode == Mode::embed) graph.outputs = program.cut;
  if (request.mode == Mode::head || request.mode == Mode::step)
    for (ValueId v : program.cut) graph.values[v].role = Role::input;
  // A batch norm that uses the batch's statistics rewrites its states.
  for (const Node& node : graph.nodes)
    for (const auto& [input, output] : node.op->states)
      if (is_training(request.mode) && static_cast<size_t>(output) < node.outputs.size() && node.inputs[input] != kNone)
        graph.updates.push_back({node.inputs[input], node.outputs[output]});
  prune(graph, {});
  collect_inputs(program);
  return program;
}

}  // namespace thaw
