#pragma once
// One thread an item: a launch over a number of items, and which coordinates an item has. Items are counted in 31 bits:
// 2^31 packs of sixteen bytes are more than a GPU's memory.
#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {

constexpr int kThreads = 256;
constexpr int64_t kMaxItems = 0x7fffffff;

/// Division of 0 … kMaxItems by one of 1 … kMaxItems: a multiplication, an addition and a shift.
struct Divisor {
  uint32_t size, factor, shift;
};

/// n / d = (floor(n * factor / 2^32) + n) >> shift, factor = floor(2^32 (2^shift - d) / d) + 1. Of an empty space, where
/// nothing is divided, d is 0.
inline Divisor divisor(int64_t d) {
  if (d < 1) d = 1;
  Divisor by = {static_cast<uint32_t>(d), 0, 0};
  while ((int64_t{1} << by.shift) < d) ++by.shift;
  const uint64_t over = (uint64_t{1} << by.shift) - static_cast<uint64_t>(d);
  by.factor = static_cast<uint32_t>((over << 32) / static_cast<uint64_t>(d) + 1);
  return by;
}

__host__ __device__ __forceinline__ uint32_t divide(uint32_t n, const Divisor& by) {
  const uint32_t product = static_cast<uint32_t>((static_cast<uint64_t>(n) * by.factor) >> 32);
  return (product + n) >> by.shift;
}

/// `rest` is n % by.
__host__ __device__ __forceinline__ uint32_t divide(uint32_t n, const Divisor& by, uint32_t& rest) {
  const uint32_t quotient = divide(n, by);
  rest = n - quotient * by.size;
  return quotient;
}

/// The thread's item, of a launch by `launch_items`.
__device__ __forceinline__ uint32_t item() { return blockIdx.x * static_cast<uint32_t>(kThreads) + threadIdx.x; }

/// Launches kernel(args…) with a thread for each of `items` and up to kThreads - 1 more.
template <class... Args>
void launch_items(void (*kernel)(Args...), int64_t items, std::type_identity_t<Args>... args) {
  if (items > kMaxItems) return note(cudaErrorInvalidConfiguration);
  launch(kernel, blocks(items, kThreads), dim3(kThreads), 0, args...);
}

inline bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace cuda
}  // namespace thaw
