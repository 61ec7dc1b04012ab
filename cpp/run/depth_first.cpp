#include "run/depth_first.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <set>

#include "ops/op.h"
#include "run/pool.h"

namespace thaw {

namespace {

/// Has v a row for each picture?
bool per_picture(const Program& program, ValueId v, int64_t pictures) {
  const Value& value = program.graph.values[v];
  if (value.role == Role::parameter || value.role == Role::state) return false;
  if (value.producer != kNone && program.prepared[value.producer]) return false;
  return !value.shape.empty() && value.shape[0] == pictures;
}

bool fits(const Program& program, size_t n, int64_t pictures) {
  const Node& node = program.graph.nodes[n];
  if (!node.op->per_picture || program.prepared[n]) return false;
  return std::all_of(node.outputs.begin(), node.outputs.end(),
                     [&](ValueId v) { return per_picture(program, v, pictures); });
}

/// A concatenation that its operands' producers have written.
bool is_in_place(const Node& node) {
  return node.op->name == std::string_view("concat") && node.attrs.get("kernel", "") == "in place";
}

/// Bytes of one picture that a node reads and writes, and of everything else that it reads.
struct Traffic {
  double picture = 0, weights = 0;
};

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

/// The cheapest way to give every node of a run of fitting nodes a group size, by dynamic programming over the sizes.
class Chooser {
 public:
  Chooser(const Program& program, int64_t pictures, int threads) : program_(program), pictures_(pictures) {
    const int64_t most = (pictures + threads - 1) / threads;
    for (int64_t g = 1; g < most; g *= 2) sizes_.push_back(g);
    sizes_.push_back(most);
  }

  void choose(size_t first, size_t last, std::vector<Stretch>& stretches) const {
    const size_t count = last - first;
    std::vector<std::vector<double>> cost(count, std::vector<double>(sizes_.size()));
    std::vector<std::vector<size_t>> from = std::vector<std::vector<size_t>>(count, std::vector<size_t>(sizes_.size()));
    for (size_t i = 0; i < count; ++i) {
      const double change = i ? border(first + i) : 0;
      for (size_t s = 0; s < sizes_.size(); ++s) {
        double best = i ? cost[i - 1][s] : 0;
        from[i][s] = s;
        for (size_t o = 0; i && o < sizes_.size(); ++o)
          if (cost[i - 1][o] + change < best) best = cost[i - 1][o] + change, from[i][s] = o;
        cost[i][s] = best + node_cost(first + i, sizes_[s]);
      }
    }
    size_t s = static_cast<size_t>(std::min_element(cost.back().begin(), cost.back().end()) - cost.back().begin());
    std::vector<Stretch> found;
    for (size_t i = count; i-- > 0; s = from[i][s]) {
      if (!found.empty() && found.back().group == sizes_[s]) found.back().first = first + i;
      else found.push_back({first + i, first + i + 1, sizes_[s]});
    }
    stretches.insert(stretches.end(), found.rbegin(), found.rend());
  }

 private:
  double node_cost(size_t n, int64_t group) const {
    const Traffic t = traffic_of(program_, n, pictures_);
    const double g = static_cast<double>(group), cache = 0.75 * static_cast<double>(second_level_cache());
    return t.weights / g + (t.picture * g + std::min(t.weights, cache / 4) > cache ? t.picture : 0);
  }
  /// What lives across the border before node n is written to memory and read again.
  double border(size_t n) const {
    double bytes = 0;
    const std::vector<ValueId>& inputs = program_.graph.nodes[n].inputs;
    for (ValueId v : inputs)
      if (v != kNone && per_picture(program_, v, pictures_))
        bytes += 2.0 * static_cast<double>(physical_bytes(program_.graph.values[v])) / static_cast<double>(pictures_);
    return bytes;
  }

