#include "run/plan.h"

#include <algorithm>
#include <set>

#include "ops/op.h"
#include "run/bands.h"
#include "run/depth_first.h"
#include "run/pool.h"

namespace thaw {

namespace {

/// A training step in bf16 takes the road by picture, with any number of threads: its sums have another order. In fp32 it
/// gains nothing: maps are too large for the cache, and Winograd's algorithm wants more tiles than one picture has.
Request with_batch(Request request) {
  const int64_t pictures = pictures_of(request);
  const bool bf16 = request.precision == Precision::bf16 && request.device == kHost;
  if (is_training(request.mode) && bf16 && pictures > 1) request.batch = pictures;
  return request;
}

/// The request for so many pictures of its batch.
Request for_group(Request request, int64_t pictures) {
  Json shapes = Json::object();
  for (const auto& [name, shape] : request.shapes.members()) {
    Shape of_group = shape.as_ints();
    of_group[0] = pictures;
    shapes.set(name, of_group);
  }
  request.shapes = std::move(shapes);
  return request;
}

}  // namespace

Plan::Plan(const Request& given, Store& store, PreparedCache& cache)
    : device_(given.device), whole_(compile(with_batch(given)), Pool::shared().threads()) {
  const Request request = with_batch(given);
  for (const Value& v : program().graph.values) {
    if (v.role != Role::parameter && v.role != Role::state) continue;
    const Tensor* tensor = store.peek(v.name);
    if (tensor && tensor->shape != v.shape)
      fail_expected("ERR_SHAPE", to_string(v.shape), "tensor '" + v.name + "'", to_string(tensor->shape));
  }
  find_any_alignment();
  find_segments(request);
  lower_nodes();
  place_buffers();
  share_prepared(cache);
  if (on_gpu()) recording_ = std::make_unique<Recording>(program());
  Arena::of(device_).reserve(arena_bytes_);
}

Plan::~Plan() { Arena::of(device_).release(arena_bytes_); }

void Plan::find_any_alignment() {
  const Graph& graph = program().graph;
  const auto takes_any = [&](const Node& node) {
    const std::string_view op = node.op->name;
    return op == "reorder" || (op == "conv2d" && node.attrs.at("kernel").as_string().starts_with("narrow"));
  };
  const auto readers = graph.readers();
  for (ValueId v : program().inputs) {
    const auto& all = readers[v];
    any_alignment_.push_back(!leaves_graph(graph, v) && std::all_of(all.begin(), all.end(), [&](NodeId n) {
      return takes_any(graph.nodes[n]);
    }));
  }
}

// Stretches of nodes that run depth-first, for requests whose inputs all begin with the batch.
void Plan::find_segments(const Request& request) {
  const int64_t pictures = pictures_of(request);
  const bool training = is_training(request.mode);
  if (on_gpu() || pictures == 0 || (training && request.batch == 0)) return;
  std::map<int64_t, std::shared_ptr<Lowered>> made;
  const auto make = [&](int64_t group) {
    std::shared_ptr<Lowered>& lowered = made[group];
    if (!lowered) lowered = std::make_shared<Lowered>(compile(for_group(request, group)), 1);
    return same_but_pictures(program(), pictures, lowered->program, group) ? lowered : nullptr;
  };
  if (training && !find_rows(request)) return;
  const int threads = Pool::shared().threads();
  std::vector<bool> taken(program().graph.nodes.size(), false);
  if (!training) {
    for (const BandStretch& stretch : choose_bands(program(), pictures, threads)) {
      std::fill_n(taken.begin() + static_cast<int64_t>(stretch.first), stretch.last - stretch.first, true);
      segments_.push_back(std::make_unique<BandSegment>(stretch, program(), pictures));
    }
  }
  for (const Stretch& stretch : choose_stretches(program(), pictures, threads, taken)) {
    auto segment = std::make_unique<GroupSegment>(stretch, program(), pictures, make);
    if (segment->sound()) segments_.push_back(std::move(segment));
  }
  std::sort(segments_.begin(), segments_.end(), [](const auto& a, const auto& b) { return a->first() < b->first(); });
  for (const auto& segment : segments_)
    thread_bytes_ = std::max(thread_bytes_, segment->bytes() * static_cast<size_t>(threads));
}

// What has another first dimension for another number of pictures has rows. False: there is no program for one picture, or
// it is another one.
bool Plan::find_rows(const Request& request) {
  Program one;
  try {
    one = compile(for_group(request, 1));
  } catch (const Error&) {
    return false;  // statistics of one value, say
  }
  const std::vector<Value>&values = program().graph.values, &others = one.graph.values;
  if (values.size() != others.size()) return false;
  std::vector<bool>& without = whole_.program.without_rows;
  for (size_t v = 0; v < values.size(); ++v) without.push_back(values[v].shape.empty() || values[v].shape == others[v].shape);
  return true;
}

void Plan::lower_nodes() {
  auto segment = segments_.begin();
  for (size_t n = 0; n < whole_.steps.size(); ++n) {
    while (segment != segments_.end() && n >= (*segment)->last()) ++segment;
    const bool inside = segment != segments_.end() && n >= (*segment)->first() && !program().prepared[n];
    if (!inside) whole_.lower(n);
  }
}

void Plan::place_buffers() {
  const Graph& graph = program().graph;
  const std::set<ValueId> kept(program().kept.begin(), program().kept.end());
  places_.assign(graph.values.size(), Place::none);
  offsets_.assign(whole_.buffers(), 0);
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
    else if (std::any_of(segments_.begin(), segments_.end(), [&](const auto& s) { return s->is_local(static_cast<ValueId>(v)); }))
      places_[v] = Place::none;
    else if (value.role == Role::input || value.producer != kNone)
      places_[v] = Place::arena;
  }
  // Preparing is over before the rest begins: both lie at the start of the arena.
  arena_bytes_ = std::max(place_range(true), place_range(false));
}

