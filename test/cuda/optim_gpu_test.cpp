// Updates on the GPU against the CPU's scalar kernels: the same operations in the same order, but fused where the scalar
// kernels round products: some units of the last place. The sum of squares of the gradients is of another order, in double.
#include "kernels/optim_gpu.h"

#include <memory>

#include "compare.h"
#include "kernels/optim.h"


using namespace thaw;
using gpu::Array;
using gpu::expect_close;

namespace {

/// One parameter in both memories.
struct Parameter {
  int64_t count;
  uint64_t seed;
  bool towards = seed % 2 == 0;  // decays towards an origin
  float rate = 0.01f * static_cast<float>(seed), decay = seed % 3 == 0 ? 0.0f : 0.03f;
  std::vector<float> weight = gpu::floats(count, seed), gradient = gpu::floats(count, seed + 100);
  std::vector<float> origin = gpu::floats(count, seed + 200), first = gpu::floats(count, seed + 300), second = squares();
  Array<float> on_weight{weight}, on_gradient{gradient}, on_origin{origin}, on_first{first}, on_second{second};

  std::vector<float> squares() const {
    std::vector<float> values = gpu::floats(count, seed + 400);
    for (float& v : values) v = v * v;
    return values;
  }
};

struct Parameters {
  std::vector<std::unique_ptr<Parameter>> all;
  std::vector<GpuSlot> slots;
  std::vector<int32_t> slot_of;
  std::unique_ptr<Array<GpuSlot>> on_slots;
  std::unique_ptr<Array<int32_t>> on_slot_of;

  explicit Parameters(const std::vector<int64_t>& counts, bool momentum = true, bool decoupled = false) {
    for (const int64_t count : counts) {
      all.push_back(std::make_unique<Parameter>(count, all.size() + 1));
      const Parameter& p = *all.back();
      GpuSlot s{};
      s.weight = p.on_weight, s.gradient = p.on_gradient, s.origin = p.towards ? p.on_origin.data() : nullptr;
      s.first = momentum ? p.on_first.data() : nullptr, s.second = p.on_second;
      s.count = count, s.part = static_cast<int64_t>(slot_of.size());
      s.rate = p.rate, s.decay = decoupled ? 0 : p.decay, s.shrink = decoupled ? p.decay : 0;
      s.step = 0.1f, s.root = 0.7f;
      slot_of.insert(slot_of.end(), static_cast<size_t>(gpu_parts(count)), static_cast<int32_t>(slots.size()));
      slots.push_back(s);
    }
    on_slots = std::make_unique<Array<GpuSlot>>(slots);
    on_slot_of = std::make_unique<Array<int32_t>>(slot_of);
  }
  GpuSlots of() const { return {*on_slots, *on_slot_of, static_cast<int64_t>(slot_of.size())}; }
};

constexpr double kRounding = 0x1p-21;
const std::vector<int64_t> kCounts = {1, 3, 8192, 20001, 64, 8195};

void sgd(float momentum, bool nesterov, const float* scale) {
  Parameters ps(kCounts, momentum != 0);
  const Array<float> on_scale(std::vector<float>{scale ? *scale : 1});
  cuda::optim_gpu.sgd({ps.of(), scale ? on_scale.data() : nullptr, momentum, nesterov});
  FINISH();
  for (const auto& p : ps.all) {
    SgdUpdate a{};
    a.weight = p->weight.data(), a.gradient = p->gradient.data(), a.origin = p->towards ? p->origin.data() : nullptr;
    a.momentum_sum = momentum != 0 ? p->first.data() : nullptr;
    a.count = p->count, a.scale = scale ? *scale : 1, a.rate = p->rate, a.decay = p->decay, a.momentum = momentum;
    a.nesterov = nesterov;
    scalar::optim.sgd(a);
    expect_close(p->on_weight.read(), p->weight, kRounding, "sgd");
    expect_close(p->on_first.read(), p->first, kRounding, "momentum");
  }
}

void adam(bool decoupled, const float* scale) {
  Parameters ps(kCounts, true, decoupled);
  const Array<float> on_scale(std::vector<float>{scale ? *scale : 1});
  cuda::optim_gpu.adam({ps.of(), scale ? on_scale.data() : nullptr, 0.9f, 0.1f, 0.99f, 0.01f, 1e-8f});
  FINISH();
  for (size_t i = 0; i < ps.all.size(); ++i) {
    Parameter& p = *ps.all[i];
    const GpuSlot& s = ps.slots[i];
    scalar::optim.adam({p.weight.data(), p.gradient.data(), p.towards ? p.origin.data() : nullptr, p.first.data(),
                        p.second.data(), p.count, scale ? *scale : 1, s.decay, s.shrink, 0.9f, 0.1f, 0.99f, 0.01f, s.step,
                        s.root, 1e-8f});
    expect_close(p.on_weight.read(), p.weight, kRounding, "adam");
    expect_close(p.on_first.read(), p.first, kRounding, "first moment");
    expect_close(p.on_second.read(), p.second, kRounding, "second moment");
  }
}

void norm(double limit, float spoilt) {
  Parameters ps(kCounts);
  Parameter& last = *ps.all.back();
  if (spoilt != 0) {
    last.gradient.back() = spoilt;
    gpu::demand(gpu::backend().upload(last.on_gradient, last.gradient.data(), last.gradient.size() * sizeof(float)));
  }
  double want = 0;
  for (const auto& p : ps.all) want += scalar::optim.square_sum({p->gradient.data(), nullptr, p->count});
  const Array<double> partial(ps.slot_of.size()), squares(1);
  const Array<float> scale(1);
  cuda::optim_gpu.norm({ps.of(), limit, partial, squares, scale});
  FINISH();
  expect_close(squares.read(), {want}, 1e-13, "squares");
  const double factor = limit > 0 ? std::min(1.0, limit / (std::sqrt(want) + 1e-6)) : 1;
  expect_close(scale.read(), {std::isfinite(want) ? static_cast<float>(factor) : NAN}, 0x1p-23, "scale");
  if (std::isfinite(want)) return;
  const std::vector<float> before = last.on_weight.read();
  cuda::optim_gpu.sgd({ps.of(), scale, 0.9f, false});
  cuda::optim_gpu.adam({ps.of(), scale, 0.9f, 0.1f, 0.99f, 0.01f, 1e-8f});
  FINISH();
  CHECK(last.on_weight.read() == before);
}

void accumulate() {
  const Parameters ps(kCounts);
  for (const bool begin : {true, false}) cuda::optim_gpu.accumulate({ps.of(), begin});
  FINISH();
  for (const auto& p : ps.all) {
    std::vector<float> twice = p->gradient;
    for (float& v : twice) v *= 2;
    expect_close(p->on_weight.read(), twice, 0, "sum of gradients");
  }
}

}  // namespace

int main() {
  const float third = 1.0f / 3;
  for (const float* scale : {static_cast<const float*>(nullptr), &third}) {
    sgd(0, false, scale);
    sgd(0.9f, false, scale);
    sgd(0.9f, true, scale);
    adam(false, scale);
    adam(true, scale);
  }
  norm(0, 0);
  norm(1, 0);
  norm(1e6, 0);
  norm(1, INFINITY);
  norm(0, NAN);
  accumulate();
  return check::result();
}
