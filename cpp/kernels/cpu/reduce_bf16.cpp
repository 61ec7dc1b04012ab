// Sums over the pixels of pictures in bf16.
#include "kernels/reduce.h"

#include "kernels/cpu/micro/bf16.h"
#include "kernels/cpu/micro/wide.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// put(plane, low, high) for the planes of one task.
template <class Put>
THAW_INLINE void sum_planes(const SumPixels& a, int64_t task, const Put& put) {
  const int64_t first = task * a.planes_per_task, end = first + a.planes_per_task;
  for (int64_t plane = first; plane < (end < a.planes ? end : a.planes); ++plane) {
    const uint16_t* x = a.x + plane * a.pixels * 32;
    W16 low = wide_zero(), high = wide_zero();
    for (int64_t i = 0; i < a.pixels * 32; i += 32) {
      low = wide_add(low, widen(load_bf16(x + i)));
      high = wide_add(high, widen(load_bf16(x + i + 16)));
    }
    put(plane, narrow(low), narrow(high));
  }
}

void sum_to_f32(const SumPixels& a, int64_t task, void*) {
  sum_planes(a, task, [&](int64_t plane, V16 low, V16 high) {
    float* y = static_cast<float*>(a.y) + plane * 32;
    store(y, low);
    store(y + 16, high);
  });
}

void sum_to_bf16(const SumPixels& a, int64_t task, void*) {
  sum_planes(a, task, [&](int64_t plane, V16 low, V16 high) {
    store_line(static_cast<uint16_t*>(a.y) + plane * 32, low, high);
  });
}

}  // namespace

extern const ReduceBf16Kernels reduce_bf16 = {sum_to_f32, sum_to_bf16};

}  // namespace THAW_ISA
}  // namespace thaw
