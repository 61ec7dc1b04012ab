#pragma once
// Rows [rows][n] by teams of threads: a warp takes a short row, a block of kTeamThreads a long one. Which of the two
// follows from n, so that a row's sums have one order wherever the row stands.
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kTeamThreads = 256;
constexpr int64_t kLongRow = 2048;
constexpr size_t kTeamMemory = 33 * sizeof(double);

/// kV neighbouring numbers of a row; four where a row's length is a multiple of four.
template <int kV>
struct alignas(4 * kV) Few {
  float at[kV];
};

template <int kV>
__device__ __forceinline__ Few<kV> few(const float* p) {
  return *reinterpret_cast<const Few<kV>*>(p);
}
template <int kV>
__device__ __forceinline__ void put(float* p, const Few<kV>& v) {
  *reinterpret_cast<Few<kV>*>(p) = v;
}

/// kSize threads of a block that share a row: 32 or kTeamThreads.
template <int kSize>
struct Team {
  static constexpr int kRows = kTeamThreads / kSize;

  __device__ __forceinline__ int64_t row() const {
    return static_cast<int64_t>(blockIdx.x) * kRows + static_cast<int>(threadIdx.x) / kSize;
  }
  __device__ __forceinline__ int lane() const { return static_cast<int>(threadIdx.x) % kSize; }
  /// The sum over the team, the same in each thread. Shared memory: kTeamMemory.
  __device__ __forceinline__ double sum(double x) const {
    if constexpr (kSize == 32) return warp_sum(x);
    else return block_sum(x, shared_memory<double>());
  }
  __device__ __forceinline__ float max(float x) const {
    for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, distance));
    if constexpr (kSize > 32) {
      float* scratch = shared_memory<float>();
      __syncthreads();  // the memory may still be read from an earlier sum
      if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
      __syncthreads();
      for (int w = 0; w < kTeamThreads / 32; ++w) x = fmaxf(x, scratch[w]);
    }
    return x;
  }
};

using Warp = Team<32>;
using Block = Team<kTeamThreads>;

template <class Rows, class Args>
void launch_rows(void (*kernel)(Args), int64_t rows, const Args& args) {
  launch(kernel, blocks(rows, Rows::kRows), kTeamThreads, kTeamMemory, args);
}

}  // namespace
}  // namespace cuda
}  // namespace thaw