  const Program& program_;
  int64_t pictures_;
  std::vector<int64_t> sizes_;
};

}  // namespace

bool same_but_pictures(const Program& whole, int64_t pictures, const Program& group, int64_t group_pictures) {
  const Graph &a = whole.graph, &b = group.graph;
  if (a.nodes.size() != b.nodes.size() || a.values.size() != b.values.size()) return false;
  for (size_t n = 0; n < a.nodes.size(); ++n)
    if (a.nodes[n].op != b.nodes[n].op || a.nodes[n].inputs != b.nodes[n].inputs ||
        a.nodes[n].outputs != b.nodes[n].outputs)
      return false;
  for (size_t v = 0; v < a.values.size(); ++v) {
    Shape expected = a.values[v].shape;
    if (per_picture(whole, static_cast<ValueId>(v), pictures)) expected[0] = group_pictures;
    if (b.values[v].shape != expected || b.values[v].layout != a.values[v].layout) return false;
    if (b.values[v].whole != a.values[v].whole || b.values[v].whole_block != a.values[v].whole_block) return false;
  }
  return true;
}

std::vector<Stretch> choose_stretches(const Program& program, int64_t pictures, int threads) {
  std::vector<Stretch> result;
  // With fewer pictures than threads the threads share each node.
  if (pictures < 2 || pictures < threads) return result;
  const Chooser chooser(program, pictures, threads);
  const size_t end = program.graph.nodes.size();
  for (size_t n = 0; n < end;) {
    // Prepared nodes run before and interrupt nothing.
    size_t last = n, next = n;
    for (; next < end && (program.prepared[next] || fits(program, next, pictures)); ++next)
      if (!program.prepared[next]) last = next + 1;
    while (n < last && program.prepared[n]) ++n;
    if (last > n + 1) chooser.choose(n, last, result);
    n = next + 1;
  }
  return result;
}

// ---- running ----------------------------------------------------------------------------------------------------

namespace {

/// A group's view: its own pointers, every task on this thread.
class GroupRun final : public Run {
 public:
  GroupRun(std::vector<void*> pointers, const RandomState& random, char* scratch, size_t bytes)
      : pointers_(std::move(pointers)), random_(random), scratch_(scratch), bytes_(bytes) {}
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
  std::vector<void*> pointers_;
  const RandomState& random_;
  char* scratch_;
  size_t bytes_;
};

}  // namespace

Segment::Segment(const Stretch& stretch, const Program& whole, int64_t pictures,
                 const std::function<std::shared_ptr<Lowered>(int64_t)>& make)
    : stretch_(stretch), pictures_(pictures), groups_((pictures + stretch.group - 1) / stretch.group) {
  find_local(whole);
  const auto within = [&](NodeId n) {
    return static_cast<size_t>(n) >= first() && static_cast<size_t>(n) < last() && !whole.prepared[n];
  };
  size_t buffers = 0;
  for (const int64_t size : std::set<int64_t>{pictures / groups_, (pictures + groups_ - 1) / groups_}) {
    Size made{size, make(size), {}};
    sound_ = sound_ && made.lowered;
    if (!sound_) return;
    for (size_t n = first(); n < last(); ++n)
      if (!whole.prepared[n]) made.lowered->lower(n);
    made.offsets.assign(made.lowered->buffers(), 0);
    std::vector<Interval> intervals = made.lowered->intervals([&](ValueId v) { return local_[v]; }, within);
    buffers = std::max(buffers, place(intervals));
    made.lowered->set_offsets(intervals, made.offsets);
    scratch_ = std::max(scratch_, made.lowered->scratch);
    sizes_.push_back(std::move(made));
  }
  bytes_ = padded_bytes(buffers) + padded_bytes(scratch_);
}

void Segment::find_local(const Program& whole) {
  const Graph& graph = whole.graph;
  local_.assign(graph.values.size(), false);
  row_bytes_.assign(graph.values.size(), 0);
  for (size_t v = 0; v < local_.size(); ++v)
    if (per_picture(whole, static_cast<ValueId>(v), pictures_))
      row_bytes_[v] = physical_bytes(graph.values[graph.home(static_cast<ValueId>(v))]) / static_cast<size_t>(pictures_);
  for (size_t n = first(); n < last(); ++n)
    if (!whole.prepared[n])
      for (ValueId v : graph.nodes[n].outputs) local_[v] = !leaves_graph(graph, v);
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (n < first() || n >= last())
      for (ValueId v : graph.nodes[n].inputs)
        if (v != kNone) local_[v] = false;
  // Parts of one value lie where it lies.
  std::vector<bool> shared(local_.size(), false);
  for (size_t v = 0; v < local_.size(); ++v)
    if (!local_[v]) shared[graph.home(static_cast<ValueId>(v))] = true;
  for (size_t v = 0; v < local_.size(); ++v) local_[v] = !shared[graph.home(static_cast<ValueId>(v))];
}

void Segment::run(const std::vector<void*>& pointers, const RandomState& random, const JobContext& context,
                  std::vector<double>* profile) const {
  std::mutex mutex;
  Pool::shared().parallel(groups_, bytes_, [&](int64_t g, void* memory) {
    const int64_t begin = pictures_ * g / groups_, count = pictures_ * (g + 1) / groups_ - begin;
    const Size& size = sizes_[0].pictures == count ? sizes_[0] : sizes_[1];
    std::vector<double> times(profile ? profile->size() : 0, 0.0);
    run_group(size, begin, pointers, static_cast<char*>(memory), random, context, profile ? &times : nullptr);
    const std::lock_guard lock(mutex);
    const double threads = static_cast<double>(std::min<int64_t>(groups_, Pool::shared().threads()));
    for (size_t n = 0; n < times.size(); ++n) (*profile)[n] += times[n] / threads;
  }, context.threads);
}

void Segment::run_group(const Size& size, int64_t begin, const std::vector<void*>& pointers, char* memory,
                        const RandomState& random, const JobContext& context, std::vector<double>* profile) const {
  const size_t values = local_.size();
  std::vector<void*> mine(size.lowered->buffers());
  for (size_t v = 0; v < mine.size(); ++v) {
    if (size.lowered->is_table(v)) mine[v] = size.lowered->extras[v - values].table.data();
    else if (v >= values || local_[v]) mine[v] = memory + size.offsets[v];
    else if (pointers[v]) mine[v] = static_cast<char*>(pointers[v]) + static_cast<size_t>(begin) * row_bytes_[v];
  }
  GroupRun run(std::move(mine), random, memory + bytes_ - padded_bytes(scratch_), scratch_);
  for (size_t n = first(); n < last(); ++n) {
    context.check();
    const auto started = std::chrono::steady_clock::now();
    for (const Lowered::Step& step : size.lowered->steps[n]) step(run);
    if (profile)
      (*profile)[n] += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started).count();
  }
}

}  // namespace thaw
