#include "optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "error.h"
#include "kernels/optim.h"

namespace thaw {

namespace {

constexpr int64_t kStretch = 8192;  // elements of a task: 32 KiB, so that a row gradient's stretch stays cached

/// For each row of the weight the rows of the gradient that belong to it, in order.
struct RowMap {
  std::vector<int64_t> first;  // [weight rows + 1]
  std::vector<int32_t> member;
};

RowMap map_rows(const ParameterSlot& slot) {
  const int64_t weight_rows = slot.count / slot.row_length;
  RowMap map;
  map.first.assign(static_cast<size_t>(weight_rows) + 1, 0);
  const auto counts = [&](int64_t i) { return slot.indices[i] >= 0 && slot.indices[i] < weight_rows; };
  for (int64_t i = 0; i < slot.rows; ++i) {
    if (counts(i)) ++map.first[slot.indices[i] + 1];
  }
  for (int64_t r = 0; r < weight_rows; ++r) map.first[r + 1] += map.first[r];
  map.member.resize(map.first.back());
  std::vector<int64_t> next(map.first.begin(), map.first.end() - 1);
  for (int64_t i = 0; i < slot.rows; ++i) {
    if (counts(i)) map.member[next[slot.indices[i]]++] = static_cast<int32_t>(i);
  }
  return map;
}

/// The slots cut into stretches of elements, and the gradient of each stretch.
class Stretches {
 public:
  Stretches(const std::vector<ParameterSlot>& slots, Isa isa) : slots_(slots), kernels_(optim_kernels(isa)) {
    for (size_t s = 0; s < slots.size(); ++s) {
      maps_.push_back(slots[s].indices ? map_rows(slots[s]) : RowMap{});
      for (int64_t begin = 0; begin < slots[s].count; begin += kStretch) {
        parts_.push_back({s, begin, std::min(kStretch, slots[s].count - begin)});
      }
    }
  }

  struct Part {
    size_t slot;
    int64_t begin, count;
  };

  /// Calls body(part index, part, its dense gradient) on the threads of the run.
  template <class Body>
  void each(Run& run, const Body& body) const {
    run.parallel(static_cast<int64_t>(parts_.size()), kStretch * sizeof(float), [&](int64_t task, void* scratch) {
      const Part& part = parts_[task];
      body(task, part, gradient(part, static_cast<float*>(scratch)));
    });
  }
  size_t size() const { return parts_.size(); }

 private:
  const float* gradient(const Part& part, float* scratch) const {
    const ParameterSlot& slot = slots_[part.slot];
    if (!slot.indices) return slot.gradient + part.begin;
    std::memset(scratch, 0, static_cast<size_t>(part.count) * sizeof(float));
    const RowMap& map = maps_[part.slot];
    const int64_t end = part.begin + part.count;
    for (int64_t row = part.begin / slot.row_length; row * slot.row_length < end; ++row) {
      const int64_t from = std::max(part.begin, row * slot.row_length);
      const int64_t to = std::min(end, (row + 1) * slot.row_length);
      for (int64_t m = map.first[row]; m < map.first[row + 1]; ++m) {
        const float* x = slot.gradient + map.member[m] * slot.row_length + (from - row * slot.row_length);
        kernels_.add({x, scratch + (from - part.begin), to - from});
      }
    }
    return scratch;
  }

