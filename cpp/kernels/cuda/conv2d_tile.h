#pragma once
// Products of tiles in shared memory: BM rows by BN columns, sums in registers of the block's threads. Each type says how
// many threads it takes, multiplies one stage of lines, and spreads its sums out in shared memory.
//   TileBf16  tensor cores, 32 deep a stage. A warp's 64 x 64 reads 8 KiB of shared memory for 64 instructions of the
//             tensor cores: half of what these leave time for; 64 x 32 would read three quarters.
//   TileF32   fused multiply-adds of single precision, 16 deep a stage, one chain per sum in order of the depth.
//   TileHopper (conv2d_tile_sm90a.h)  tensor cores as four warps use them together.
// Products may still be under way when `multiply` returns, those of the last kInFlight stages: before the block's barrier in
// front of the next one each thread calls `meet`, before it reads sums `settle`.
// Lines lie one way or the other: `multiply` takes a line as one row or column of the product, its channels being the depth;
// `multiply_pixels` takes channels as rows and columns, the depth being 32 pixels (gradients of weights).
#include "kernels/cuda/conv2d_lines.h"

namespace thaw {
namespace cuda {

/// Where the sum of a row and column lies among rows of `columns` sums: eights are permuted within a row, and fours within
/// an eight, so that neither the stores of fragments nor reading by parts of lines meets a bank twice.
template <int columns>
__device__ __forceinline__ int sum_at(int row, int column) {
  return row * columns + (column ^ ((row & 3) * 8 | (row & 1) * 4));
}

/// Byte of a part in stages of 32 pixels, block by block. Blocks by turns exchange neighbouring lines: parts of two blocks
/// at one pixel lie in different banks.
__device__ __forceinline__ int turned_pixel_slot(int block, int pixel, int part) {
  return block * 32 * kLine + slot(pixel ^ (block & 1), part);
}

/// Of tiles whose products are done when `multiply` returns, and whose threads share all copies.
struct Waits {
  static constexpr int kInFlight = 0;
  static constexpr bool kBulk = false;
  static __device__ __forceinline__ void prepare(unsigned char*, int, int, int, uint64_t*) {}
  template <class Sums>
  static __device__ __forceinline__ void meet(Sums&) {}
  template <class Sums>
  static __device__ __forceinline__ void settle(Sums&) {}
};

/// Sums as a warp's fragments of m16n8: `Where` says in which row and column fragment (i, j) begins.
template <int BN, int M, int N, class Where>
struct Fragments {
  static constexpr int kM = M, kN = N;

  struct Sums {
    float at[M][N][4];
  };

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % 32; }

  static __device__ __forceinline__ void clear(Sums& sums) {
#pragma unroll
    for (int i = 0; i < M; ++i)
#pragma unroll
      for (int j = 0; j < N; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums.at[i][j][e] = 0.0f;
  }

  static __device__ __forceinline__ void add(Sums& total, const Sums& sums) {
#pragma unroll
    for (int i = 0; i < M; ++i)
#pragma unroll
      for (int j = 0; j < N; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) total.at[i][j][e] += sums.at[i][j][e];
  }

  /// The sums as rows of BN numbers, at `sum_at`.
  static __device__ __forceinline__ void spread(const Sums& sums, float* to) {
#pragma unroll
    for (int i = 0; i < M; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int j = 0; j < N; ++j) {
          const int row = Where::row(i) + half * 8 + lane() / 4, column = Where::column(j) + lane() % 4 * 2;
          *reinterpret_cast<float2*>(to + sum_at<BN>(row, column)) =
              make_float2(sums.at[i][j][half * 2], sums.at[i][j][half * 2 + 1]);
        }
  }

  /// The sums that multiply_pixels made, to rows `pitch` numbers apart, as far as there are rows and columns.
  static __device__ __forceinline__ void store_pixels(const Sums& sums, float* to, int pitch, int rows, int columns) {
#pragma unroll
    for (int i = 0; i < M; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int j = 0; j < N; ++j) {
          const int row = Where::row(i) + half * 8 + lane() / 4, column = Where::column(j) + lane() % 4 * 2;
          if (row < rows && column < columns)
            *reinterpret_cast<float2*>(to + row * pitch + column) =
                make_float2(sums.at[i][j][half * 2], sums.at[i][j][half * 2 + 1]);
        }
  }
};

template <int BM, int BN, int WM, int WN>
struct TileBf16 : Fragments<BN, WM / 16, WN / 8, TileBf16<BM, BN, WM, WN>>, Waits {
  using Base = Fragments<BN, WM / 16, WN / 8, TileBf16>;
  using Base::kM, Base::kN, Base::lane, typename Base::Sums;
  using Number = uint16_t;
  static constexpr int kRows = BM, kColumns = BN;
  static constexpr int kThreads = BM / WM * (BN / WN) * 32;

