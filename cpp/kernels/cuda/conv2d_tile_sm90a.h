#pragma once
// Which inner loop a convolution in bf16 has: Hopper's own (wgmma.h) in machine code for sm_90a, else TileBf16, its twin.
// Both have the same rows, columns and threads, so that a launch need not know, and the same copies and fragments of sums.
//
// Stages are laid out for either: `slot` is what wgmma calls a swizzle of 64 bytes. All tiles of one machine code use the
// same instruction, so that the size of a tile changes no bits.
#include "kernels/cuda/conv2d_tile.h"
#include "kernels/cuda/wgmma.h"

namespace thaw {
namespace cuda {

#ifdef THAW_SM90A

/// Each warpgroup makes 64 x BN sums or several such, both operands from shared memory. While a stage is multiplied, its
/// threads wait for the next one and begin copies.
template <int BM, int BN, int threads>
struct TileHopper : Fragments<BN, BM / 64 * 128 / threads, BN / 8, TileHopper<BM, BN, threads>> {
  using Base = Fragments<BN, BM / 64 * 128 / threads, BN / 8, TileHopper>;
  using Base::kM, Base::kN, typename Base::Sums;
  using Number = uint16_t;
  static constexpr int kRows = BM, kColumns = BN, kThreads = threads;
  static constexpr int kInFlight = 1;
  static constexpr bool kBulk = true;
  static constexpr int kEight = 8 * kLine;  // bytes of eight lines
  static_assert(kM * 64 * (threads / 128) == BM, "whole warpgroups");

  static __device__ __forceinline__ int group_row() { return static_cast<int>(threadIdx.x) / 128 * kM * 64; }
  static __device__ __forceinline__ int row(int i) { return group_row() + i * 64 + static_cast<int>(threadIdx.x) / 32 % 4 * 16; }
  static __device__ __forceinline__ int column(int j) { return j * 8; }

  static __device__ __forceinline__ void hold(Sums& sums) {
#pragma unroll
    for (int i = 0; i < kM; ++i)
#pragma unroll
      for (int j = 0; j < kN; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) hold_sum(sums.at[i][j][e]);
  }

  /// Weights come in one copy a stage, of as many of its lines as there are; the others are zeros from the start.
  static __device__ __forceinline__ void prepare(unsigned char* lines, int stage, int stages, int count, uint64_t* arrivals) {
    const int missing = (BN - count) * kParts;
    for (int i = static_cast<int>(threadIdx.x); i < stages * missing; i += threads)
      *reinterpret_cast<uint4*>(lines + i / missing * stage + count * kLine + i % missing * 16) = make_uint4(0, 0, 0, 0);
    if (threadIdx.x == 0)
      for (int i = 0; i < stages; ++i) init_barrier(arrivals + i, 1);
    publish_shared();
  }
  static __device__ __forceinline__ void copy_lines(unsigned char* to, const unsigned char* from, int count, uint64_t* arrival) {
    if (threadIdx.x != 0) return;
    const uint32_t bytes = static_cast<uint32_t>(smaller_of(count, BN) * kLine);
    expect_bytes(arrival, bytes);
    copy_bulk(to, from, bytes, arrival);
  }
  static __device__ __forceinline__ void wait_lines(uint64_t* arrival, uint32_t parity) { wait_phase(arrival, parity); }

  static __device__ __forceinline__ void meet(Sums& sums) {
    publish_shared();
    __syncwarp();  // some may have waited longer for their copies
    wait_wgmma<kInFlight>();
    hold(sums);
  }
  static __device__ __forceinline__ void settle(Sums& sums) {
    wait_wgmma<0>();
    hold(sums);
  }

  static __device__ __forceinline__ void multiply(const unsigned char* a, const unsigned char* b, Sums& sums) {
    const uint32_t from_a = shared_address(a) + group_row() * kLine, from_b = shared_address(b);
    begin(sums);
#pragma unroll
    for (int k = 0; k < 2; ++k)
#pragma unroll
      for (int i = 0; i < kM; ++i)
        wgmma_bf16<BN, false>(sums.at[i], wgmma_operand(from_a + i * 64 * kLine + k * 32, 0, kEight),
                              wgmma_operand(from_b + k * 32, 0, kEight));
    end(sums);
  }

  static __device__ __forceinline__ int pixel_slot(int block, int pixel, int part) { return block * 32 * kLine + slot(pixel, part); }

  static __device__ __forceinline__ void multiply_pixels(const unsigned char* a, const unsigned char* b, Sums& sums) {
    constexpr int kBlock = 32 * kLine;  // 32 pixels of one block of channels
    const uint32_t from_a = shared_address(a) + group_row() / 32 * kBlock, from_b = shared_address(b);
    begin(sums);
#pragma unroll
    for (int k = 0; k < 2; ++k)
#pragma unroll
      for (int i = 0; i < kM; ++i)
        wgmma_bf16<BN, true>(sums.at[i], wgmma_operand(from_a + i * 2 * kBlock + k * 2 * kEight, kBlock, kEight),
                             wgmma_operand(from_b + k * 2 * kEight, kBlock, kEight));
    end(sums);
  }

 private:
  static __device__ __forceinline__ void begin(Sums& sums) {
    __syncwarp();  // a warp's threads may have come apart in their copies
    hold(sums);
    begin_wgmma();
  }
  static __device__ __forceinline__ void end(Sums& sums) {
    end_wgmma();
    hold(sums);
  }
};

template <int BM, int BN, int WM, int WN>
struct TensorTile : TileHopper<BM, BN, TileBf16<BM, BN, WM, WN>::kThreads> {};

#else

template <int BM, int BN, int WM, int WN>
struct TensorTile : TileBf16<BM, BN, WM, WN> {};

#endif

}  // namespace cuda
}  // namespace thaw
