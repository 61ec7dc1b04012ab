#include "session/update.h"

#include <cmath>
#include <cstring>
#include <set>

#include "run/pool_run.h"

namespace thaw {

namespace {

/// Adds rows of a gradient to a dense one, in order.
void scatter(const Plan& plan, const ParameterGradient& g, float* dense) {
  const Value& rows = plan.value(g.value);
  const int64_t count = plan.value(g.indices).shape[0], length = thaw::count(rows.shape) / std::max<int64_t>(count, 1);
  std::vector<int32_t> indices(static_cast<size_t>(count));
  std::vector<float> data(static_cast<size_t>(count * length));
  plan.read(g.indices, indices.data(), indices.size() * sizeof(int32_t));
  plan.read(g.value, data.data(), data.size() * sizeof(float));
  for (int64_t r = 0; r < count; ++r)
    for (int64_t i = 0; indices[r] >= 0 && i < length; ++i) dense[indices[r] * length + i] += data[r * length + i];
}

/// A tensor's numbers where the plan's device reaches them.
float* array(Store& store, const Plan& plan, const std::string& name) {
  return plan.on_gpu() ? static_cast<float*>(store.on_gpu(name)) : store.f32(name);
}

ParameterSlot slot_of(Store& store, const Plan& plan, const ParameterGradient& g) {
  const Value& parameter = plan.value(g.parameter);
  ParameterSlot slot;
  slot.name = parameter.name;
  slot.weight = array(store, plan, parameter.name);
  slot.count = count(parameter.shape);
  slot.gradient = static_cast<const float*>(plan.result(g.value));
  if (g.indices != kNone) {
    slot.indices = static_cast<const int32_t*>(plan.result(g.indices));
    slot.rows = plan.value(g.indices).shape[0];
    slot.row_length = slot.count / std::max<int64_t>(parameter.shape[0], 1);
  }
  return slot;
}

OptimizerSettings settings_of(const Json& update) {
  OptimizerSettings settings;
  settings.kind = optimizer_from(update.at("optimizer").as_string());
  settings.momentum = update.get("momentum", 0.0);
  settings.nesterov = update.get("nesterov", false);
  settings.beta1 = update.get("beta1", 0.9);
  settings.beta2 = update.get("beta2", 0.999);
  settings.eps = update.get("eps", 1e-8);
  return settings;
}

/// State of the optimizer for one parameter: zeros the first time.
float* state(Store& store, const Plan& plan, const std::string& name, const Shape& shape) {
  const Tensor* found = store.peek(name);
  if (found && found->shape != shape)
    fail_expected("ERR_SHAPE", to_string(shape), "'" + name + "'", to_string(found->shape));
  if (!found) store.create(name, Storage::f32, shape);
  return array(store, plan, name);
}

void attach_state(Store& store, const Plan& plan, const OptimizerSettings& settings, const Shape& shape, ParameterSlot& slot) {
  if (settings.kind == OptimizerKind::sgd) {
    if (settings.momentum != 0) slot.momentum = state(store, plan, "optimizer/momentum/" + slot.name, shape);
    return;
  }
  slot.first = state(store, plan, "optimizer/first/" + slot.name, shape);
  slot.second = state(store, plan, "optimizer/second/" + slot.name, shape);
  const std::string steps = "optimizer/steps/" + slot.name;
  if (!store.find(steps)) store.create(steps, Storage::i64, {});
  slot.steps = store.i64(steps);
}

void mark(Store& store, const Plan& plan, const std::string& name) {
  if (plan.on_gpu()) store.mark_modified_on_gpu(*store.peek(name));
  else store.mark_modified(name);
}

void mark_updated(Store& store, const Plan& plan, const ParameterSlot& slot) {
  mark(store, plan, slot.name);
  for (const char* kind : {"momentum", "first", "second"}) {
    const std::string name = std::string("optimizer/") + kind + "/" + slot.name;
    if (store.peek(name)) mark(store, plan, name);
  }
  // The count of steps is the host's.
  if (Tensor* steps = store.find("optimizer/steps/" + slot.name)) store.mark_modified(*steps);
}

/// By-name value, or the common one.
double value_for(const Json& update, const char* table, const std::string& name, double common) {
  const Json* by_name = update.find(table);
  return by_name ? by_name->get(name, common) : common;
}

/// Sums gradients over calls. Returns true when the sum is complete and stands in the slots.
bool accumulate(Session& session, const Plan& plan, const std::string& when, std::vector<ParameterSlot>& slots, Run& run) {
  Store& store = session.store;
  std::vector<float*> sums;
  for (const ParameterSlot& slot : slots) {
    const std::string name = "gradient/" + slot.name;
    if (!store.peek(name)) {
      if (when != "begin") fail_expected("ERR_REQUEST", "accumulate 'begin' first", "accumulate", "'" + when + "'");
      store.create(name, Storage::f32, store.peek(slot.name)->shape);
    }
    sums.push_back(array(store, plan, name));
    mark(store, plan, name);
  }
  if (plan.on_gpu()) session.gpu_optimizer.accumulate(slots, sums, when == "begin");
  else accumulate_gradients(slots, sums, when == "begin", plan.program().isa, run);
  for (size_t i = 0; i < slots.size(); ++i) {
    slots[i].gradient = sums[i];
    slots[i].indices = nullptr;
    slots[i].rows = slots[i].row_length = 0;
  }
  return when == "last";
}

}  // namespace

void reply_gradients(Reply& reply, const Plan& plan, const Json& wanted) {
  const bool all = wanted.kind() == Json::Kind::boolean;
  if (all && !wanted.as_bool()) return;
  std::set<std::string> names;
  if (!all)
    for (const std::string& name : wanted.as_strings()) names.insert(name);
  Json list = Json::array();
  for (const ParameterGradient& g : plan.program().gradients) {
    const Value& parameter = plan.value(g.parameter);
    if (!all && !names.count(parameter.name)) continue;
    const size_t bytes = physical_bytes(parameter);
    Memory memory(std::max<size_t>(bytes, 1), nullptr, true);
    if (g.indices == kNone)
      plan.read(g.value, memory.data(), bytes);
    else
      scatter(plan, g, memory.as<float>());
    Json row = Json::object();
    row.set("name", parameter.name).set("dtype", "f32").set("shape", parameter.shape);
    list.push(std::move(row));
    reply.buffers.emplace_back(std::move(memory));
    reply.buffers.back().size = bytes;
  }
  reply.json.set("gradients", std::move(list));
}

Json update_parameters(Session& session, const Plan& plan, const Json& update, const JobContext& context) {
  Store& store = session.store;
  const Program& program = plan.program();
  PoolRun run(context);
  const OptimizerSettings settings = settings_of(update);
  std::vector<ParameterSlot> slots;
  for (const ParameterGradient& g : program.gradients) slots.push_back(slot_of(store, plan, g));

  if (plan.on_gpu()) session.gpu_optimizer.densify(slots);
  const std::string when = update.get("accumulate", "");
  if (!when.empty() && !accumulate(session, plan, when, slots, run)) return Json();
  Json norm;
  double scale = 1;
  if (const double limit = update.get("clipNorm", 0.0); limit > 0) {
    const double size = plan.on_gpu() ? session.gpu_optimizer.clip(slots, limit) : gradient_norm(slots, program.isa, run);
    if (!std::isfinite(size)) fail_expected("ERR_LOSS_NOT_FINITE", "finite numbers", "the gradients", "a norm of " + std::to_string(size));
    scale = clip_factor(size, limit);
    norm = size;
  }
  const double rate = update.get("learningRate", 0.0), decay = update.get("weightDecay", 0.0);
  const Json* l2sp = update.find("l2sp");
  const std::string prefix = l2sp ? l2sp->at("towards").as_string() : "";
  for (ParameterSlot& slot : slots) {
    attach_state(store, plan, settings, store.peek(slot.name)->shape, slot);
    slot.learning_rate = value_for(update, "rates", slot.name, rate);
    slot.weight_decay = value_for(update, "decays", slot.name, decay);
    if (l2sp && store.peek(prefix + slot.name)) slot.origin = array(store, plan, prefix + slot.name);
  }
  if (plan.on_gpu()) session.gpu_optimizer.update(settings, slots);
  else apply_update(settings, slots, scale, program.isa, run);
  for (const ParameterSlot& slot : slots) mark_updated(store, plan, slot);
  return norm;
}

}  // namespace thaw
