// The commands compile, run and release. What they take and answer is described in src/native.ts.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "ops/op.h"
#include "run/plan.h"
#include "run/pool.h"
#include "session/cached_rows.h"
#include "session/session.h"
#include "session/update.h"

namespace thaw {

namespace {

Isa isa_from(const std::string& name) {
  for (Isa isa : kIsas)
    if (name == isa_name(isa) && isa_usable(isa)) return isa;
  fail_expected("ERR_REQUEST", "an instruction set of this machine", "isa", "'" + name + "'");
}

Request read_request(const Json& json, int device) {
  Request request;
  request.graph = json.at("graph");
  request.shapes = json.at("inputs");
  request.mode = mode_from(json.at("mode").as_string());
  if (const Json* names = json.find("trainable"))
    for (const std::string& name : names->as_strings()) request.trainable.insert(name);
  if (const Json* modes = json.find("batchNorm"))
    for (const auto& [node, mode] : modes->members()) request.batch_norm[node] = mode.as_string();
  if (const Json* names = json.find("outputs")) request.outputs = names->as_strings();
  if (const Json* isa = json.find("isa")) request.isa = isa_from(isa->as_string());
  if (device != kHost) request.isa = Isa::cuda, request.device = device;
  request.precision = precision_from(json.get("precision", "auto"), request.isa);
  return request;
}

/// Every value of the graph with its shape and the node that makes it: `mode: 'infer'`.
Reply infer_shapes(const Json& json) {
  const Graph graph = read_graph(json.at("graph"), json.at("inputs"));
  Json values = Json::array();
  for (const Value& v : graph.values) {
    if (v.role == Role::parameter || v.role == Role::state) continue;
    Json row = Json::object();
    row.set("name", v.name).set("dtype", dtype_name(v.dtype)).set("shape", v.shape);
    if (v.producer != kNone) row.set("node", graph.nodes[v.producer].name);
    values.push(std::move(row));
  }
  Reply reply;
  reply.json.set("values", std::move(values));
  return reply;
}

Plan& find_plan(Session& session, int64_t id) {
  const auto it = session.plans.find(id);
  if (it == session.plans.end()) fail_expected("ERR_PLAN", "a plan of this session", "plan", std::to_string(id));
  return *it->second;
}

std::vector<std::string> input_names(const Json& json) {
  const Json* given = json.find("inputs");
  return given ? given->as_strings() : std::vector<std::string>();
}

/// The buffers that came with the request, from number `first` on, and the rows of the cache, in the order of the plan's
/// inputs.
std::vector<Binding> bind_inputs(const Plan& plan, const Json& json, const Buffers& buffers, size_t first,
                                 const std::vector<Memory>& cached) {
  const Program& program = plan.program();
  const std::vector<std::string> names = input_names(json);
  if (first + names.size() > buffers.size())
    fail_expected("ERR_INPUT", std::to_string(first + names.size()) + " buffers", "run", std::to_string(buffers.size()));
  std::vector<Binding> bindings;
  for (ValueId v : program.inputs) {
    Binding binding;
    for (size_t i = 0; i < names.size(); ++i)
      if (names[i] == plan.value(v).name) binding = {buffers[first + i].data, buffers[first + i].size};
    for (size_t c = 0; c < cached.size(); ++c)
      if (program.cut[c] == v) binding = {cached[c].data(), physical_bytes(plan.value(v))};
    bindings.push_back(binding);
  }
  return bindings;
}

// By all threads: most of the time is the system's, who clears the new pages.
void copy(void* to, const void* from, size_t bytes, int threads) {
  constexpr size_t kPart = size_t{1} << 20;
  Pool::shared().parallel(static_cast<int64_t>((bytes + kPart - 1) / kPart), 0, [=](int64_t part, void*) {
    const size_t at = static_cast<size_t>(part) * kPart;
    std::memcpy(static_cast<char*>(to) + at, static_cast<const char*>(from) + at, std::min(kPart, bytes - at));
  }, threads);
}

void copy_result(const Plan& plan, ValueId v, void* to, int threads) {
  const size_t bytes = physical_bytes(plan.value(v));
  if (plan.on_gpu()) plan.read(v, to, bytes);
  else copy(to, plan.result(v), bytes, threads);
}

const std::vector<Memory> kNoCut;

/// The values of the plan's cut, where the request says from where: rows of a cache, or what the plan `frozen` makes of the
/// inputs. They lie outside of the memory that plans share.
const std::vector<Memory>& bring_cut(Session& session, const Plan& plan, const Json& json, const Buffers& buffers,
                                     JobContext& context) {
  if (const Json* rows = json.find("cacheRead")) {
    read_cache(session, plan, *rows, session.cut);
    return session.cut;
  }
  const Json* frozen = json.find("frozen");
  if (!frozen) return kNoCut;
  Plan& below = find_plan(session, frozen->as_int());
  below.run(session.store, bind_inputs(below, json, buffers, 0, kNoCut), {}, context);
  make_room(session, plan, session.cut);
  for (size_t c = 0; c < session.cut.size(); ++c)
    copy_result(below, below.program().graph.outputs.at(c), session.cut[c].data(), context.threads);
  return session.cut;
}

/// What `next` says of the batch after this one. The run of that batch does without it where it cannot be brought, and says
/// what is wrong.
void stage_next(Session& session, Plan& plan, const Json& json, const Buffers& buffers, int threads) {
  const Json& next = json.at("next");
  try {
    std::vector<Memory> cached;
    if (const Json* rows = next.find("cacheRead")) read_cache(session, plan, *rows, cached);
    const std::vector<Binding> inputs = bind_inputs(plan, next, buffers, input_names(json).size(), cached);
    plan.stage(next.at("ticket").as_int(), inputs, session.account, threads);
  } catch (const Error&) {
  }
}

Plan::Options read_options(const Json& json) {
  Plan::Options options;
  options.random.seed = static_cast<uint64_t>(json.get("seed", 0));
  options.random.epoch = json.get("epoch", 0);
  if (const Json* samples = json.find("samples")) options.random.samples = samples->as_ints();
  options.loss_scale = json.get("lossScale", 1.0);
  options.profile = json.get("profile", false);
  options.staged = json.get("staged", 0);
  return options;
}

void check_losses(const std::vector<double>& losses) {
  for (double loss : losses)
    if (!std::isfinite(loss))
      fail_expected("ERR_LOSS_NOT_FINITE", "a finite number", "the loss", std::isnan(loss) ? "NaN" : "infinity");
}

void reply_value(Reply& reply, Json& list, const Plan& plan, ValueId v, const std::string& name, int threads) {
  const Value& value = plan.value(v);
  Json row = Json::object();
  row.set("name", name).set("dtype", dtype_name(value.dtype)).set("shape", value.shape);
  list.push(std::move(row));
  Memory memory(physical_bytes(value));
  copy_result(plan, v, memory.data(), threads);
  reply.buffers.emplace_back(std::move(memory));
}

void reply_outputs(Reply& reply, const Plan& plan, const Json& json, int threads) {
  Json outputs = Json::array();
  const Json* wanted = json.find("outputs");
  const Json described = plan.describe_outputs();
  if (!json.get("discardOutputs", false))
    for (size_t i = 0; i < plan.program().graph.outputs.size(); ++i) {
      const std::string& name = described.items()[i].at("name").as_string();
      bool asked = !wanted;
      if (wanted)
        for (const std::string& w : wanted->as_strings()) asked |= w == name;
      if (asked) reply_value(reply, outputs, plan, plan.program().graph.outputs[i], name, threads);
    }
  reply.json.set("outputs", std::move(outputs));
}

}  // namespace

Reply command_compile(Session& session, const Json& json, Buffers&, JobContext&) {
  if (json.at("mode").as_string() == "infer") return infer_shapes(json);
  if (!session.prepared) session.prepared = std::make_shared<PreparedCache>();
  auto plan = std::make_shared<Plan>(read_request(json, session.device), session.store, *session.prepared);
  Reply reply;
  reply.json = plan->describe();
  const int64_t id = session.next_id++;
  reply.json.set("plan", id);
  session.plans[id] = std::move(plan);
  return reply;
}

Reply command_run(Session& session, const Json& json, Buffers& buffers, JobContext& context) {
  Plan& plan = find_plan(session, json.at("plan").as_int());
  Plan::Options options = read_options(json);
  if (json.find("next")) options.meanwhile = [&] { stage_next(session, plan, json, buffers, context.threads); };
  const bool staged = plan.staged(options.staged);
  const std::vector<Memory>& cut = staged ? kNoCut : bring_cut(session, plan, json, buffers, context);
  plan.run(session.store, bind_inputs(plan, json, buffers, 0, cut), options, context);

  Reply reply;
  if (staged) reply.json.set("staged", true);
  const std::vector<double> losses = plan.losses();
  check_losses(losses);
  Json loss_list = Json::array();
  for (double loss : losses) loss_list.push(loss);
  reply.json.set("losses", std::move(loss_list));
  if (const Json* write = json.find("cacheWrite")) reply.json.set("cached", write_cache(session, plan, *write));
  reply_outputs(reply, plan, json, context.threads);
  if (const Json* wanted = json.find("gradients")) reply_gradients(reply, plan, *wanted);
  if (const Json* update = json.find("update")) {
    const auto begun = std::chrono::steady_clock::now();
    reply.json.set("gradientNorm", update_parameters(session, plan, *update, context));
    plan.commit_states(session.store);
    const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - begun;
    reply.json.set("updateMs", passed.count());
  }
  if (json.get("profile", false)) reply.json.set("launches", plan.describe_launches());
  return reply;
}

Reply command_release(Session& session, const Json& json, Buffers&, JobContext&) {
  session.plans.erase(json.at("plan").as_int());
  session.cut.clear();
  return {};
}

}  // namespace thaw
