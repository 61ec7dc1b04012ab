#include "run/segment.h"

#include <algorithm>
#include <chrono>
#include <mutex>

#include "ops/op.h"
#include "run/pool.h"

namespace thaw {

namespace {

/// A part's view: its own pointers, every task on this thread.
class PartRun final : public Run {
 public:
  PartRun(const std::vector<void*>& pointers, const RandomState& random, char* scratch, size_t bytes)
      : pointers_(pointers), random_(random), scratch_(scratch), bytes_(bytes) {}
  void* at(int32_t buffer) const override { return buffer == kNone ? nullptr : pointers_[buffer]; }
  const RandomState& random() const override { return random_; }

 protected:
  void parallel_erased(int64_t tasks, size_t scratch, void (*call)(const void*, int64_t, void*),
                       const void* body) override {
    // What a launch did not announce is taken for it.
    const Memory more = scratch > bytes_ ? Memory(scratch) : Memory();
    for (int64_t task = 0; task < tasks; ++task) call(body, task, scratch > bytes_ ? more.data() : scratch_);
  }

 private:
  const std::vector<void*>& pointers_;
  const RandomState& random_;
  char* scratch_;
  size_t bytes_;
};

/// A concatenation that its operands' producers have written.
bool is_in_place(const Node& node) {
  return node.op->name == std::string_view("concat") && node.attrs.get("kernel", "") == "in place";
}

}  // namespace

bool per_picture(const Program& program, ValueId v, int64_t pictures) {
  const Value& value = program.graph.values[v];
  if (value.role == Role::parameter || value.role == Role::state) return false;
  if (value.producer != kNone && program.prepared[value.producer]) return false;
  if (!program.without_rows.empty() && program.without_rows[v]) return false;
  return !value.shape.empty() && value.shape[0] == pictures;
}

Traffic traffic_of(const Program& program, size_t n, int64_t pictures) {
  Traffic t;
  const Node& node = program.graph.nodes[n];
  if (is_in_place(node)) return t;
  const auto add = [&](ValueId v) {
    if (v == kNone) return;
    const double bytes = static_cast<double>(physical_bytes(program.graph.values[v]));
    if (per_picture(program, v, pictures)) t.picture += bytes / static_cast<double>(pictures);
    else t.weights += bytes;
  };
  for (ValueId v : node.inputs) add(v);
  for (ValueId v : node.outputs) add(v);
  return t;
}

Segment::Segment(size_t first, size_t last, const Program& whole) : first_(first), last_(last) {
  const Graph& graph = whole.graph;
  local_.assign(graph.values.size(), false);
  for (size_t n = first; n < last; ++n)
    if (!whole.prepared[n])
      for (ValueId v : graph.nodes[n].outputs) local_[v] = !leaves_graph(graph, v);
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (n < first || n >= last)
      for (ValueId v : graph.nodes[n].inputs)
        if (v != kNone) local_[v] = false;
  for (const ParameterGradient& g : whole.gradients) local_[g.value] = false;
  // Parts of one value lie where it lies.
  std::vector<bool> shared(local_.size(), false);
  for (size_t v = 0; v < local_.size(); ++v)
    if (!local_[v]) shared[graph.home(static_cast<ValueId>(v))] = true;
  for (size_t v = 0; v < local_.size(); ++v) local_[v] = !shared[graph.home(static_cast<ValueId>(v))];
}

Segment::Size Segment::make_size(std::shared_ptr<Lowered> lowered, const std::function<bool(ValueId)>& inside) {
  const std::vector<bool>& prepared = lowered->program.prepared;
  const auto within = [&](NodeId n) {
    return static_cast<size_t>(n) >= first_ && static_cast<size_t>(n) < last_ && !prepared[n];
  };
  for (size_t n = first_; n < last_; ++n)
    if (!prepared[n]) lowered->lower(n);
  Size size{lowered, std::vector<size_t>(lowered->buffers(), 0)};
  std::vector<Interval> intervals = lowered->intervals(inside, within);
  buffers_ = std::max(buffers_, place(intervals));
  lowered->set_offsets(intervals, size.offsets);
  scratch_ = std::max(scratch_, lowered->scratch);
  return size;
}

void Segment::take(int64_t, const std::vector<void*>&, const Part&) const {}

void Segment::run(const std::vector<void*>& pointers, const RandomState& random, const JobContext& context,
                  std::vector<double>* profile) const {
  std::mutex mutex;
  Pool::shared().parallel(tasks(), bytes(), [&](int64_t task, void* memory) {
    std::vector<double> times(profile ? profile->size() : 0, 0.0);
    Part part{size_of(task), {}, static_cast<char*>(memory), random, context, profile ? &times : nullptr};
    run_task(task, pointers, part);
    const std::lock_guard lock(mutex);
    const double threads = static_cast<double>(std::min<int64_t>(tasks(), Pool::shared().threads()));
    for (size_t n = 0; n < times.size(); ++n) (*profile)[n] += times[n] / threads;
  }, context.threads);
}

void Segment::run_task(int64_t task, const std::vector<void*>& plan, Part& part) const {
  const Lowered& lowered = *part.size.lowered;
  const size_t values = local_.size();
  // Other stretches may have added launches to the same program since.
  part.pointers.assign(part.size.offsets.size(), nullptr);
  for (size_t b = 0; b < part.pointers.size(); ++b) {
    if (lowered.is_table(b)) part.pointers[b] = lowered.extras[b - values].table.data();
    else if (b >= values || local_[b]) part.pointers[b] = part.memory + part.size.offsets[b];
    else part.pointers[b] = plan[b];
  }
  auto started = std::chrono::steady_clock::now();
  bring(task, plan, part);
  PartRun run(part.pointers, part.random, part.memory + padded_bytes(buffers_), scratch_);
  for (size_t n = first_; n < last_; ++n) {
    part.context.check();
    for (const Lowered::Step& step : lowered.steps[n]) step(run);
    if (n + 1 == last_) take(task, plan, part);
    if (!part.profile) continue;
    const auto ended = std::chrono::steady_clock::now();
    (*part.profile)[n] += std::chrono::duration<double, std::milli>(ended - started).count();
    started = ended;
  }
}

}  // namespace thaw
