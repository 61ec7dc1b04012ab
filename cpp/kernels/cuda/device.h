#pragma once
// Device side helpers of the kernels.
#include <cuda_runtime.h>

#include <cstdint>

namespace thaw {
namespace cuda {

/// The block's dynamic shared memory, as large as its launch asked for, aligned to 1024 bytes.
template <class T>
__device__ __forceinline__ T* shared_memory() {
#ifdef __CUDACC__
  extern __shared__ __align__(1024) unsigned char memory[];
  return reinterpret_cast<T*>(memory);
#else
  return static_cast<T*>(standin::shared_memory());
#endif
}

__device__ __forceinline__ float f32_of(uint16_t bf16) { return __uint_as_float(static_cast<uint32_t>(bf16) << 16); }

/// Rounds to nearest even; NaN stays NaN.
__device__ __forceinline__ uint16_t bf16_of(float x) {
  const uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// Two numbers in one register, the first in the low half.
__device__ __forceinline__ uint32_t bf16_pair(float low, float high) {
  return static_cast<uint32_t>(bf16_of(low)) | static_cast<uint32_t>(bf16_of(high)) << 16;
}

#ifdef __CUDACC__
/// The greater of two numbers in bf16, twice; not a number where one is not. -0 is below 0.
__device__ __forceinline__ uint32_t greater_pair(uint32_t a, uint32_t b) {
  uint32_t greater;
  asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(greater) : "r"(a), "r"(b));
  return greater;
}
#else
/// What that instruction's description says (PTX ISA, "max").
inline uint16_t greater_bf16(uint16_t a, uint16_t b) {
  const float x = f32_of(a), y = f32_of(b);
  if (x != x || y != y) return 0x7fff;
  if (x == y) return a & b;
  return x > y ? a : b;
}
inline uint32_t greater_pair(uint32_t a, uint32_t b) {
  const uint32_t high = greater_bf16(static_cast<uint16_t>(a >> 16), static_cast<uint16_t>(b >> 16));
  return high << 16 | greater_bf16(static_cast<uint16_t>(a), static_cast<uint16_t>(b));
}
#endif

/// The sum over a warp's 32 lanes, the same in each; the order of the additions is fixed. T: float or double.
template <class T>
__device__ __forceinline__ T warp_sum(T x) {
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

/// The sum over the block's threads (whole warps, at most 1024), the same in each. `scratch`: 33 numbers of shared memory.
template <class T>
__device__ __forceinline__ T block_sum(T x, T* scratch) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  x = warp_sum(x);
  __syncthreads();  // the scratch may still be read from an earlier sum
  if (lane == 0) scratch[warp] = x;
  __syncthreads();
  T sum = scratch[0];
  for (int w = 1; w < warps; ++w) sum += scratch[w];
  return sum;
}

}  // namespace cuda
}  // namespace thaw
