// Running a plan: bind memory, bring prepared values up to date, run the nodes in order.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "ops/op.h"
#include "run/plan.h"
#include "run/pool_run.h"

namespace thaw {

class Plan::Execution final : public PoolRun {
 public:
  Execution(const Plan& plan, const RandomState& random, const JobContext& context)
      : PoolRun(context, random), plan_(plan) {}
  void* at(int32_t buffer) const override { return buffer == kNone ? nullptr : plan_.pointers_[buffer]; }
  const int64_t* samples() const override {
    return plan_.on_gpu() ? plan_.samples_.as<int64_t>() : PoolRun::samples();
  }
  void fetch(void* to, int32_t buffer, size_t offset, size_t bytes) const override {
    copy_out(plan_.on_gpu(), to, static_cast<const char*>(at(buffer)) + offset, bytes);
  }

 protected:
  void parallel_erased(int64_t tasks, size_t scratch, void (*call)(const void*, int64_t, void*), const void* body) override {
    if (plan_.on_gpu()) fail_expected("ERR_INTERNAL", "a launch on the GPU", "a node", "tasks for the processor");
    PoolRun::parallel_erased(tasks, scratch, call, body);
  }

 private:
  const Plan& plan_;
};

namespace {

void check_binding(const Value& value, const Binding& input) {
  const std::string subject = "input '" + value.name + "'";
  if (!input.data) fail_expected("ERR_INPUT", "data", subject, "none");
  if (input.bytes != physical_bytes(value))
    fail_expected("ERR_INPUT", std::to_string(physical_bytes(value)) + " bytes (" + dtype_name(value.dtype) + " " +
                  to_string(value.shape) + ")", subject, std::to_string(input.bytes) + " bytes");
}

}  // namespace

void Plan::bind_memory(Store& store) {
  const Graph& graph = program().graph;
  char* arena = Arena::of(device_).memory(arena_bytes_);
  for (size_t b = places_.size(); b < pointers_.size(); ++b)
    pointers_[b] = whole_.is_table(b) ? whole_.extras[b - places_.size()].table.data() : arena + offsets_[b];
  const bool changed = store.version() != store_version_;
  for (size_t v = 0; v < places_.size(); ++v) {
    if (places_[v] == Place::none) pointers_[v] = nullptr;
    else if (places_[v] != Place::store) pointers_[v] = arena + offsets_[v];
    else if (changed) pointers_[v] = on_gpu() ? store.on_gpu(graph.values[v].name) : store.compute(graph.values[v].name);
  }
  if (on_gpu()) bind_tables(store.account());
  take_kept(store);
  for (auto& [v, entry] : kept_) pointers_[v] = entry->data;
}

void Plan::bind_tables(const std::shared_ptr<Account>& account) {
  const size_t values = places_.size();
  const bool fresh = tables_.empty();
  if (fresh) {
    size_t bytes = 0;
    for (const Lowered::Extra& extra : whole_.extras)
      if (!extra.table.empty()) bytes += padded_bytes(extra.bytes);
    tables_ = Memory::on_gpu(bytes, account);
  }
  char* next = tables_.as<char>();
  for (size_t e = 0; e < whole_.extras.size(); ++e) {
    const Lowered::Extra& extra = whole_.extras[e];
    if (extra.table.empty()) continue;
    if (fresh && extra.bytes > 0) copy_in(true, next, extra.table.data(), extra.bytes);
    pointers_[values + e] = next;
    next += padded_bytes(extra.bytes);
  }
}

void Plan::bind_samples(const std::vector<int64_t>& samples, const std::shared_ptr<Account>& account) {
  const size_t bytes = samples.size() * sizeof(int64_t);
  if (samples_.size() < bytes || samples_.empty()) samples_ = Memory::on_gpu(bytes, account);
  if (bytes > 0) copy_in(true, samples_.data(), samples.data(), bytes);
}

// One block for all that is prepared: it is large enough for huge pages, each weight alone often is not, and a forward pass
// reads most of them once, page after page.
void Plan::take_kept(Store& store) {
  const Graph& graph = program().graph;
  size_t bytes = 0;
  for (auto& [v, entry] : kept_)
    if (!entry->data) bytes += padded_bytes(physical_bytes(graph.values[v]));
  if (bytes == 0) return;
  const auto block = std::make_shared<Memory>(on_gpu() ? Memory::on_gpu(bytes, store.account()) : Memory(bytes, store.account()));
  char* next = block->as<char>();
  for (auto& [v, entry] : kept_) {
    if (entry->data) continue;
    entry->block = block;
    entry->data = next;
    next += padded_bytes(physical_bytes(graph.values[v]));
  }
}

void Plan::bind_inputs(const std::vector<Binding>& inputs, const Options& options) {
  const auto scale = static_cast<float>(options.loss_scale);
  if (program().loss_scale != kNone) copy_in(on_gpu(), pointers_[program().loss_scale], &scale, sizeof(scale));
  if (staged(options.staged)) {
    std::vector<void*> places;
    for (ValueId v : program().inputs) places.push_back(pointers_[v]);
    return staging_.take(places);
  }
  for (size_t i = 0; i < program().inputs.size(); ++i) {
    const ValueId v = program().inputs[i];
    check_binding(value(v), inputs.at(i));
    if (on_gpu()) {
      copy_in(true, pointers_[v], inputs[i].data, inputs[i].bytes);
      continue;
    }
    // Kernels rely on aligned memory, but for those that bring pictures into blocks; what lies elsewhere is copied.
    if (any_alignment_[i] || reinterpret_cast<uintptr_t>(inputs[i].data) % 64 == 0)
      pointers_[v] = const_cast<void*>(inputs[i].data);
    else
      std::memcpy(pointers_[v], inputs[i].data, inputs[i].bytes);
  }
}

void Plan::stage(int64_t ticket, const std::vector<Binding>& inputs, const std::shared_ptr<Account>& account, int threads) {
  for (size_t i = 0; i < program().inputs.size(); ++i) check_binding(value(program().inputs[i]), inputs.at(i));
  staging_.bring(ticket, inputs, account, threads);
}

void Plan::run_node(size_t n, Run& run, bool profile) {
  const auto begin = std::chrono::steady_clock::now();
  const auto time = static_cast<int32_t>(2 * n);
  if (profile && on_gpu()) gpu::check(gpu::backend().note_time(time));
  for (const Lowered::Step& step : whole_.steps[n]) step(run);
  if (profile && on_gpu()) gpu::check(gpu::backend().note_time(time + 1));
  else if (profile) profile_[n] += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

void Plan::refresh_prepared(Store& store, Run& run, const JobContext& context) {
  // Another plan that shares an entry may have been stopped while it made it.
  const auto made = [](const auto& kept) { return !kept.second->versions.empty(); };
  if (store.version() == store_version_ && std::all_of(kept_.begin(), kept_.end(), made)) return;
  std::vector<bool> wanted(program().graph.nodes.size(), false);
  std::vector<std::pair<Prepared*, std::vector<uint64_t>>> stale;
  for (auto& [v, entry] : kept_) {
    std::vector<uint64_t> versions;
    for (const std::string& source : entry->sources) versions.push_back(store.version(source));
    if (!entry->versions.empty() && entry->versions == versions) continue;
    // A value without sources (a constant) is made once.
    if (versions.empty()) versions.push_back(0);
    if (entry->versions == versions) continue;
    for (NodeId n : ancestors_[v]) wanted[n] = true;
    entry->versions.clear();
    stale.emplace_back(entry.get(), std::move(versions));
  }
  for (size_t n = 0; n < wanted.size(); ++n) {
    if (!wanted[n]) continue;
    context.check();
    run_node(n, run, !profile_.empty());
  }
  // Only now: a cancelled run leaves them stale.
  for (auto& [entry, versions] : stale) entry->versions = std::move(versions);
  store_version_ = store.version();
}

void Plan::run(Store& store, const std::vector<Binding>& inputs, const Options& options, const JobContext& context) {
  bind_memory(store);
  if (on_gpu()) bind_samples(options.random.samples, store.account());
  Execution execution(*this, options.random, context);
  profile_.assign(options.profile ? whole_.steps.size() : 0, 0.0);
  refresh_prepared(store, execution, context);
  // After preparing, which uses the same memory.
  bind_inputs(inputs, options);
  if (on_gpu() && !options.profile) {
    recording_->run(pointers_, [&](size_t n) { run_node(n, execution, false); });
  } else {
    run_nodes(execution, options, context);
  }
  if (on_gpu() && options.meanwhile) options.meanwhile();
  if (on_gpu()) gpu::check(gpu::backend().wait());
  if (on_gpu() && options.profile) read_times();
  for (const Lowered::Step& look : whole_.checks) look(execution);
}

void Plan::read_times() {
  for (size_t n = 0; n < profile_.size(); ++n) {
    float ms = 0;
    if (!program().prepared[n]) gpu::check(gpu::backend().between(static_cast<int32_t>(2 * n), static_cast<int32_t>(2 * n + 1), &ms));
    profile_[n] = ms;
  }
}

void Plan::run_nodes(Run& run, const Options& options, const JobContext& context) {
  auto segment = segments_.begin();
  for (size_t n = 0; n < whole_.steps.size();) {
    context.check();
    if (segment != segments_.end() && (*segment)->first() == n) {
      (*segment)->run(pointers_, options.random, context, options.profile ? &profile_ : nullptr);
      n = (*segment++)->last();
      continue;
    }
    if (!program().prepared[n]) run_node(n, run, options.profile);
    ++n;
  }
}

std::vector<double> Plan::losses() const {
  std::vector<double> result;
  for (const Loss& loss : program().graph.losses) {
    float value = 0;
    read(loss.value, &value, sizeof(value));
    result.push_back(value);
  }
  return result;
}

void Plan::commit_states(Store& store) {
  for (const StateUpdate& update : program().graph.updates) {
    const Value& state = program().graph.values[update.state];
    if (on_gpu()) {
      Tensor& tensor = *store.peek(state.name);
      gpu::check(gpu::backend().copy(store.on_gpu(tensor), pointers_[update.value], physical_bytes(state)));
      store.mark_modified_on_gpu(tensor);
      continue;
    }
    Tensor& tensor = store.at(state.name);
    std::memcpy(store.compute(tensor), pointers_[update.value], physical_bytes(state));
    store.mark_modified(tensor);
  }
}

}  // namespace thaw
