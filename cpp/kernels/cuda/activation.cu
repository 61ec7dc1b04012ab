// Activations: y = f(x), dx = dy * f'. One thread takes sixteen bytes; the last takes what is left.
#include "kernels/activation.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/function.h"
#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
struct Number;
template <>
struct Number<float> {
  static __device__ float get(float x) { return x; }
  static __device__ float put(float x) { return x; }
};
template <>
struct Number<uint16_t> {
  static __device__ float get(uint16_t x) { return f32_of(x); }
  static __device__ uint16_t put(float x) { return bf16_of(x); }
};

/// Sixteen bytes.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  T at[kSize];
};

template <class T>
__global__ void forward_kernel(ActivateOf<T> a) {
  constexpr int kSize = Pack<T>::kSize;
  const int64_t begin = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kSize;
  if (begin + kSize <= a.count) {
    Pack<T> p = *reinterpret_cast<const Pack<T>*>(a.x + begin);
#pragma unroll
    for (int i = 0; i < kSize; ++i) p.at[i] = Number<T>::put(activate(a.kind, Number<T>::get(p.at[i]), a.alpha));
    *reinterpret_cast<Pack<T>*>(a.y + begin) = p;
  } else {
    for (int64_t i = begin; i < a.count; ++i) a.y[i] = Number<T>::put(activate(a.kind, Number<T>::get(a.x[i]), a.alpha));
  }
}

template <class T>
__global__ void backward_kernel(ActivateBackwardOf<T> a) {
  constexpr int kSize = Pack<T>::kSize;
  const int64_t begin = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kSize;
  if (begin + kSize <= a.count) {
    Pack<T> p = *reinterpret_cast<const Pack<T>*>(a.dy + begin);
    const Pack<T> of = *reinterpret_cast<const Pack<T>*>(a.of + begin);
#pragma unroll
    for (int i = 0; i < kSize; ++i)
      p.at[i] = Number<T>::put(Number<T>::get(p.at[i]) * derivative(a.kind, Number<T>::get(of.at[i]), a.alpha));
    *reinterpret_cast<Pack<T>*>(a.dx + begin) = p;
  } else {
    for (int64_t i = begin; i < a.count; ++i)
      a.dx[i] = Number<T>::put(Number<T>::get(a.dy[i]) * derivative(a.kind, Number<T>::get(a.of[i]), a.alpha));
  }
}

template <class T>
void forward(const ActivateOf<T>& a, int64_t, void*) {
  launch(forward_kernel<T>, blocks(a.count, kThreads, Pack<T>::kSize), kThreads, 0, a);
}
template <class T>
void backward(const ActivateBackwardOf<T>& a, int64_t, void*) {
  launch(backward_kernel<T>, blocks(a.count, kThreads, Pack<T>::kSize), kThreads, 0, a);
}

}  // namespace

extern const ActivationKernels activation = {forward<float>, backward<float>};
extern const ActivationBf16Kernels activation_bf16 = {forward<uint16_t>, backward<uint16_t>};

}  // namespace cuda
}  // namespace thaw
