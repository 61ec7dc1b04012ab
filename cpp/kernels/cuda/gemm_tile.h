#pragma once
// The product by tiles; see gemm.cu.
#include "kernels/cuda/device.h"
#include "kernels/cuda/function.h"
#include "kernels/cuda/launch.h"
#include "kernels/gemm.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kGemmThreads = 256;
constexpr int kStep = 16;  // summands of a step

__device__ __forceinline__ float finished(const Gemm& g, float sum, int64_t column) {
  if (g.bias) sum += g.bias[column];
  return activate(g.activation, sum, g.alpha);
}

/// One block's tile: kSide x kSide of C, in threads of 16 x 16, each with s x s squares of 4 x 4 that lie 64 apart.
template <int s>
struct Tile {
  static constexpr int kSide = 64 * s;
  // Distances between steps in shared memory: quarter-warps write and read without conflicts.
  static constexpr int kRowsA = kSide + 4, kRowsB = kSide + 16;
  static constexpr int kFloats = kStep * (kRowsA + kRowsB);
  static constexpr int kLoads = kSide * kStep / 4 / kGemmThreads;  // of four numbers, per thread and operand
};

/// What a block multiplies.
struct Place {
  const float *a, *b;
  int64_t row, column, panels, batch;
  int64_t begin, end;  // along K
};

template <int s>
__device__ __forceinline__ Place place_of(const Gemm& g) {
  constexpr int kSide = Tile<s>::kSide;
  const int64_t across = (g.n + kSide - 1) / kSide, down = (g.m + kSide - 1) / kSide;
  Place p;
  p.batch = blockIdx.x / (across * down);
  p.row = blockIdx.x / across % down * kSide;
  p.column = blockIdx.x % across * kSide;
  p.panels = (g.n + kPanel - 1) / kPanel;
  p.a = g.a + g.a_of[p.batch] * g.m * g.k;
  p.b = g.b + g.b_of[p.batch] * p.panels * g.k * kPanel;
  const int64_t chunk_count = (g.k + kDepth - 1) / kDepth, part = blockIdx.y;
  p.begin = chunk_count * part / g.parts * kDepth;
  p.end = chunk_count * (part + 1) / g.parts * kDepth;
  if (p.end > g.k) p.end = g.k;
  return p;
}

/// Four numbers of A: rows or, where `down`, summands side by side; zero beyond the edges.
template <bool down>
__device__ __forceinline__ float4 four_of_a(const Gemm& g, const Place& p, int64_t row, int64_t k) {
  const int64_t last = down ? g.m - row : p.end - k;  // numbers there are in that direction
  const int64_t across = down ? p.end - k : g.m - row, stride = down ? g.k_stride : g.m_stride;
  if (last <= 0 || across <= 0) return make_float4(0, 0, 0, 0);
  const float* from = p.a + row * g.m_stride + k * g.k_stride;
  if (last >= 4 && stride % 4 == 0) return *reinterpret_cast<const float4*>(from);
  return make_float4(from[0], last > 1 ? from[1] : 0.0f, last > 2 ? from[2] : 0.0f, last > 3 ? from[3] : 0.0f);
}

/// Loads of one step: thread t takes the fours t, t + 256, … of each operand.
template <int s, bool down>
__device__ __forceinline__ void load_step(const Gemm& g, const Place& p, int64_t k, float4 (&a)[Tile<s>::kLoads],
                                          float4 (&b)[Tile<s>::kLoads]) {
  const int64_t chunk = k / kDepth * kDepth, depth = g.k - chunk < kDepth ? g.k - chunk : kDepth;
#pragma unroll
  for (int i = 0; i < Tile<s>::kLoads; ++i) {
    const int f = static_cast<int>(threadIdx.x) + i * kGemmThreads;
    if constexpr (down) a[i] = four_of_a<true>(g, p, p.row + f % (Tile<s>::kSide / 4) * 4, k + f / (Tile<s>::kSide / 4));
    else a[i] = four_of_a<false>(g, p, p.row + f / (kStep / 4), k + f % (kStep / 4) * 4);
    const int64_t panel = p.column / kPanel + f / (kStep * 4), at = k + f / 4 % kStep;
    b[i] = panel < p.panels && at < p.end
               ? *reinterpret_cast<const float4*>(p.b + (chunk * p.panels + panel * depth + at - chunk) * kPanel + f % 4 * 4)
               : make_float4(0, 0, 0, 0);
  }
}

/// Puts a step into shared memory as [k][row] and [k][column].
template <int s, bool down>
__device__ __forceinline__ void store_step(float* memory, const float4 (&a)[Tile<s>::kLoads],
                                           const float4 (&b)[Tile<s>::kLoads]) {
  constexpr int kRowsA = Tile<s>::kRowsA;
  float* to_b = memory + kStep * kRowsA;
#pragma unroll
  for (int i = 0; i < Tile<s>::kLoads; ++i) {
    const int f = static_cast<int>(threadIdx.x) + i * kGemmThreads;
    if constexpr (down) {
      float* to = memory + f / (Tile<s>::kSide / 4) * kRowsA + f % (Tile<s>::kSide / 4) * 4;
      *reinterpret_cast<float4*>(to) = a[i];
    } else {
      float* to = memory + f % (kStep / 4) * 4 * kRowsA + f / (kStep / 4);
      to[0] = a[i].x, to[kRowsA] = a[i].y, to[2 * kRowsA] = a[i].z, to[3 * kRowsA] = a[i].w;
    }
    *reinterpret_cast<float4*>(to_b + f / 4 % kStep * Tile<s>::kRowsB + f / (kStep * 4) * kPanel + f % 4 * 4) = b[i];
  }
}

