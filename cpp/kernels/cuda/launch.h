#pragma once
// Host side of the kernels' files: launches on the device's compute stream. Compiled by nvcc, and by a C++ compiler
// against the stand-in of test/cuda.
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace thaw {
namespace cuda {

/// The compute stream of the calling thread's current device.
cudaStream_t stream();
/// Keeps the first error of a launch for the next call that can say it.
void note(cudaError_t error);

/// Launches `kernel` on grid x threads with `shared` bytes of shared memory. Nothing is launched for an empty grid.
template <class... Args>
void launch(void (*kernel)(Args...), dim3 grid, dim3 threads, size_t shared, std::type_identity_t<Args>... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  // Beyond 48 KiB a kernel has to be told; telling it again costs nothing that a recorded graph would repeat.
  if (shared > (size_t{48} << 10))
    note(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
#ifdef __CUDACC__
  void* pointers[] = {static_cast<void*>(&args)...};
  note(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, threads, pointers, shared, stream()));
#else
  note(standin::launch(grid, threads, shared, [=] { kernel(args...); }, stream()));
#endif
}

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Blocks for a loop over `count` items with `threads` threads a block that each take `each` items: a grid's first
/// dimension holds 2^31 - 1.
inline dim3 blocks(int64_t count, int threads, int each = 1) {
  return dim3(static_cast<unsigned>(divide_up(count, static_cast<int64_t>(threads) * each)), 1, 1);
}

}  // namespace cuda
}  // namespace thaw