size_t Plan::place_range(bool prepared) {
  const Program& program = this->program();
  std::vector<Interval> intervals = whole_.intervals(
      [&](ValueId v) {
        if (places_[v] != Place::arena) return false;
        const Value& value = program.graph.values[v];
        return (value.role != Role::input && program.prepared[value.producer]) == prepared;
      },
      [&](NodeId n) { return program.prepared[n] == prepared; });
  // While a segment runs, all that it reads and writes is in use.
  for (Interval& i : intervals)
    for (const auto& s : segments_) {
      const int first = static_cast<int>(s->first()), last = static_cast<int>(s->last()) - 1;
      if (i.first > first && i.first <= last) i.first = first;
      if (i.last >= first && i.last < last) i.last = last;
    }
  const size_t bytes = place(intervals);
  whole_.set_offsets(intervals, offsets_);
  return bytes;
}

std::string Plan::expression(ValueId v, std::map<ValueId, std::string>& known, std::vector<std::string>& sources) const {
  const Graph& graph = program().graph;
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
  for (ValueId v : program().kept) {
    std::vector<std::string> sources;
    const std::string key = isa_name(program().isa) + std::to_string(device_) + expression(v, known, sources);
    std::shared_ptr<Prepared> entry = cache.entries[key].lock();
    if (!entry) {
      entry = std::make_shared<Prepared>();
      entry->sources = sources;
      cache.entries[key] = entry;
    }
    kept_[v] = entry;
    kept_bytes_ += padded_bytes(physical_bytes(program().graph.values[v]));

    std::set<NodeId> nodes;
    std::vector<ValueId> open{v};
    while (!open.empty()) {
      const ValueId at = open.back();
      open.pop_back();
      const NodeId producer = at == kNone ? kNone : program().graph.values[at].producer;
      if (producer == kNone || !nodes.insert(producer).second) continue;
      const Node& node = program().graph.nodes[producer];
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
    const Node* producer = given.producer == kNone ? nullptr : &program().graph.nodes[given.producer];
    const bool reordered = producer && producer->op->name == std::string_view("reorder");
    Json row = Json::object();
    row.set("name", reordered ? value(producer->inputs[0]).name : given.name);
    row.set("dtype", dtype_name(given.dtype)).set("shape", given.shape);
    result.push(std::move(row));
  }
  return result;
}

Json Plan::describe_outputs() const { return describe_values(program().graph.outputs); }

Json Plan::describe_launches() const {
  const Graph& graph = program().graph;
  Json launches = Json::array();
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    Json row = Json::object();
    // Pools have an attribute of that name too: their window.
    const Json* kernel = node.attrs.find("kernel");
    const bool chosen = kernel && kernel->kind() == Json::Kind::string;
    row.set("node", node.name).set("op", node.op->name).set("kernel", chosen ? kernel->as_string() : "");
    row.set("prepared", static_cast<bool>(program().prepared[n]));
    if (profile_.size() == graph.nodes.size()) row.set("ms", profile_[n]);
    launches.push(std::move(row));
  }
  return launches;
}

bool Plan::cached_in_bf16(ValueId v) const {
  return program().precision == Precision::bf16 && value(v).dtype == DType::f32 && value(v).shape.size() == 4;
}

size_t Plan::cached_bytes(ValueId v) const {
  return physical_bytes(value(v)) / (cached_in_bf16(v) ? sizeof(float) / dtype_size(DType::bf16) : 1);
}

Json Plan::describe() const {
  const Graph& graph = program().graph;
  size_t gradient_bytes = 0, workspace = 0, cut_bytes = 0;
  std::vector<ValueId> trained;
  for (const ParameterGradient& g : program().gradients) {
    gradient_bytes += physical_bytes(graph.values[g.value]);
    trained.push_back(g.parameter);
  }
  for (ValueId v : program().cut) cut_bytes += cached_bytes(v);
  for (const Lowered::Extra& extra : whole_.extras) workspace = std::max(workspace, extra.bytes);
  Json bytes = Json::object(), declined = Json::array();
  bytes.set("arena", static_cast<int64_t>(arena_bytes_ + thread_bytes_)).set("prepared", static_cast<int64_t>(kept_bytes_));
  bytes.set("gradients", static_cast<int64_t>(gradient_bytes)).set("workspace", static_cast<int64_t>(workspace));
  bytes.set("cut", static_cast<int64_t>(cut_bytes));
  for (const Declined& d : program().declined) {
    Json row = Json::object();
    row.set("node", d.node).set("kernel", d.kernel).set("why", d.why);
    declined.push(std::move(row));
  }
  Json result = Json::object();
  result.set("isa", isa_name(program().isa)).set("precision", program().precision == Precision::bf16 ? "bf16" : "fp32");
  result.set("inputs", describe_values(program().inputs)).set("outputs", describe_outputs());
  result.set("cut", describe_values(program().cut)).set("gradients", describe_values(trained));
  result.set("bytes", std::move(bytes)).set("launches", describe_launches()).set("declined", std::move(declined));
  return result;
}

}  // namespace thaw
