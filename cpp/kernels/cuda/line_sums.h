#pragma once
// Sums over lines of 64 bytes, in double: of a picture's pixels, for each channel of a block. A block of threads takes
// one sum; four threads take a line, the groups of four every so manyth one, and what they have is joined in the order
// of the threads. The cut follows from the number of lines alone.
#include "kernels/cuda/index.h"
#include "kernels/cuda/pack.h"

namespace thaw {
namespace cuda {

/// Threads for a sum of so many lines.
inline int line_sum_threads(int64_t lines) { return lines >= 512 ? kThreads : 64; }

/// Shared memory of a launch: a sum for each warp and channel.
template <class T>
size_t line_sum_bytes(int threads) {
  return sizeof(double) * static_cast<size_t>(threads / 32 * kLine<T>);
}

/// The sum of lines 0 … count-1 for channel threadIdx.x, in threads below kLine<T>; else 0. `at(i)` is the place of
/// line i. `memory`: line_sum_bytes.
template <class T, class At>
__device__ __forceinline__ double sum_lines(int count, const At& at, double* memory) {
  constexpr int kSize = Pack<T>::kSize;
  const int thread = static_cast<int>(threadIdx.x), groups = static_cast<int>(blockDim.x) / kLinePacks;
  const int channel = thread % kLinePacks * kSize;
  double sum[kSize] = {};
  for (int i = thread / kLinePacks; i < count; i += groups) {
    const Pack<T> pack = load_pack(at(i) + channel);
#pragma unroll
    for (int k = 0; k < kSize; ++k) sum[k] += static_cast<double>(to_f32(pack.at[k]));
  }
#pragma unroll
  for (int k = 0; k < kSize; ++k) {
#pragma unroll
    for (int distance = 16; distance >= kLinePacks; distance /= 2) sum[k] += __shfl_xor_sync(0xffffffffu, sum[k], distance);
    if (thread % 32 < kLinePacks) memory[thread / 32 * kLine<T> + channel + k] = sum[k];
  }
  __syncthreads();
  double total = 0;
  if (thread < kLine<T>) {
    for (int warp = 0; warp < static_cast<int>(blockDim.x) / 32; ++warp) total += memory[warp * kLine<T> + thread];
  }
  return total;
}

}  // namespace cuda
}  // namespace thaw
