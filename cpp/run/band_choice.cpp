// Which stretches run in bands, and how high these are.
#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "ops/op.h"
#include "run/bands.h"
#include "run/pool.h"

namespace thaw {

namespace {

// Costs count bytes through memory; a thread moves some 20 GB/s. Measured on VGG-16, ResNet-50 and GoogLeNet.
constexpr double kBandCost = 64 << 10;  // what a band costs beside its work
constexpr double kHidden = 0.075;       // of the time of products: traffic goes by unseen
constexpr double kShort = 0.03;         // of a node's time: what is lost where it runs on few rows
constexpr double kLeast = 0.06;         // of the stretch's time: less is not worth the risk
constexpr double kBring = 1.75, kTake = 2.5;  // of what enters and leaves, which is copied
constexpr double kFits = 1.25;          // of the cache: rows that have been read may leave it
constexpr double kWeights = 0.5;        // of weights, which every band reads
constexpr size_t kMostNodes = 12;       // of a stretch: each adds to what is computed twice

/// Time of a convolution's products.
double work_of(const Json& attrs, const std::string& kernel, const Value& output, Isa isa) {
  const Shape weight = attrs.at("weight_shape").as_ints();
  const double pixels = static_cast<double>(output.shape[2] * output.shape[3]);
  const double products = static_cast<double>(count(weight)) * pixels;
  if (!kernel.ends_with("bf16") || isa != Isa::amx || kernel.starts_with("depthwise"))
    return products / (kernel.starts_with("winograd") ? 10 : 4);
  // Few channels fill a step of 32 numbers with zeros.
  if (kernel.starts_with("narrow"))
    return static_cast<double>(weight[0] * weight[2] * ((weight[3] + 7) / 8) * 32) * pixels / 20;
  return products / 30;
}

double work_of(const Program& program, const Node& node) {
  if (std::string_view(node.op->name) != "conv2d") return 0;
  const Value& output = program.graph.values[node.outputs[0]];
  const Json* wide = node.attrs.find("expand");
  if (!wide) return work_of(node.attrs, node.attrs.at("kernel").as_string(), output, program.isa);
  const Json& deep = node.attrs.at("depthwise");
  return work_of(*wide, wide->at("kernel").as_string(), program.graph.values[node.inputs[0]], program.isa) +
         work_of(deep, deep.at("kernel").as_string(), output, program.isa);
}

/// What a node costs for one picture.
struct Cost {
  double traffic;  // bytes that it reads and writes
  double weights;  // bytes
  double work;     // the time of its products
  double saved;    // of the traffic, where none of it leaves the cache
  bool copies;     // what it reads, with zeros around it
};

class Chooser {
 public:
  Chooser(const Program& program, int64_t pictures, int threads)
      : program_(program), pictures_(pictures), threads_(threads), readers_(program.graph.readers()),
        cache_(static_cast<double>(second_level_cache())) {}

  /// Is node n one whose maps do not fit? Then it joins the run.
  bool add(size_t n) {
    std::optional<BandNode> band = band_node(program_, n, pictures_);
    if (!band) return false;
    const Node& node = program_.graph.nodes[n];
    const Traffic t = traffic_of(program_, n, pictures_);
    // Threads without a picture of their own share the map of one.
    const double caches = std::max(1.0, static_cast<double>(threads_) / static_cast<double>(pictures_));
    if (t.picture + std::min(t.weights, cache_ / 4) <= 0.75 * cache_ * caches) return false;
    const double work = work_of(program_, node);
    const bool winograd = band->window.multiple > 1;
    const bool copies = work > 0 && band->window.size > 1 && !winograd;
    // Winograd's transforms move pictures while nothing is multiplied. The cache keeps a part of maps little larger.
    const double seen = t.picture - (winograd ? 0 : kHidden * work), fits = 0.75 * cache_ / t.picture;
    run_.push_back(*std::move(band));
    costs_.push_back({t.picture, t.weights, work, std::max(0.0, seen * (1 - fits)), copies});
    return true;
  }

  /// Cuts the run into stretches that save most, and forgets it.
  void choose(std::vector<BandStretch>& stretches) {
    const size_t count = run_.size();
    std::vector<double> best(count + 1, 0.0);  // of the first nodes of the run
    std::vector<BandStretch> from(count + 1);  // that ends there; no rows: none
    for (size_t end = 1; end <= count; ++end) {
      best[end] = best[end - 1];
      for (size_t begin = end > kMostNodes ? end - kMostNodes : 0; begin + 1 < end; ++begin) {
        int64_t rows = 0;
        const double gain = gain_of(begin, end, rows);
        if (best[begin] + gain > best[end]) best[end] = best[begin] + gain, from[end] = {begin, end, rows};
      }
    }
    std::vector<BandStretch> found;
    for (size_t end = count; end > 0;) {
      const BandStretch s = from[end];
      if (s.rows == 0) {
        --end;
        continue;
      }
      found.push_back({static_cast<size_t>(run_[s.first].node), static_cast<size_t>(run_[end - 1].node) + 1, s.rows});
      end = s.first;
    }
    stretches.insert(stretches.end(), found.rbegin(), found.rend());
    run_.clear(), costs_.clear();
  }

