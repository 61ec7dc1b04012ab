// Broadcasting arithmetic in f32 and what goes with it.
#include "kernels/elementwise.h"
#include "kernels/cpu/micro/combine.h"

namespace thaw {
namespace THAW_ISA {
namespace {

struct RowF32 {
  using Element = float;
  template <bool vary_a, bool vary_b, class F>
  static void run(const float* a, const float* b, float* y, int64_t n, F f) {
    const V16 fixed_a = broadcast(*a), fixed_b = broadcast(*b);
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      storeu(y + i, f(vary_a ? loadu(a + i) : fixed_a, vary_b ? loadu(b + i) : fixed_b));
    }
    const int64_t rest = n - i;
    if (rest == 0) return;
    store_n(y + i, f(vary_a ? load_n(a + i, rest) : fixed_a, vary_b ? load_n(b + i, rest) : fixed_b), rest);
  }
};

void sum(const Combine& args, int64_t task, void*) { combine<RowF32>(args, task, Add{}); }
void product(const Combine& args, int64_t task, void*) { combine<RowF32>(args, task, Multiply{}); }

void expand(const Combine& args, int64_t task, void*) {
  Combine with_factor = args;
  with_factor.b = &args.factor;
  for (int64_t d = 0; d < kMaxRank; ++d) with_factor.b_strides[d] = 0;
  combine<RowF32>(with_factor, task, Multiply{});
}

int64_t chunk_end(int64_t count, int64_t task) { return (task + 1) * kChunk < count ? (task + 1) * kChunk : count; }

void scale(const Scale& args, int64_t task, void*) {
  const V16 factor = broadcast(args.s == nullptr ? args.factor : args.factor * *args.s);
  const int64_t end = chunk_end(args.count, task);
  for (int64_t i = task * kChunk; i < end; i += kLanes) {
    const int64_t lanes = end - i < kLanes ? end - i : kLanes;
    store_n(args.y + i, mul(load_n(args.x + i, lanes), factor), lanes);
  }
}

void block(const Block& args, int64_t task, void*) {
  const int64_t left = args.channels - task * kLanes, lanes = left < kLanes ? left : kLanes;
  const float* x = args.x + task * kLanes * args.spatial;
  float* y = args.y + task * kLanes * args.spatial;
  for (int64_t s = 0; s < args.spatial; ++s) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      y[s * kLanes + lane] = lane < lanes ? x[lane * args.spatial + s] : 0.0f;
    }
  }
}

void fill(const Fill& args, int64_t task, void*) {
  const V16 value = broadcast(args.value);
  const int64_t end = chunk_end(args.count, task);
  for (int64_t i = task * kChunk; i < end; i += kLanes) store_n(args.y + i, value, end - i < kLanes ? end - i : kLanes);
}

}  // namespace

extern const ElementwiseKernels elementwise = {sum, product, expand, scale, block, fill};

}  // namespace THAW_ISA
}  // namespace thaw
