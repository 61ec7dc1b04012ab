// Linear layers in bf16 on tensor cores: y[m][n] = f(bias[n] + sum over k of bf16(x[m][k]) * bf16(w[n][k])), x and y plain
// f32. Weights are packed as [outputs, to 32][inputs, to 32] bf16 with zeros beyond the edges, rows of k as the
// instruction wants its second operand. Rows of x are rounded on their way to shared memory. The order of a sum is that
// of k whatever the tile, so a row has the same bits in any batch.
#include "kernels/linear_bf16.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/function.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/mma.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kColumns = 128;  // outputs of a block
constexpr int kStep = 32;      // inputs of a step
constexpr int kRow = 40;       // numbers from a row in shared memory to the next: eight of them fill all banks once

/// A block of 8 warps makes kRows x kColumns; `down` of them lie along the rows, each makes 16 m x 8 n of the outputs.
template <int down, int m, int n>
struct Tile {
  static constexpr int kRows = down * m * 16, kDown = down, kM = m, kN = n;
  static constexpr int kNumbers = (kRows + kColumns) * kRow;  // of bf16: one step
  static constexpr int kLoads = kRows * kStep / 4 / kThreads;  // fours of x per thread and step
  static_assert(8 / down * n * 8 == kColumns && kLoads * kThreads * 4 == kRows * kStep);
};
using Large = Tile<2, 4, 4>;
using Small = Tile<1, 2, 2>;

/// Four numbers of x, zeros beyond the edges.
__device__ __forceinline__ float4 four_of_x(const LinearBf16& a, int64_t row, int64_t k) {
  if (row >= a.rows || k >= a.inputs) return make_float4(0, 0, 0, 0);
  const float* x = a.x + row * a.inputs + k;
  if (a.inputs % 4 == 0) return *reinterpret_cast<const float4*>(x);
  const int64_t left = a.inputs - k;
  return make_float4(x[0], left > 1 ? x[1] : 0.0f, left > 2 ? x[2] : 0.0f, left > 3 ? x[3] : 0.0f);
}

template <class T>
__device__ __forceinline__ void load_rows(const LinearBf16& a, int64_t first, int64_t k, float4 (&x)[T::kLoads]) {
#pragma unroll
  for (int i = 0; i < T::kLoads; ++i) {
    const int f = static_cast<int>(threadIdx.x) + i * kThreads;
    x[i] = four_of_x(a, first + f / 8, k + f % 8 * 4);
  }
}

template <class T>
__device__ __forceinline__ void store_rows(uint16_t* memory, const float4 (&x)[T::kLoads]) {
#pragma unroll
  for (int i = 0; i < T::kLoads; ++i) {
    const int f = static_cast<int>(threadIdx.x) + i * kThreads;
    uint2 pairs;
    pairs.x = bf16_pair(x[i].x, x[i].y), pairs.y = bf16_pair(x[i].z, x[i].w);
    *reinterpret_cast<uint2*>(memory + f / 8 * kRow + f % 8 * 4) = pairs;
  }
}

/// Starts the copies of a step's weights to their place behind the rows of x.
template <class T>
__device__ __forceinline__ void copy_weights(const LinearBf16& a, int64_t first, int64_t k, uint16_t* memory) {
  const int64_t length = a.steps * kStep, outputs = a.panels * 32;
#pragma unroll
  for (int i = 0; i < kColumns * kStep / 8 / kThreads; ++i) {
    const int f = static_cast<int>(threadIdx.x) + i * kThreads, row = f / 4, part = f % 4 * 8;
    const bool valid = first + row < outputs;
    const uint16_t* from = a.weights + (valid ? (first + row) * length + k + part : 0);
    copy_later(memory + (T::kRows + row) * kRow + part, from, valid);
  }
  end_copies();
}

