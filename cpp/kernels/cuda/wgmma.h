#pragma once
// Hopper's own instructions, which only machine code for sm_90a has: products that four warps (a warpgroup) make together of
// operands in shared memory, while their threads go on, and copies of whole blocks of memory. One PTX instruction each (PTX
// ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions", "cp.async.bulk", "mbarrier"); off nvcc the
// stand-in of test/cuda does what their descriptions say, where THAW_STANDIN_SM90A asks for this code.
#include "kernels/cuda/mma.h"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(THAW_STANDIN_SM90A)
#define THAW_SM90A 1
#endif

#ifdef THAW_SM90A
namespace thaw {
namespace cuda {

/// An operand: lines of 64 bytes, line r beginning 64 r bytes behind `from`, its sixteen-byte part p lying at p ^ (r >> 1 & 3)
/// (the "64-byte swizzle"). `from` is at most 3 parts behind a multiple of 512.
/// K-major: a line is a row or column of the product, and holds its depth; eights of lines are `stride` bytes apart,
/// `leading` counts for nothing. MN-major: a line is a step of the depth, and holds 32 rows or columns; eights of lines are
/// `stride` bytes apart, 32 rows or columns `leading` bytes.
__device__ __forceinline__ uint64_t wgmma_operand(uint32_t from, int leading, int stride) {
  constexpr uint64_t kSwizzle64 = uint64_t{2} << 62;
  return kSwizzle64 | static_cast<uint64_t>(stride >> 4) << 32 | static_cast<uint64_t>(leading >> 4) << 16 |
         ((from >> 4) & 0x3fffu);
}

#ifdef __CUDACC__

/// What this thread has written to shared memory can be read by wgmma and bulk copies behind a barrier.
__device__ __forceinline__ void publish_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// Before the first product, and whenever registers of sums were touched in between.
__device__ __forceinline__ void begin_wgmma() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Ends a group of products.
__device__ __forceinline__ void end_wgmma() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until all but the last `left` groups are done: their operands may be overwritten, and their sums read.
template <int left>
__device__ __forceinline__ void wait_wgmma() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory");
}
/// Keeps what the compiler does with a sum on its side of the calls above.
__device__ __forceinline__ void hold_sum(float& sum) { asm volatile("" : "+f"(sum)::"memory"); }

/// An mbarrier in eight bytes of shared memory, whose phases `arrivals` calls of expect_bytes and the bytes that these
/// announce complete. Behind it: publish_shared and the block's barrier.
__device__ __forceinline__ void init_barrier(uint64_t* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void expect_bytes(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
/// Bytes from global to shared memory, later: addresses and size are multiples of 16.
__device__ __forceinline__ void copy_bulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(to)),
               "l"(from), "r"(bytes), "r"(shared_address(barrier))
               : "memory");
}
/// Waits for the end of the phase of that parity: the first has 0, the next 1, and so on by turns.
__device__ __forceinline__ void wait_phase(uint64_t* barrier, uint32_t parity) {
  uint32_t over = 0;
  while (over == 0)
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
                 : "=r"(over)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
}

#define THAW_D4(i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define THAW_D16(i) THAW_D4(i), THAW_D4((i) + 1), THAW_D4((i) + 2), THAW_D4((i) + 3)
#define THAW_ADDING "{.reg .pred p; setp.eq.u32 p, 0, 0; "
#define THAW_R0 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define THAW_R1 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define THAW_R2 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define THAW_R3 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

/// d += a b: a 64 x 16, b 16 x n in bf16, d 64 x n in f32: a warp has 16 rows of it, as eights of columns in fragments of
/// m16n8. `transposed`: operands are MN-major, else K-major.
template <int n, bool transposed>
__device__ __forceinline__ void wgmma_bf16(float (&d)[n / 8][4], uint64_t a, uint64_t b) {
  static_assert(n == 32 || n == 64 || n == 128, "written out for these");
  if constexpr (n == 32)
    asm volatile(THAW_ADDING "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {" THAW_R0 "}, %16, %17, p, 1, 1, %18, %18;}"
                 : THAW_D16(0)
                 : "l"(a), "l"(b), "n"(transposed ? 1 : 0));
  else if constexpr (n == 64)
    asm volatile(THAW_ADDING "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" THAW_R0 "," THAW_R1 "}, %32, %33, p, 1, 1, %34, %34;}"
                 : THAW_D16(0), THAW_D16(4)
                 : "l"(a), "l"(b), "n"(transposed ? 1 : 0));
  else
    asm volatile(THAW_ADDING "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" THAW_R0 "," THAW_R1 "," THAW_R2 "," THAW_R3
                 "}, %64, %65, p, 1, 1, %66, %66;}"
                 : THAW_D16(0), THAW_D16(4), THAW_D16(8), THAW_D16(12)
                 : "l"(a), "l"(b), "n"(transposed ? 1 : 0));
}

#undef THAW_D4
#undef THAW_D16
#undef THAW_ADDING
#undef THAW_R0
#undef THAW_R1
#undef THAW_R2
#undef THAW_R3

#else

inline uint32_t shared_address(const void* pointer) { return standin::shared_address(pointer); }
inline void publish_shared() { standin::fence_async(); }
inline void init_barrier(uint64_t* barrier, uint32_t arrivals) { standin::init_barrier(barrier, arrivals); }
inline void expect_bytes(uint64_t* barrier, uint32_t bytes) { standin::expect_bytes(barrier, bytes); }
inline void copy_bulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier) { standin::copy_bulk(to, from, bytes, barrier); }
inline void wait_phase(uint64_t* barrier, uint32_t parity) { standin::wait_phase(barrier, parity); }
inline void begin_wgmma() { standin::begin_wgmma(); }
inline void end_wgmma() { standin::end_wgmma(); }
template <int left>
inline void wait_wgmma() {
  standin::wait_wgmma(left);
}
inline void hold_sum(float&) {}
template <int n, bool transposed>
inline void wgmma_bf16(float (&d)[n / 8][4], uint64_t a, uint64_t b) {
  standin::wgmma_bf16(&d[0][0], n, a, b, transposed, transposed);
}

#endif

}  // namespace cuda
}  // namespace thaw
#endif
