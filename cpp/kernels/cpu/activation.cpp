// Elementwise activations; formulas in micro/activate.h.
#include "kernels/activation.h"
#include "kernels/cpu/micro/activate.h"

namespace thaw {
namespace THAW_ISA {
namespace {

int64_t chunk_size(int64_t count, int64_t task) {
  const int64_t left = count - task * kChunk;
  return left < kChunk ? left : kChunk;
}

void forward(const Activate& args, int64_t task, void*) {
  const int64_t begin = task * kChunk;
  activate_all(args.x + begin, args.y + begin, chunk_size(args.count, task), args.kind, args.alpha);
}

struct BackwardAll {
  const float* dy;
  const float* of;
  float* dx;
  int64_t count;
  float alpha;
  template <Activation kind>
  void run() const {
    const V16 a = broadcast(alpha);
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      storeu(dx + i, mul(loadu(dy + i), slope_of<kind>(loadu(of + i), a)));
    }
    const int64_t rest = count - i;
    if (rest > 0) store_n(dx + i, mul(load_n(dy + i, rest), slope_of<kind>(load_n(of + i, rest), a)), rest);
  }
};

void backward(const ActivateBackward& args, int64_t task, void*) {
  const int64_t begin = task * kChunk;
  with_activation(args.kind, BackwardAll{args.dy + begin, args.of + begin, args.dx + begin,
                                         chunk_size(args.count, task), args.alpha});
}

}  // namespace

extern const ActivationKernels activation = {forward, backward};

}  // namespace THAW_ISA
}  // namespace thaw
