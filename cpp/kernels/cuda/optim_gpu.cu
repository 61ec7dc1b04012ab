// Updates of all parameters at once; see kernels/optim_gpu.h. A block takes a part, a thread four elements at a time; the
// last few go through the same operations.
#include "kernels/optim_gpu.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kThreads = 256;

/// A block's stretch of a slot.
struct Stretch {
  const GpuSlot slot;  // a copy: stores might change the table, as far as the compiler knows
  int64_t begin;
  int count;
  __device__ __forceinline__ explicit Stretch(const GpuSlots& of) : slot(of.slots[of.slot_of[blockIdx.x]]) {
    begin = (static_cast<int64_t>(blockIdx.x) - slot.part) * kGpuPart;
    const int64_t left = slot.count - begin;
    count = static_cast<int>(left < kGpuPart ? left : kGpuPart);
  }
};

/// Up to four numbers, 0 beyond `n`.
struct Four {
  float at[4];
  __device__ __forceinline__ Four() : at{0, 0, 0, 0} {}
  __device__ __forceinline__ Four(const float* p, int n) : at{0, 0, 0, 0} {
    if (n >= 4) {
      const float4 v = *reinterpret_cast<const float4*>(p);
      at[0] = v.x, at[1] = v.y, at[2] = v.z, at[3] = v.w;
    } else {
#pragma unroll
      for (int i = 0; i < 3; ++i)
        if (i < n) at[i] = p[i];
    }
  }
  __device__ __forceinline__ void store(float* p, int n) const {
    if (n >= 4) {
      *reinterpret_cast<float4*>(p) = make_float4(at[0], at[1], at[2], at[3]);
    } else {
#pragma unroll
      for (int i = 0; i < 3; ++i)
        if (i < n) p[i] = at[i];
    }
  }
};

__global__ void __launch_bounds__(kThreads) squares_kernel(GpuNorm a) {
  const Stretch part(a.of);
  const float* gradient = part.slot.gradient + part.begin;
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x) * 4; i < part.count; i += kThreads * 4) {
    const Four g(gradient + i, part.count - i);
#pragma unroll
    for (int j = 0; j < 4; ++j) sum = fma(static_cast<double>(g.at[j]), static_cast<double>(g.at[j]), sum);
  }
  sum = block_sum(sum, shared_memory<double>());
  if (threadIdx.x == 0) a.partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) norm_kernel(GpuNorm a) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < a.of.parts; i += kThreads) sum += a.partial[i];
  sum = block_sum(sum, shared_memory<double>());
  if (threadIdx.x != 0) return;
  *a.squares = sum;
  const double scale = a.limit > 0 ? a.limit / (sqrt(sum) + 1e-6) : 1.0;
  const bool finite = sum - sum == 0;
  *a.scale = finite ? static_cast<float>(scale < 1 ? scale : 1.0) : __int_as_float(0x7fc00000);
}

__global__ void __launch_bounds__(kThreads) sgd_kernel(GpuSgd a) {
  const float scale = a.scale ? *a.scale : 1.0f;
  if (scale != scale) return;
  const Stretch part(a.of);
  const GpuSlot& slot = part.slot;
  for (int i = static_cast<int>(threadIdx.x) * 4; i < part.count; i += kThreads * 4) {
    const int n = part.count - i;
    const int64_t at = part.begin + i;
    const Four gradient(slot.gradient + at, n), origin = slot.origin ? Four(slot.origin + at, n) : Four();
    Four w(slot.weight + at, n), b = slot.first ? Four(slot.first + at, n) : Four();
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      float g = gradient.at[j] * scale;
      if (slot.decay != 0) g = fmaf(slot.decay, w.at[j] - origin.at[j], g);
      if (slot.first) {
        b.at[j] = fmaf(a.momentum, b.at[j], g);
        g = a.nesterov ? fmaf(a.momentum, b.at[j], g) : b.at[j];
      }
      w.at[j] = fmaf(-slot.rate, g, w.at[j]);
    }
    if (slot.first) b.store(slot.first + at, n);
    w.store(slot.weight + at, n);
  }
}

__global__ void __launch_bounds__(kThreads) adam_kernel(GpuAdam a) {
  const float scale = a.scale ? *a.scale : 1.0f;
  if (scale != scale) return;
  const Stretch part(a.of);
  const GpuSlot& slot = part.slot;
  for (int i = static_cast<int>(threadIdx.x) * 4; i < part.count; i += kThreads * 4) {
    const int n = part.count - i;
    const int64_t at = part.begin + i;
    const Four gradient(slot.gradient + at, n), origin = slot.origin ? Four(slot.origin + at, n) : Four();
    Four w(slot.weight + at, n), m(slot.first + at, n), v(slot.second + at, n);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      float g = gradient.at[j] * scale;
      if (slot.decay != 0) g = fmaf(slot.decay, w.at[j] - origin.at[j], g);
      if (slot.shrink != 0) w.at[j] = fmaf(-slot.shrink, w.at[j] - origin.at[j], w.at[j]);
      m.at[j] = fmaf(a.beta1, m.at[j], a.rest1 * g);
      v.at[j] = fmaf(a.beta2, v.at[j], a.rest2 * g * g);
      w.at[j] = fmaf(-slot.step, m.at[j] / (sqrtf(v.at[j]) / slot.root + a.eps), w.at[j]);
    }
    m.store(slot.first + at, n);
    v.store(slot.second + at, n);
    w.store(slot.weight + at, n);
  }
}

__global__ void __launch_bounds__(kThreads) accumulate_kernel(GpuAccumulate a) {
  const Stretch part(a.of);
  for (int i = static_cast<int>(threadIdx.x) * 4; i < part.count; i += kThreads * 4) {
    const int n = part.count - i;
    Four sum(part.slot.gradient + part.begin + i, n);
    float* to = part.slot.weight + part.begin + i;
    if (!a.begin) {
      const Four before(to, n);
#pragma unroll
      for (int j = 0; j < 4; ++j) sum.at[j] = before.at[j] + sum.at[j];
    }
    sum.store(to, n);
  }
}

constexpr size_t kSumMemory = 33 * sizeof(double);

void norm(const GpuNorm& a) {
  launch(squares_kernel, blocks(a.of.parts, 1), kThreads, kSumMemory, a);
  launch(norm_kernel, 1, kThreads, kSumMemory, a);
}
void sgd(const GpuSgd& a) { launch(sgd_kernel, blocks(a.of.parts, 1), kThreads, 0, a); }
void adam(const GpuAdam& a) { launch(adam_kernel, blocks(a.of.parts, 1), kThreads, 0, a); }
void accumulate(const GpuAccumulate& a) { launch(accumulate_kernel, blocks(a.of.parts, 1), kThreads, 0, a); }

}  // namespace

extern const GpuOptimKernels optim_gpu = {norm, sgd, adam, accumulate};

}  // namespace cuda
}  // namespace thaw
