#pragma once
// Tensor cores and asynchronous copies, one PTX instruction each. Off nvcc the stand-in of test/cuda does what the
// instruction's description says (PTX ISA, "Warp Level Matrix Instructions", "cp.async").
#include <cuda_runtime.h>

#include <cstdint>

namespace thaw {
namespace cuda {

#ifdef __CUDACC__

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/// d += a b on one warp: a 16x16 by rows, b 16x8 by columns, in bf16; d 16x8 in f32. Fragments of m16n8k16.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8x8 matrices of 16-bit numbers from shared memory: lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// The same, each matrix transposed.
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// Sixteen bytes from global to shared memory, later; zeros where `valid` is false (`from` must be a valid address all the
/// same). Both are aligned to 16 bytes.
__device__ __forceinline__ void copy_later(void* to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
}

/// Ends a group of copies.
__device__ __forceinline__ void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until all but the last `left` groups of this thread have arrived. Other threads see them after a barrier.
template <int left>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

#else

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { standin::mma_bf16(d, a, b); }
inline void load_matrices(uint32_t (&r)[4], const void* row) { standin::load_matrices(r, row, false); }
inline void load_matrices_transposed(uint32_t (&r)[4], const void* row) { standin::load_matrices(r, row, true); }
inline void copy_later(void* to, const void* from, bool valid) { standin::copy_later(to, from, valid); }
inline void end_copies() { standin::end_copies(); }
template <int left>
inline void wait_copies() {
  standin::wait_copies(left);
}

#endif

}  // namespace cuda
}  // namespace thaw
