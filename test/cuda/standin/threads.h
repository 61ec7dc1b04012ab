#pragma once
// Part of the stand-in for CUDA: what a kernel sees of its threads, and the launch.
#include <cmath>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "host.h"
#include "vectors.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

namespace standin {

/// Where in the source a thread stands: most functions below take it unasked.
using Where = std::source_location;

// These do not change while a kernel runs, so the compiler may ask once.
[[gnu::const]] uint3 thread_index();
[[gnu::const]] uint3 block_index();
[[gnu::const]] dim3 block_size();
[[gnu::const]] dim3 grid_size();

/// The block's dynamic shared memory.
[[gnu::const]] void* shared_memory();

enum class Exchange { index, up, down, exclusive_or };
/// What `lane` chooses of the warp's `bits`, one of each lane of `mask`.
uint64_t shuffle(unsigned mask, uint64_t bits, Exchange kind, int lane, int width, Where where);
unsigned ballot(unsigned mask, bool vote, Where where);

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where = Where::current());
void load_matrices(uint32_t (&r)[4], const void* row, bool transposed, Where where = Where::current());
void copy_later(void* to, const void* from, bool valid, Where where = Where::current());
void end_copies();
void wait_copies(int left);

// Hopper's: see kernels/cuda/wgmma.h.
uint32_t shared_address(const void* pointer);
void fence_async();
void begin_wgmma(Where where = Where::current());
void end_wgmma(Where where = Where::current());
void wait_wgmma(int left, Where where = Where::current());
/// d: n / 2 sums of the thread.
void wgmma_bf16(float* d, int n, uint64_t a, uint64_t b, bool transposed_a, bool transposed_b, Where where = Where::current());
void init_barrier(void* barrier, uint32_t count, Where where = Where::current());
void expect_bytes(void* barrier, uint32_t bytes, Where where = Where::current());
void copy_bulk(void* to, const void* from, uint32_t bytes, void* barrier, Where where = Where::current());
void wait_phase(void* barrier, unsigned parity, Where where = Where::current());

/// A kernel's call with its parameters, kept as bytes.
struct Call {
  void (*run)(const void* parameters);
  const void* parameters;
  size_t bytes;
};
cudaError_t launch(dim3 grid, dim3 threads, size_t shared, const Call& call, cudaStream_t stream);

/// Puts `body()` for each thread of the grid on the stream. What it captured is copied as bytes, as CUDA does.
template <class Body>
cudaError_t launch(dim3 grid, dim3 threads, size_t shared, const Body& body, cudaStream_t stream = nullptr) {
  static_assert(std::is_trivially_copyable_v<Body>, "parameters of a kernel are copied as bytes");
  static_assert(sizeof(Body) <= 4096, "a kernel's parameters hold 4 KiB");
  return launch(grid, threads, shared,
                Call{[](const void* b) { (*static_cast<const Body*>(b))(); }, &body, sizeof(Body)}, stream);
}

template <class T>
T shuffle_of(unsigned mask, T x, Exchange kind, int lane, int width, Where where) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof x);
  bits = shuffle(mask, bits, kind, lane, width, where);
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace standin

#define threadIdx (::standin::thread_index())
#define blockIdx (::standin::block_index())
#define blockDim (::standin::block_size())
#define gridDim (::standin::grid_size())
constexpr int warpSize = 32;

void __syncthreads(standin::Where where = standin::Where::current());
void __syncwarp(unsigned mask = 0xffffffffu, standin::Where where = standin::Where::current());

template <class T>
T __shfl_sync(unsigned mask, T x, int lane, int width = 32, standin::Where where = standin::Where::current()) {
  return standin::shuffle_of(mask, x, standin::Exchange::index, lane, width, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned by, int width = 32, standin::Where where = standin::Where::current()) {
  return standin::shuffle_of(mask, x, standin::Exchange::up, static_cast<int>(by), width, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T x, unsigned by, int width = 32, standin::Where where = standin::Where::current()) {
  return standin::shuffle_of(mask, x, standin::Exchange::down, static_cast<int>(by), width, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T x, int with, int width = 32, standin::Where where = standin::Where::current()) {
  return standin::shuffle_of(mask, x, standin::Exchange::exclusive_or, with, width, where);
}
inline unsigned __ballot_sync(unsigned mask, int vote, standin::Where where = standin::Where::current()) {
  return standin::ballot(mask, vote != 0, where);
}

template <class T>
T __ldg(const T* p) {
  return *p;
}
inline float __uint_as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }
inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline float __int_as_float(int bits) { return __builtin_bit_cast(float, bits); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }
inline int __clz(unsigned bits) { return bits == 0 ? 32 : __builtin_clz(bits); }