  static __device__ __forceinline__ int warp_row() { return static_cast<int>(threadIdx.x) / 32 / (BN / WN) * WM; }
  static __device__ __forceinline__ int warp_column() { return static_cast<int>(threadIdx.x) / 32 % (BN / WN) * WN; }
  static __device__ __forceinline__ int row(int i) { return warp_row() + i * 16; }
  static __device__ __forceinline__ int column(int j) { return warp_column() + j * 8; }

  static __device__ __forceinline__ int pixel_slot(int block, int pixel, int part) {
    return turned_pixel_slot(block, pixel, part);
  }

  static __device__ __forceinline__ void multiply(const unsigned char* a, const unsigned char* b, Sums& sums) {
    const int a_row = warp_row() + lane() % 16, a_part = lane() / 16;
    const int b_row = warp_column() + lane() % 8 + lane() / 16 * 8, b_part = lane() / 8 % 2;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      uint32_t fa[kM][4], fb[kN / 2][4];
#pragma unroll
      for (int i = 0; i < kM; ++i) load_matrices(fa[i], a + slot(a_row + i * 16, k * 2 + a_part));
#pragma unroll
      for (int j = 0; j < kN / 2; ++j) load_matrices(fb[j], b + slot(b_row + j * 16, k * 2 + b_part));
      multiply_fragments(fa, fb, sums);
    }
  }

  static __device__ __forceinline__ void multiply_pixels(const unsigned char* a, const unsigned char* b, Sums& sums) {
    const int a_pixel = lane() % 8 + lane() / 16 * 8, a_part = lane() / 8 % 2;
    const int b_pixel = lane() % 16, b_part = lane() / 16;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      uint32_t fa[kM][4], fb[kN / 2][4];
#pragma unroll
      for (int i = 0; i < kM; ++i) {
        const int m = warp_row() + i * 16;
        load_matrices_transposed(fa[i], a + pixel_slot(m / 32, k * 16 + a_pixel, m % 32 / 8 + a_part));
      }
#pragma unroll
      for (int j = 0; j < kN / 2; ++j) {
        const int n = warp_column() + j * 16;
        load_matrices_transposed(fb[j], b + pixel_slot(n / 32, k * 16 + b_pixel, n % 32 / 8 + b_part));
      }
      multiply_fragments(fa, fb, sums);
    }
  }

  static __device__ __forceinline__ void multiply_fragments(const uint32_t (&fa)[kM][4], const uint32_t (&fb)[kN / 2][4],
                                                            Sums& sums) {
#pragma unroll
    for (int i = 0; i < kM; ++i)
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        const uint32_t pair[2] = {fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]};
        mma_bf16(sums.at[i][j], fa[i], pair);
      }
  }
};

/// Each thread has TM x TN sums, rows four and columns eight apart.
template <int BM, int BN, int TM, int TN>
struct TileF32 : Waits {
  using Number = float;
  static constexpr int kRows = BM, kColumns = BN;
  static constexpr int kWarpM = 4 * TM, kWarpN = 8 * TN;
  static constexpr int kThreads = BM / kWarpM * (BN / kWarpN) * 32;

