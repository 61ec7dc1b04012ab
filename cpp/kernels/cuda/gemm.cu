// Matrix product in true f32; see kernels/gemm.h for layouts and the order of sums, which all kernels here keep, so that
// the choice between them changes no bits. A is read as it lies.
//   tile   a block makes 64 s x 64 s of C, a thread s x s squares of 4 x 4; steps of 16 along K, double buffered
//   thin   up to 16 rows: a block makes 8 rows x 16 columns, its half-warps take chunks of K
#include "kernels/gemm.h"

#include "kernels/cuda/gemm_tile.h"

namespace thaw {
namespace cuda {
namespace {

// ---- packing ----------------------------------------------------------------------------------------------------

/// A thread makes four neighbours [k][4 of 16 columns] of a panel.
__global__ void __launch_bounds__(kGemmThreads) pack_b_kernel(PackB a, int64_t matrices) {
  const int64_t panels = (a.n + kPanel - 1) / kPanel, each = panels * a.k * 4;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kGemmThreads + threadIdx.x;
  if (index >= matrices * each) return;
  const int64_t matrix = index / each, four = index % each;
  const int64_t row = four / 4, chunk = row / (panels * kDepth), begin = chunk * kDepth;
  const int64_t depth = a.k - begin < kDepth ? a.k - begin : kDepth, inside = row - begin * panels;
  const int64_t panel = inside / depth, k = begin + inside % depth, column = panel * kPanel + four % 4 * 4;
  const float* source = a.source + matrix * a.batch_stride + k * a.k_stride + column * a.n_stride;
  float v[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) v[j] = column + j < a.n ? source[j * a.n_stride] : 0.0f;
  reinterpret_cast<float4*>(a.packed)[index] = make_float4(v[0], v[1], v[2], v[3]);
}

void pack_b(const PackB& a, int64_t tasks, void*) {
  const int64_t panels = divide_up(a.n, kPanel);
  if (panels == 0) return;
  launch(pack_b_kernel, blocks(tasks * a.k * 4, kGemmThreads), kGemmThreads, 0, a, tasks / panels);
}

// ---- few rows ---------------------------------------------------------------------------------------------------

constexpr int kSlots = 16;  // chunks of K at once

/// One chunk's sums of kRows rows by this thread's column; `b` is at the chunk's first row of the panel.
template <int kRows>
__device__ __forceinline__ void chunk_sums(const Gemm& g, const float* a, const float* b, int rows, int depth,
                                           float (&sum)[kRows]) {
  const bool fours = g.k_stride == 1 && g.m_stride % 4 == 0;
  int k = 0;
  for (; fours && k + 4 <= depth; k += 4) {
    float column[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) column[j] = b[(k + j) * kPanel];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (r >= rows) break;
      const float4 x = *reinterpret_cast<const float4*>(a + r * g.m_stride + k);
      sum[r] = fmaf(x.x, column[0], sum[r]);
      sum[r] = fmaf(x.y, column[1], sum[r]);
      sum[r] = fmaf(x.z, column[2], sum[r]);
      sum[r] = fmaf(x.w, column[3], sum[r]);
    }
  }
  for (; k < depth; ++k) {
    const float column = b[k * kPanel];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      if (r < rows) sum[r] = fmaf(a[r * g.m_stride + k * g.k_stride], column, sum[r]);
  }
}

/// Threads: [slots][16 columns]. Shared memory: [slots][kRows][16] sums.
template <int kRows>
__global__ void __launch_bounds__(kGemmThreads) thin_kernel(Gemm g) {
  const int64_t panels = (g.n + kPanel - 1) / kPanel, groups = (g.m + kRows - 1) / kRows;
  const int64_t panel = blockIdx.x % panels, rest = blockIdx.x / panels, batch = rest / groups;
  const int64_t row = rest % groups * kRows, column = panel * kPanel;
  const int rows = static_cast<int>(g.m - row < kRows ? g.m - row : kRows);
  const int lane = static_cast<int>(threadIdx.x) % kPanel, slot = static_cast<int>(threadIdx.x) / kPanel;
  const int slots = static_cast<int>(blockDim.x) / kPanel, outputs = kRows * kPanel;
  const float* a = g.a + g.a_of[batch] * g.m * g.k + row * g.m_stride;
  const float* b = g.b + g.b_of[batch] * panels * g.k * kPanel + lane;
  float* memory = shared_memory<float>();
  const int own = static_cast<int>(threadIdx.x);  // this thread joins outputs own, own + threads, …
  float total[outputs / 32];
#pragma unroll
  for (int i = 0; i < outputs / 32; ++i) total[i] = 0;
  for (int64_t first = 0; first < g.k; first += slots * kDepth) {
    const int64_t begin = first + slot * kDepth;
    float sum[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) sum[r] = 0;
    if (begin < g.k) {
      const int depth = static_cast<int>(g.k - begin < kDepth ? g.k - begin : kDepth);
      chunk_sums<kRows>(g, a + begin * g.k_stride, b + (begin * panels + panel * depth) * kPanel, rows, depth, sum);
    }
    __syncthreads();  // sums of the round before have been read
#pragma unroll
    for (int r = 0; r < kRows; ++r) memory[(slot * kRows + r) * kPanel + lane] = sum[r];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < outputs / 32; ++i) {
      const int output = own + i * static_cast<int>(blockDim.x);
      for (int s = 0; output < outputs && s < slots && first + s * kDepth < g.k; ++s)
        total[i] += memory[s * outputs + output];
    }
  }
#pragma unroll
  for (int i = 0; i < outputs / 32; ++i) {
    const int output = own + i * static_cast<int>(blockDim.x), r = output / kPanel;
    const int64_t at = column + output % kPanel;
    if (output >= outputs || r >= rows || at >= g.n) continue;
    g.c[(batch * g.m + row + r) * g.n + at] = finished(g, total[i], at);
  }
}

template <int kRows>
void launch_thin(const Gemm& g) {
  const int64_t chunk_count = divide_up(g.k, kDepth);
  const int slots = chunk_count < 2 ? 2 : chunk_count < kSlots ? static_cast<int>(chunk_count) : kSlots;
  const int threads = slots * static_cast<int>(kPanel);
  launch(thin_kernel<kRows>, blocks(divide_up(g.n, kPanel) * divide_up(g.m, kRows) * g.batch, 1), threads,
         threads * kRows * sizeof(float), g);
}

void multiply(const Gemm& g, int64_t, void*) {
  const int64_t large = g.batch * divide_up(g.m, 128) * divide_up(g.n, 128);
  if (g.parts == 1 && g.m == 1) return launch_thin<2>(g);
  if (g.parts == 1 && g.m <= 16) return launch_thin<8>(g);
  if (large * g.parts >= 128) launch_tile<2>(g);
  else launch_tile<1>(g);
  if (g.parts == 1) return;
  const int64_t count = g.batch * g.m * g.n;
  launch(join_parts_kernel, blocks(count, kGemmThreads), kGemmThreads, 0, g, count);
}

}  // namespace

extern const GemmKernels gemm = {0, nullptr, pack_b, multiply};

}  // namespace cuda
}  // namespace thaw