 private:
  /// What bands save in the nodes begin … end-1 of the run, with the best height of a band.
  double gain_of(size_t begin, size_t end, int64_t& best_rows) const {
    if (!closed(begin, end)) return 0;
    double saved = 0;
    for (size_t i = begin; i < end; ++i) saved += costs_[i].saved;
    const int64_t height = run_[end - 1].height;
    double best = 0;
    int64_t before = 0;
    for (int64_t bands = 2; bands <= height; ++bands) {
      const int64_t even = (height + bands - 1) / bands;
      for (const int64_t rows : {even, (even + 3) / 4 * 4}) {
        if (even == before || rows >= height) continue;
        const double gain = saved - cost_of(begin, end, rows);
        if (gain > best && all_possible(begin, end, rows)) best = gain, best_rows = rows;
      }
      before = even;
    }
    return best;
  }

  /// Does nothing but the last node's output leave?
  bool closed(size_t begin, size_t end) const {
    for (size_t i = begin; i + 1 < end; ++i) {
      const ValueId v = run_[i].output;
      if (leaves_graph(program_.graph, v)) return false;
      for (NodeId n : readers_[v])
        if (n > run_[end - 1].node) return false;
    }
    return true;
  }

  bool all_possible(size_t begin, size_t end, int64_t height) const {
    const BandNode& result = run_[end - 1];
    for (int64_t row = 0; row < result.height; row += height)
      if (!band_rows(&run_[begin], &result + 1, {row, std::min(result.height, row + height)})) return false;
    return true;
  }

  double row_bytes(ValueId v) const {
    const Value& value = program_.graph.values[v];
    return static_cast<double>(physical_bytes(value)) / static_cast<double>(pictures_ * value.shape[2]);
  }

  /// Of bands of so many rows, all of one picture; infinite where they do not fit.
  double cost_of(size_t begin, size_t end, int64_t height) const {
    const BandNode& result = run_[end - 1];
    const int64_t all = result.height, bands = (all + height - 1) / height;
    // A band in the middle stands for all.
    const int64_t middle = bands / 2 * height;
    const auto rows = band_rows(&run_[begin], &result + 1, {middle, std::min(all, middle + height)});
    if (!rows) return HUGE_VAL;
    const double share = static_cast<double>(all) / static_cast<double>(rows->at(result.output).count());
    const double count = static_cast<double>(bands);
    double cost = kTake * row_bytes(result.output) * static_cast<double>(all), time = 0;
    for (size_t i = begin; i < end; ++i) {
      const BandNode& node = run_[i];
      const Cost& c = costs_[i];
      const auto bytes = [&](ValueId v) { return row_bytes(v) * static_cast<double>(rows->at(v).count()); };
      double live = std::min(c.weights, cache_ / 4) + bytes(node.output);
      for (ValueId v : node.pictures) {
        live += (c.copies ? 2 : 1) * bytes(v);
        if (!made_within(begin, i, v)) cost += kBring * bytes(v) * count;
      }
      if (live > kFits * cache_) return HUGE_VAL;
      const double made = static_cast<double>(rows->at(node.output).count());
      const double computed = made * share / static_cast<double>(node.height);
      cost += (std::max(0.0, computed - 1) + kShort) * (c.work + c.traffic / 4) + kWeights * c.weights * count;
      time += c.work + c.traffic;
    }
    const double tasks = count * static_cast<double>(pictures_), each = std::ceil(tasks / threads_);
    return cost + kBandCost * count + time * (kLeast + each * threads_ / tasks - 1);
  }

  bool made_within(size_t begin, size_t end, ValueId v) const {
    for (size_t i = begin; i < end; ++i)
      if (run_[i].output == v) return true;
    return false;
  }

  const Program& program_;
  const int64_t pictures_;
  const int threads_;
  const std::vector<std::vector<NodeId>> readers_;
  const double cache_;
  std::vector<BandNode> run_;  // neighbours whose maps do not fit
  std::vector<Cost> costs_;    // theirs
};

}  // namespace

std::vector<BandStretch> choose_bands(const Program& program, int64_t pictures, int threads) {
  std::vector<BandStretch> result;
  if (pictures < 1) return result;
  Chooser chooser(program, pictures, threads);
  for (size_t n = 0; n < program.graph.nodes.size(); ++n)
    if (!program.prepared[n] && !chooser.add(n)) chooser.choose(result);
  chooser.choose(result);
  return result;
}

}  // namespace thaw