/// Adds the products of one step in shared memory.
template <class T>
__device__ __forceinline__ void multiply_step(const uint16_t* memory, int row, int column, float (&sum)[T::kM][T::kN][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const uint16_t* rows = memory + (row + lane % 16) * kRow + lane / 16 * 8;
  const uint16_t* columns = memory + (T::kRows + column + lane % 8 + lane / 16 * 8) * kRow + lane / 8 % 2 * 8;
#pragma unroll
  for (int k = 0; k < kStep; k += 16) {
    uint32_t b[T::kN / 2][4];
#pragma unroll
    for (int j = 0; j < T::kN / 2; ++j) load_matrices(b[j], columns + j * 16 * kRow + k);
#pragma unroll
    for (int i = 0; i < T::kM; ++i) {
      uint32_t x[4];
      load_matrices(x, rows + i * 16 * kRow + k);
#pragma unroll
      for (int j = 0; j < T::kN; ++j) {
        const uint32_t pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        mma_bf16(sum[i][j], x, pair);
      }
    }
  }
}

__device__ __forceinline__ void finish(const LinearBf16& a, int64_t row, int64_t column, float sum) {
  if (row >= a.rows || column >= a.outputs) return;
  if (a.bias) sum += a.bias[column];
  a.y[row * a.outputs + column] = activate(a.activation, sum, a.alpha);
}

template <class T>
__global__ void __launch_bounds__(kThreads) multiply_kernel(LinearBf16 a) {
  const int64_t across = (a.outputs + kColumns - 1) / kColumns;
  const int64_t first_row = blockIdx.x / across * T::kRows, first_column = blockIdx.x % across * kColumns;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int row = warp % T::kDown * T::kM * 16, column = warp / T::kDown * T::kN * 8;
  uint16_t* memory = shared_memory<uint16_t>();  // two steps
  float sum[T::kM][T::kN][4];
#pragma unroll
  for (int i = 0; i < T::kM; ++i)
#pragma unroll
    for (int j = 0; j < T::kN; ++j) sum[i][j][0] = sum[i][j][1] = sum[i][j][2] = sum[i][j][3] = 0;
  float4 x[T::kLoads];
  copy_weights<T>(a, first_column, 0, memory);
  load_rows<T>(a, first_row, 0, x);
  store_rows<T>(memory, x);
  wait_copies<0>();
  __syncthreads();
  for (int64_t step = 0; step < a.steps; ++step) {
    const bool more = step + 1 < a.steps;
    uint16_t* next = memory + (step + 1) % 2 * T::kNumbers;
    if (more) {
      copy_weights<T>(a, first_column, (step + 1) * kStep, next);
      load_rows<T>(a, first_row, (step + 1) * kStep, x);
    }
    multiply_step<T>(memory + step % 2 * T::kNumbers, row, column, sum);
    if (!more) break;
    store_rows<T>(next, x);
    wait_copies<0>();
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < T::kM; ++i)
#pragma unroll
    for (int j = 0; j < T::kN; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        finish(a, first_row + row + i * 16 + lane / 4 + e / 2 * 8, first_column + column + j * 8 + lane % 4 * 2 + e % 2,
               sum[i][j][e]);
}

template <class T>
void launch_tiles(const LinearBf16& a) {
  const int64_t tiles = divide_up(a.rows, T::kRows) * divide_up(a.outputs, kColumns);
  launch(multiply_kernel<T>, blocks(tiles, 1), kThreads, 2 * T::kNumbers * sizeof(uint16_t), a);
}

void direct(const LinearBf16& a, int64_t, void*) {
  if (divide_up(a.rows, Large::kRows) * divide_up(a.outputs, kColumns) >= 128) launch_tiles<Large>(a);
  else launch_tiles<Small>(a);
}

/// A thread rounds eight neighbours of one row.
__global__ void __launch_bounds__(kThreads) pack_kernel(LinearBf16Pack a, int64_t rows, int64_t length) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, row = index / (length / 8);
  if (row >= rows) return;
  const int64_t k = index % (length / 8) * 8;
  float v[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) v[j] = row < a.outputs && k + j < a.inputs ? a.weight[row * a.inputs + k + j] : 0.0f;
  reinterpret_cast<uint4*>(a.packed)[index] =
      make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
}

void pack(const LinearBf16Pack& a, int64_t, void*) {
  const int64_t rows = divide_up(a.outputs, 32) * 32, length = divide_up(a.inputs, kStep) * kStep;
  launch(pack_kernel, blocks(rows * length / 8, kThreads), kThreads, 0, a, rows, length);
}

}  // namespace

extern const LinearBf16Kernels linear_bf16 = {direct, pack};

}  // namespace cuda
}  // namespace thaw