/// Adds the products of one step in shared memory.
template <int s>
__device__ __forceinline__ void multiply_step(const float* memory, int row, int column, float (&sum)[4 * s][4 * s]) {
  const float* from_a = memory + row;
  const float* from_b = memory + kStep * Tile<s>::kRowsA + column;
#pragma unroll
  for (int k = 0; k < kStep; ++k, from_a += Tile<s>::kRowsA, from_b += Tile<s>::kRowsB) {
    float a[4 * s], b[4 * s];
#pragma unroll
    for (int q = 0; q < s; ++q) {
      const float4 x = *reinterpret_cast<const float4*>(from_a + q * 64);
      const float4 y = *reinterpret_cast<const float4*>(from_b + q * 64);
      a[4 * q] = x.x, a[4 * q + 1] = x.y, a[4 * q + 2] = x.z, a[4 * q + 3] = x.w;
      b[4 * q] = y.x, b[4 * q + 1] = y.y, b[4 * q + 2] = y.z, b[4 * q + 3] = y.w;
    }
#pragma unroll
    for (int r = 0; r < 4 * s; ++r)
#pragma unroll
      for (int c = 0; c < 4 * s; ++c) sum[r][c] = fmaf(a[r], b[c], sum[r][c]);
  }
}

/// A thread's sums into C, or into this part's share of it.
template <int s>
__device__ __forceinline__ void store_tile(const Gemm& g, const Place& p, int row, int column,
                                           const float (&total)[4 * s][4 * s]) {
  const bool whole = g.parts == 1;
  float* c = whole ? g.c : g.partial + blockIdx.y * g.batch * g.m * g.n;
#pragma unroll
  for (int r = 0; r < 4 * s; ++r) {
    const int64_t y = p.row + row + r / 4 * 64 + r % 4;
    if (y >= g.m) continue;
    float* line = c + (p.batch * g.m + y) * g.n;
#pragma unroll
    for (int q = 0; q < s; ++q) {
      const int64_t x = p.column + column + q * 64;
      float v[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) v[j] = whole && x + j < g.n ? finished(g, total[r][4 * q + j], x + j) : total[r][4 * q + j];
      if (g.n % 4 == 0 && x < g.n) {
        *reinterpret_cast<float4*>(line + x) = make_float4(v[0], v[1], v[2], v[3]);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          if (x + j < g.n) line[x + j] = v[j];
      }
    }
  }
}

template <int s, bool down>
__global__ void __launch_bounds__(kGemmThreads) tile_kernel(Gemm g) {
  using T = Tile<s>;
  const Place p = place_of<s>(g);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  // A warp has 4 x 8 of the threads: its reads of either operand are one line of shared memory at most.
  const int row = (warp / 2 * 4 + lane / 8) * 4, column = (warp % 2 * 8 + lane % 8) * 4;
  float* memory = shared_memory<float>();  // two steps
  float sum[4 * s][4 * s], total[4 * s][4 * s];
#pragma unroll
  for (int r = 0; r < 4 * s; ++r)
#pragma unroll
    for (int c = 0; c < 4 * s; ++c) sum[r][c] = total[r][c] = 0;
  float4 a[T::kLoads], b[T::kLoads];
  int current = 0;
  if (p.begin < p.end) {
    load_step<s, down>(g, p, p.begin, a, b);
    store_step<s, down>(memory, a, b);
    __syncthreads();
  }
  for (int64_t k = p.begin; k < p.end; k += kStep, current ^= 1) {
    const bool more = k + kStep < p.end;
    if (more) load_step<s, down>(g, p, k + kStep, a, b);
    multiply_step<s>(memory + current * T::kFloats, row, column, sum);
    if (more) {
      store_step<s, down>(memory + (current ^ 1) * T::kFloats, a, b);
      __syncthreads();
    }
    if (more && (k + kStep) % kDepth != 0) continue;
#pragma unroll
    for (int r = 0; r < 4 * s; ++r)
#pragma unroll
      for (int c = 0; c < 4 * s; ++c) {
        total[r][c] += sum[r][c];
        sum[r][c] = 0;
      }
  }
  store_tile<s>(g, p, row, column, total);
}

/// C from its parts, added in order.
__global__ void __launch_bounds__(kGemmThreads) join_parts_kernel(Gemm g, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kGemmThreads + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for (int64_t part = 0; part < g.parts; ++part) sum += g.partial[part * count + i];
  g.c[i] = finished(g, sum, i % g.n);
}

template <int s>
void launch_tile(const Gemm& g) {
  constexpr int kSide = Tile<s>::kSide;
  const int64_t tiles = g.batch * divide_up(g.m, kSide) * divide_up(g.n, kSide);
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(g.parts), 1);
  const auto kernel = g.k_stride == 1 ? tile_kernel<s, false> : tile_kernel<s, true>;
  launch(kernel, grid, kGemmThreads, 2 * Tile<s>::kFloats * sizeof(float), g);
}

}  // namespace
}  // namespace cuda
}  // namespace thaw
