#include "run/depth_first.h"

#include <algorithm>
#include <set>

#include "ops/op.h"
#include "run/pool.h"

namespace thaw {

namespace {

bool fits(const Program& program, size_t n, int64_t pictures) {
  const Node& node = program.graph.nodes[n];
  if (!node.op->per_picture || program.prepared[n]) return false;
  return std::all_of(node.outputs.begin(), node.outputs.end(),
                     [&](ValueId v) { return per_picture(program, v, pictures); });
}

/// The cheapest way to give every node of a run of fitting nodes a group size, by dynamic programming over the sizes. In
/// training one of them is the whole batch: then nodes run one after the other, as ever.
class Chooser {
 public:
  Chooser(const Program& program, int64_t pictures, int threads) : program_(program), pictures_(pictures) {
    const int64_t most = (pictures + threads - 1) / threads;
    for (int64_t g = 1; g < most; g *= 2) sizes_.push_back(g);
    sizes_.push_back(most);
    if (!program.without_rows.empty() && most < pictures) sizes_.push_back(pictures);
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
    const bool training = !program_.without_rows.empty();
    std::erase_if(found, [&](const Stretch& stretch) { return training && stretch.group == pictures_; });
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

std::vector<Stretch> choose_stretches(const Program& program, int64_t pictures, int threads,
                                      const std::vector<bool>& taken) {
  std::vector<Stretch> result;
  // With fewer pictures than threads the threads share each node.
  if (pictures < 2 || pictures < threads) return result;
  const Chooser chooser(program, pictures, threads);
  const size_t end = program.graph.nodes.size();
  for (size_t n = 0; n < end;) {
    // Prepared nodes run before and interrupt nothing.
    size_t last = n, next = n;
    for (; next < end && (program.prepared[next] || (!taken[next] && fits(program, next, pictures))); ++next)
      if (!program.prepared[next]) last = next + 1;
    while (n < last && program.prepared[n]) ++n;
    if (last > n + 1) chooser.choose(n, last, result);
    n = next + 1;
  }
  return result;
}

GroupSegment::GroupSegment(const Stretch& stretch, const Program& whole, int64_t pictures,
                           const std::function<std::shared_ptr<Lowered>(int64_t)>& make)
    : Segment(stretch.first, stretch.last, whole),
      pictures_(pictures),
      groups_((pictures + stretch.group - 1) / stretch.group) {
  const std::vector<Value>& values = whole.graph.values;
  row_bytes_.assign(values.size(), 0);
  for (size_t v = 0; v < values.size(); ++v)
    if (per_picture(whole, static_cast<ValueId>(v), pictures_))
      row_bytes_[v] = physical_bytes(values[whole.graph.home(static_cast<ValueId>(v))]) / static_cast<size_t>(pictures_);
  for (const int64_t size : std::set<int64_t>{pictures / groups_, (pictures + groups_ - 1) / groups_}) {
    std::shared_ptr<Lowered> lowered = make(size);
    sound_ = sound_ && lowered;
    if (!sound_) return;
    sizes_.push_back(make_size(std::move(lowered), [&](ValueId v) { return is_local(v); }));
  }
}

// The smaller size comes first.
const Segment::Size& GroupSegment::size_of(int64_t task) const {
  return begin_of(task + 1) - begin_of(task) == pictures_ / groups_ ? sizes_.front() : sizes_.back();
}

void GroupSegment::bring(int64_t task, const std::vector<void*>& plan, Part& part) const {
  for (size_t v = 0; v < row_bytes_.size(); ++v)
    if (plan[v] && !is_local(static_cast<ValueId>(v)))
      part.pointers[v] = static_cast<char*>(plan[v]) + static_cast<size_t>(begin_of(task)) * row_bytes_[v];
}

}  // namespace thaw
