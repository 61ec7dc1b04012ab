#include "optim/optimizer_gpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/embedding.h"
#include "kernels/optim.h"

namespace thaw {

namespace {

const GpuOptimKernels& kernels() { return *static_cast<const GpuOptimKernels*>(gpu_table("optim_gpu")); }

GpuSlot gpu_slot(const OptimizerSettings& settings, const ParameterSlot& slot) {
  GpuSlot s = {};
  s.weight = slot.weight, s.gradient = slot.gradient, s.origin = slot.origin, s.count = slot.count;
  if (settings.kind == OptimizerKind::sgd) {
    const SgdUpdate a = sgd_factors(settings, slot, 1);
    s.rate = a.rate, s.decay = a.decay;
    s.first = settings.momentum != 0 ? slot.momentum : nullptr;
  } else {
    const AdamUpdate a = adam_factors(settings, slot, 1);
    s.decay = a.decay, s.shrink = a.shrink, s.step = a.step, s.root = a.root;
    s.first = slot.first, s.second = slot.second;
  }
  return s;
}

}  // namespace

char* GpuOptimizer::room(Memory& memory, size_t bytes) const {
  if (memory.empty() || memory.size() < bytes) {
    memory = Memory();
    memory = Memory::on_gpu(bytes, account_);
  }
  return memory.as<char>();
}

// Slots, then the slot of each part.
GpuSlots GpuOptimizer::upload(const OptimizerSettings& settings, const std::vector<ParameterSlot>& slots) {
  std::vector<GpuSlot> rows;
  std::vector<int32_t> slot_of;
  for (const ParameterSlot& slot : slots) {
    GpuSlot row = gpu_slot(settings, slot);
    row.part = static_cast<int64_t>(slot_of.size());
    slot_of.insert(slot_of.end(), static_cast<size_t>(gpu_parts(slot.count)), static_cast<int32_t>(rows.size()));
    rows.push_back(row);
  }
  const size_t bytes = rows.size() * sizeof(GpuSlot), parts = slot_of.size() * sizeof(int32_t);
  char* memory = room(table_, bytes + parts);
  copy_in(true, memory, rows.data(), bytes);
  copy_in(true, memory + bytes, slot_of.data(), parts);
  return {reinterpret_cast<const GpuSlot*>(memory), reinterpret_cast<const int32_t*>(memory + bytes),
          static_cast<int64_t>(slot_of.size())};
}

void GpuOptimizer::densify(std::vector<ParameterSlot>& slots) {
  for (ParameterSlot& slot : slots) {
    if (!slot.indices) continue;
    auto* dense = reinterpret_cast<float*>(room(dense_[slot.name], static_cast<size_t>(slot.count) * sizeof(float)));
    Scatter a = {};
    a.indices = {slot.indices, false};
    a.rows = slot.gradient, a.dense = dense;
    a.count = slot.rows, a.width = slot.row_length, a.rows_total = slot.count / std::max<int64_t>(slot.row_length, 1);
    a.per_task = 1;
    embedding_kernels(Isa::cuda).scatter(a, a.rows_total, nullptr);
    slot.gradient = dense;
    slot.indices = nullptr;
    slot.rows = slot.row_length = 0;
  }
}

void GpuOptimizer::accumulate(const std::vector<ParameterSlot>& slots, const std::vector<float*>& sums, bool begin) {
  std::vector<ParameterSlot> into;
  for (size_t i = 0; i < slots.size(); ++i) {
    ParameterSlot slot;
    slot.weight = sums[i], slot.gradient = slots[i].gradient, slot.count = slots[i].count;
    into.push_back(slot);
  }
  kernels().accumulate({upload(OptimizerSettings(), into), begin});
}

// In `sums_`: the sum of squares, the factor, and a sum for each part.
double GpuOptimizer::clip(const std::vector<ParameterSlot>& slots, double limit) {
  constexpr size_t kHead = 16;
  const GpuSlots of = upload(OptimizerSettings(), slots);
  char* memory = room(sums_, kHead + static_cast<size_t>(of.parts) * sizeof(double));
  auto* squares = reinterpret_cast<double*>(memory);
  kernels().norm({of, limit, reinterpret_cast<double*>(memory + kHead), squares, reinterpret_cast<float*>(memory + 8)});
  clipped_ = true;
  double sum = 0;
  copy_out(true, &sum, squares, sizeof(sum));
  return std::sqrt(sum);
}

void GpuOptimizer::update(const OptimizerSettings& settings, const std::vector<ParameterSlot>& slots) {
  const float* scale = clipped_ ? reinterpret_cast<const float*>(sums_.as<char>() + 8) : nullptr;
  clipped_ = false;
  if (settings.kind == OptimizerKind::sgd) {
    kernels().sgd({upload(settings, slots), scale, static_cast<float>(settings.momentum), settings.nesterov});
    return;
  }
  for (const ParameterSlot& slot : slots) ++*slot.steps;
  kernels().adam({upload(settings, slots), scale, static_cast<float>(settings.beta1),
                  static_cast<float>(1 - settings.beta1), static_cast<float>(settings.beta2),
                  static_cast<float>(1 - settings.beta2), static_cast<float>(settings.eps)});
}

}  // namespace thaw