  const std::vector<ParameterSlot>& slots_;
  const OptimKernels& kernels_;
  std::vector<RowMap> maps_;
  std::vector<Part> parts_;
};

template <class T>
T* offset(T* p, int64_t by) { return p ? p + by : nullptr; }

}  // namespace

SgdUpdate sgd_factors(const OptimizerSettings& settings, const ParameterSlot& slot, double scale) {
  SgdUpdate a = {};
  a.scale = static_cast<float>(scale);
  a.rate = static_cast<float>(slot.learning_rate);
  a.decay = static_cast<float>(slot.weight_decay);
  a.momentum = static_cast<float>(settings.momentum);
  a.nesterov = settings.nesterov;
  return a;
}

AdamUpdate adam_factors(const OptimizerSettings& settings, const ParameterSlot& slot, double scale) {
  const double steps = static_cast<double>(*slot.steps);
  const bool decoupled = settings.kind == OptimizerKind::adamw;
  AdamUpdate a = {};
  a.scale = static_cast<float>(scale);
  a.decay = decoupled ? 0.0f : static_cast<float>(slot.weight_decay);
  a.shrink = decoupled ? static_cast<float>(slot.learning_rate * slot.weight_decay) : 0.0f;
  a.beta1 = static_cast<float>(settings.beta1);
  a.rest1 = static_cast<float>(1 - settings.beta1);
  a.beta2 = static_cast<float>(settings.beta2);
  a.rest2 = static_cast<float>(1 - settings.beta2);
  a.step = static_cast<float>(slot.learning_rate / (1 - std::pow(settings.beta1, steps)));
  a.root = static_cast<float>(std::sqrt(1 - std::pow(settings.beta2, steps)));
  a.eps = static_cast<float>(settings.eps);
  return a;
}

namespace {

void apply_sgd(const OptimizerSettings& settings, const std::vector<ParameterSlot>& slots, double scale,
               const OptimKernels& kernels, const Stretches& stretches, Run& run) {
  stretches.each(run, [&](int64_t, const Stretches::Part& part, const float* gradient) {
    const ParameterSlot& slot = slots[part.slot];
    SgdUpdate a = sgd_factors(settings, slot, scale);
    a.weight = slot.weight + part.begin;
    a.gradient = gradient;
    a.origin = offset(slot.origin, part.begin);
    a.momentum_sum = settings.momentum != 0 ? offset(slot.momentum, part.begin) : nullptr;
    a.count = part.count;
    kernels.sgd(a);
  });
}

void apply_adam(const OptimizerSettings& settings, const std::vector<ParameterSlot>& slots, double scale,
                const OptimKernels& kernels, const Stretches& stretches, Run& run) {
  for (const ParameterSlot& slot : slots) ++*slot.steps;
  stretches.each(run, [&](int64_t, const Stretches::Part& part, const float* gradient) {
    const ParameterSlot& slot = slots[part.slot];
    AdamUpdate a = adam_factors(settings, slot, scale);
    a.weight = slot.weight + part.begin;
    a.gradient = gradient;
    a.origin = offset(slot.origin, part.begin);
    a.first = slot.first + part.begin;
    a.second = slot.second + part.begin;
    a.count = part.count;
    kernels.adam(a);
  });
}

}  // namespace

OptimizerKind optimizer_from(const std::string& name) {
  if (name == "sgd") return OptimizerKind::sgd;
  if (name == "adam") return OptimizerKind::adam;
  if (name == "adamw") return OptimizerKind::adamw;
  fail_expected("ERR_REQUEST", "sgd, adam or adamw", "the optimizer", "'" + name + "'");
}

double gradient_norm(const std::vector<ParameterSlot>& slots, Isa isa, Run& run) {
  const Stretches stretches(slots, isa);
  std::vector<double> sums(stretches.size());
  const OptimKernels& kernels = optim_kernels(isa);
  stretches.each(run, [&](int64_t task, const Stretches::Part& part, const float* gradient) {
    sums[task] = kernels.square_sum({gradient, nullptr, part.count});
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

double clip_factor(double norm, double limit) { return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0; }

void apply_update(const OptimizerSettings& settings, const std::vector<ParameterSlot>& slots, double scale, Isa isa,
                  Run& run) {
  const Stretches stretches(slots, isa);
  const auto apply = settings.kind == OptimizerKind::sgd ? apply_sgd : apply_adam;
  apply(settings, slots, scale, optim_kernels(isa), stretches, run);
}

void accumulate_gradients(const std::vector<ParameterSlot>& slots, const std::vector<float*>& sums, bool begin, Isa isa,
                          Run& run) {
  const Stretches stretches(slots, isa);
  const OptimKernels& kernels = optim_kernels(isa);
  stretches.each(run, [&](int64_t, const Stretches::Part& part, const float* gradient) {
    float* sum = sums[part.slot] + part.begin;
    if (begin) std::memcpy(sum, gradient, static_cast<size_t>(part.count) * sizeof(float));
    else kernels.add({gradient, sum, part.count});
  });
}

}  // namespace thaw
