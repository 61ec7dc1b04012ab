#pragma once
// Sixteen bytes of f32 or of bf16 (uint16_t) as one access, and its numbers as f32.
#include "kernels/cuda/device.h"

namespace thaw {
namespace cuda {

template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  T at[kSize];
};

/// Packs of one pixel's line of 64 bytes.
constexpr int kLinePacks = 4;
/// Channels of a line.
template <class T>
constexpr int kLine = 64 / static_cast<int>(sizeof(T));

/// p is aligned to 16 bytes.
template <class T>
__device__ __forceinline__ Pack<T> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T>*>(p);
}

template <class T>
__device__ __forceinline__ void store_pack(T* p, const Pack<T>& pack) {
  *reinterpret_cast<Pack<T>*>(p) = pack;
}

template <class T>
__device__ __forceinline__ Pack<T> repeated(T x) {
  Pack<T> pack;
#pragma unroll
  for (int i = 0; i < Pack<T>::kSize; ++i) pack.at[i] = x;
  return pack;
}

__device__ __forceinline__ float to_f32(float x) { return x; }
__device__ __forceinline__ float to_f32(uint16_t x) { return f32_of(x); }

template <class T>
__device__ __forceinline__ T from_f32(float x) {
  if constexpr (sizeof(T) == 2) return bf16_of(x);
  else return x;
}

}  // namespace cuda
}  // namespace thaw