  struct Sums {
    float at[TM][TN];
  };

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
  static __device__ __forceinline__ int row() {
    return static_cast<int>(threadIdx.x) / 32 / (BN / kWarpN) * kWarpM + lane() / 8;
  }
  static __device__ __forceinline__ int column() {
    return static_cast<int>(threadIdx.x) / 32 % (BN / kWarpN) * kWarpN + lane() % 8;
  }

  static __device__ __forceinline__ void clear(Sums& sums) {
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
      for (int j = 0; j < TN; ++j) sums.at[i][j] = 0.0f;
  }

  static __device__ __forceinline__ void add(Sums& total, const Sums& sums) {
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
      for (int j = 0; j < TN; ++j) total.at[i][j] += sums.at[i][j];
  }

  static __device__ __forceinline__ void multiply(const unsigned char* a, const unsigned char* b, Sums& sums) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      float4 fa[TM];
#pragma unroll
      for (int i = 0; i < TM; ++i) fa[i] = *reinterpret_cast<const float4*>(a + slot(row() + i * 4, part));
#pragma unroll
      for (int j = 0; j < TN; ++j) {
        const float4 fb = *reinterpret_cast<const float4*>(b + slot(column() + j * 8, part));
#pragma unroll
        for (int i = 0; i < TM; ++i) {
          float& sum = sums.at[i][j];
          sum = fmaf(fa[i].x, fb.x, sum);
          sum = fmaf(fa[i].y, fb.y, sum);
          sum = fmaf(fa[i].z, fb.z, sum);
          sum = fmaf(fa[i].w, fb.w, sum);
        }
      }
    }
  }

  static __device__ __forceinline__ void spread(const Sums& sums, float* to) {
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
      for (int j = 0; j < TN; ++j) to[sum_at<BN>(row() + i * 4, column() + j * 8)] = sums.at[i][j];
  }

  static __device__ __forceinline__ int pixel_slot(int block, int pixel, int part) {
    return turned_pixel_slot(block, pixel, part);
  }

  // Here a thread's rows are fours of neighbours, its columns TN neighbours, as they lie in a pixel's line.
  static __device__ __forceinline__ int pixel_row(int i) { return row() - lane() / 8 + i / 4 * 16 + lane() / 8 * 4 + i % 4; }
  static __device__ __forceinline__ int pixel_column() { return column() - lane() % 8 + lane() % 8 * TN; }

  static __device__ __forceinline__ void multiply_pixels(const unsigned char* a, const unsigned char* b, Sums& sums) {
    const int n = pixel_column();
#pragma unroll 4
    for (int pixel = 0; pixel < 32; ++pixel) {
      float fa[TM], fb[TN];
#pragma unroll
      for (int i = 0; i < TM; i += 4) {
        const int m = pixel_row(i);
        const float4 four = *reinterpret_cast<const float4*>(a + pixel_slot(m / 16, pixel, m % 16 / 4));
        fa[i] = four.x, fa[i + 1] = four.y, fa[i + 2] = four.z, fa[i + 3] = four.w;
      }
#pragma unroll
      for (int j = 0; j < TN; j += 2) {
        const float2 two = *reinterpret_cast<const float2*>(b + pixel_slot(n / 16, pixel, n % 16 / 4) + (n % 4 + j) * 4);
        fb[j] = two.x, fb[j + 1] = two.y;
      }
#pragma unroll
      for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) sums.at[i][j] = fmaf(fa[i], fb[j], sums.at[i][j]);
    }
  }

  static __device__ __forceinline__ void store_pixels(const Sums& sums, float* to, int pitch, int rows, int columns) {
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
      for (int j = 0; j < TN; j += 2)
        if (pixel_row(i) < rows && pixel_column() < columns)
          *reinterpret_cast<float2*>(to + pixel_row(i) * pitch + pixel_column() + j) =
              make_float2(sums.at[i][j], sums.at[i][j + 1]);
  }
};

}  // namespace cuda
}  // namespace thaw
