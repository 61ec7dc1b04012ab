// Activations of pictures in bf16, computed in f32; formulas in micro/activate.h.
#include "kernels/activation.h"
#include "kernels/cpu/micro/activate.h"
#include "kernels/cpu/micro/bf16.h"

namespace thaw {
namespace THAW_ISA {
namespace {

int64_t chunk_size(int64_t count, int64_t task) {
  const int64_t left = count - task * kChunk;
  return left < kChunk ? left : kChunk;
}

struct ForwardLines {
  const uint16_t* x;
  uint16_t* y;
  int64_t count;
  float alpha;
  template <Activation kind>
  void run() const {
    const V16 a = broadcast(alpha);
    for (int64_t i = 0; i < count; i += kLineLanes) {
      store_line(y + i, activate_as<kind>(load_bf16(x + i), a), activate_as<kind>(load_bf16(x + i + 16), a));
    }
  }
};

struct BackwardLines {
  const uint16_t* dy;
  const uint16_t* of;
  uint16_t* dx;
  int64_t count;
  float alpha;
  template <Activation kind>
  void run() const {
    const V16 a = broadcast(alpha);
    const auto half = [&](int64_t i) { return mul(load_bf16(dy + i), slope_of<kind>(load_bf16(of + i), a)); };
    for (int64_t i = 0; i < count; i += kLineLanes) store_line(dx + i, half(i), half(i + 16));
  }
};

void forward(const ActivateOf<uint16_t>& a, int64_t task, void*) {
  const int64_t begin = task * kChunk;
  with_activation(a.kind, ForwardLines{a.x + begin, a.y + begin, chunk_size(a.count, task), a.alpha});
}

void backward(const ActivateBackwardOf<uint16_t>& a, int64_t task, void*) {
  const int64_t begin = task * kChunk;
  with_activation(a.kind, BackwardLines{a.dy + begin, a.of + begin, a.dx + begin, chunk_size(a.count, task), a.alpha});
}

}  // namespace

extern const ActivationBf16Kernels activation_bf16 = {forward, backward};

}  // namespace THAW_ISA
}  // namespace thaw
