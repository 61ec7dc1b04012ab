// The reader of a graph description: JSON and concrete input shapes in, a checked graph out.
#include <map>

#include "graph/graph.h"
#include "ops/op.h"

namespace thaw {

namespace {

constexpr size_t kMaxNodes = 100000;
constexpr size_t kMaxRank = 8;
// Bounds one value; what a whole plan takes is known before any of it is allocated.
constexpr int64_t kMaxElements = int64_t{1} << 40;

void check_shape(const Shape& shape, const std::string& subject) {
  if (shape.size() > kMaxRank)
    fail_expected("ERR_SHAPE", "at most 8 dimensions", subject, std::to_string(shape.size()));
  double n = 1;
  for (int64_t d : shape) {
    if (d < 0) fail_expected("ERR_SHAPE", "dimensions of 0 or more", subject, to_string(shape));
    n *= static_cast<double>(d);
  }
  if (n > static_cast<double>(kMaxElements))
    fail_expected("ERR_SHAPE", "at most 2^40 elements", subject, to_string(shape));
}

/// Binds the symbols of one input to the sizes of the shape it is given.
void bind_symbols(const std::string& name, const std::vector<Json>& dims, const Shape& shape,
                  std::map<std::string, int64_t>& symbols) {
  const std::string subject = "input '" + name + "'";
  if (shape.size() != dims.size())
    fail_expected("ERR_SHAPE", std::to_string(dims.size()) + " dimensions", subject, to_string(shape));
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i].kind() == Json::Kind::number) {
      if (dims[i].as_int() != shape[i])
        fail_expected("ERR_SHAPE", std::to_string(dims[i].as_int()) + " in dimension " + std::to_string(i), subject,
                      to_string(shape));
      continue;
    }
    const std::string& symbol = dims[i].as_string();
    const auto [it, fresh] = symbols.emplace(symbol, shape[i]);
    if (!fresh && it->second != shape[i])
      fail_expected("ERR_SHAPE", symbol + " = " + std::to_string(it->second) + " in dimension " + std::to_string(i),
                    subject, to_string(shape));
  }
}

void read_inputs(Graph& graph, const Json& description, const Json& shapes) {
  std::map<std::string, int64_t> symbols;
  for (const Json& input : description.at("inputs").items()) {
    const std::string& name = input.at("name").as_string();
    const Json* given = shapes.find(name);
    if (!given) fail_expected("ERR_SHAPE", "a shape", "input '" + name + "'", "none");
    Value v;
    v.name = name;
    v.dtype = dtype_from(input.get("dtype", "f32"));
    v.shape = given->as_ints();
    v.role = Role::input;
    check_shape(v.shape, "input '" + name + "'");
    bind_symbols(name, input.at("shape").items(), v.shape, symbols);
    graph.add_value(std::move(v));
  }
}

void read_tensors(Graph& graph, const Json& description, const char* list, Role role) {
  const Json* tensors = description.find(list);
  if (!tensors) return;
  for (const Json& tensor : tensors->items()) {
    Value v;
    v.name = tensor.at("name").as_string();
    v.dtype = dtype_from(tensor.get("dtype", "f32"));
    v.shape = tensor.at("shape").as_ints();
    v.role = role;
    check_shape(v.shape, "'" + v.name + "'");
    graph.add_value(std::move(v));
  }
}

void read_node(Graph& graph, const Json& node) {
  const std::string& name = node.at("name").as_string();
  std::vector<ValueId> inputs;
  for (const Json& input : node.at("inputs").items())
    inputs.push_back(input.is_null() ? kNone : graph.find(input.as_string()));
  Json attrs = Json::object();
  if (const Json* given = node.find("attrs"))
    for (const auto& [key, value] : given->members()) attrs.set(key, value);
  const std::string& op = node.at("op").as_string();
  const OpDef* def = find_op(op);
  // Draws of a random node are keyed by its name, so that adding another node leaves them alone.
  if (def && def->random && !attrs.find("stream")) attrs.set("stream", name);
  if (graph.by_name.count(name))
    fail_expected("ERR_GRAPH", "a name of its own", "each node", "'" + name + "' twice");
  graph.append(op, name, std::move(inputs), std::move(attrs));
}

}  // namespace

Graph read_graph(const Json& description, const Json& shapes) {
  Graph graph;
  read_inputs(graph, description, shapes);
  read_tensors(graph, description, "parameters", Role::parameter);
  read_tensors(graph, description, "states", Role::state);
  const std::vector<Json>& nodes = description.at("nodes").items();
  if (nodes.size() > kMaxNodes)
    fail_expected("ERR_GRAPH", "at most " + std::to_string(kMaxNodes) + " nodes", "a graph", std::to_string(nodes.size()));
  for (const Json& node : nodes) read_node(graph, node);

  for (const Json& output : description.at("outputs").items()) graph.outputs.push_back(graph.find(output.as_string()));
  if (const Json* losses = description.find("losses"))
    for (const Json& loss : losses->items()) {
      const ValueId value = graph.find(loss.at("value").as_string());
      if (!graph.values[value].shape.empty())
        fail_expected("ERR_GRAPH", "a scalar", "loss '" + graph.values[value].name + "'",
                      to_string(graph.values[value].shape));
      graph.losses.push_back({value, loss.get("weight", 1.0)});
    }
  if (const Json* states = description.find("states"))
    for (const Json& state : states->items())
      if (const Json* update = state.find("update")) {
        const StateUpdate u{graph.find(state.at("name").as_string()), graph.find(update->as_string())};
        if (graph.values[u.state].shape != graph.values[u.value].shape)
          fail_expected("ERR_SHAPE", to_string(graph.values[u.state].shape),
                        "the update of state '" + graph.values[u.state].name + "'",
                        to_string(graph.values[u.value].shape));
        graph.updates.push_back(u);
      }
  return graph;
}

}  // namespace thaw
