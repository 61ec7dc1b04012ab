// Layer norm over rows [rows][n]; formulas in kernels/layer_norm.h. Mean first, then the squares of what is left: sums of
// four neighbours in f32, of those in double.
#include "kernels/layer_norm.h"

#include "kernels/cuda/row.h"

namespace thaw {
namespace cuda {
namespace {

template <int kV>
__device__ __forceinline__ Few<kV> few_or(const float* p, int64_t i, float otherwise) {
  if (p) return few<kV>(p + i);
  Few<kV> v;
#pragma unroll
  for (int j = 0; j < kV; ++j) v.at[j] = otherwise;
  return v;
}

template <class Rows, int kV>
__global__ void __launch_bounds__(kTeamThreads) forward_kernel(LayerNorm a) {
  const Rows team;
  const int64_t row = team.row();
  if (row >= a.rows) return;
  const float* x = a.x + row * a.n;
  const int n = static_cast<int>(a.n), first = team.lane() * kV, step = kTeamThreads / Rows::kRows * kV;
  double sum = 0;
  for (int i = first; i < n; i += step) {
    const Few<kV> v = few<kV>(x + i);
    float part = 0;
#pragma unroll
    for (int j = 0; j < kV; ++j) part += v.at[j] - x[0];
    sum += static_cast<double>(part);
  }
  const double count = static_cast<double>(n), offset = team.sum(sum) / count, mean = offset + static_cast<double>(x[0]);
  const float shift = static_cast<float>(mean);
  double squares = 0;
  for (int i = first; i < n; i += step) {
    const Few<kV> v = few<kV>(x + i);
    float part = 0;
#pragma unroll
    for (int j = 0; j < kV; ++j) part = fmaf(v.at[j] - shift, v.at[j] - shift, part);
    squares += static_cast<double>(part);
  }
  const double rounding = static_cast<double>(shift) - mean;
  const double variance = team.sum(squares) / count - rounding * rounding;
  const float scale = static_cast<float>(1.0 / sqrt((variance > 0 ? variance : 0.0) + a.eps));
  if (team.lane() == 0) {
    a.mean[row] = shift;
    a.invstd[row] = scale;
  }
  for (int i = first; i < n; i += step) {
    Few<kV> v = few<kV>(x + i);
    const Few<kV> weight = few_or<kV>(a.weight, i, 1.0f), bias = few_or<kV>(a.bias, i, 0.0f);
#pragma unroll
    for (int j = 0; j < kV; ++j) v.at[j] = fmaf((v.at[j] - shift) * scale, weight.at[j], bias.at[j]);
    put<kV>(a.y + row * a.n + i, v);
  }
}

// Four blocks a multiprocessor: left to itself, ptxas makes room for a fifth and spills.
template <class Rows, int kV>
__global__ void __launch_bounds__(kTeamThreads, 4) backward_kernel(LayerNormBackward a) {
  const Rows team;
  const int64_t row = team.row();
  if (row >= a.rows) return;
  const float *x = a.x + row * a.n, *dy = a.dy + row * a.n;
  const int n = static_cast<int>(a.n), first = team.lane() * kV, step = kTeamThreads / Rows::kRows * kV;
  const float shift = a.mean[row], scale = a.invstd[row];
  double sum = 0, along = 0;
  for (int i = first; i < n; i += step) {
    const Few<kV> v = few<kV>(x + i), d = few<kV>(dy + i), weight = few_or<kV>(a.weight, i, 1.0f);
    float part = 0, product = 0;
#pragma unroll
    for (int j = 0; j < kV; ++j) {
      const float g = d.at[j] * weight.at[j];
      part += g;
      product = fmaf(g, (v.at[j] - shift) * scale, product);
    }
    sum += static_cast<double>(part);
    along += static_cast<double>(product);
  }
  const double count = static_cast<double>(n);
  const float mean_g = static_cast<float>(team.sum(sum) / count), slope = static_cast<float>(team.sum(along) / count);
  for (int i = first; i < n; i += step) {
    const Few<kV> v = few<kV>(x + i), weight = few_or<kV>(a.weight, i, 1.0f);
    Few<kV> d = few<kV>(dy + i);
#pragma unroll
    for (int j = 0; j < kV; ++j)
      d.at[j] = scale * fmaf(-((v.at[j] - shift) * scale), slope, d.at[j] * weight.at[j] - mean_g);
    put<kV>(a.dx + row * a.n + i, d);
  }
}

constexpr int kColumns = 128;

/// Block (part, columns): a thread sums one column over the rows of a part.
__global__ void __launch_bounds__(kColumns) backward_weight_kernel(LayerNormWeight a) {
  const int64_t part = blockIdx.x, i = static_cast<int64_t>(blockIdx.y) * kColumns + threadIdx.x;
  if (i >= a.n) return;
  const int64_t begin = part * a.rows_per_part;
  const int64_t end = begin + a.rows_per_part < a.rows ? begin + a.rows_per_part : a.rows;
  double sum = 0;
#pragma unroll 4
  for (int64_t row = begin; row < end; ++row) {
    const float xhat = (a.x[row * a.n + i] - a.mean[row]) * a.invstd[row];
    sum = fma(static_cast<double>(a.dy[row * a.n + i]), static_cast<double>(xhat), sum);
  }
  a.partial[part * a.n + i] = static_cast<float>(sum);
}

template <class Args, void (*Narrow4)(Args), void (*Narrow1)(Args), void (*Wide4)(Args), void (*Wide1)(Args)>
void by_row(const Args& a, int64_t, void*) {
  const bool fours = a.n % 4 == 0;
  if (a.n < kLongRow) launch_rows<Warp>(fours ? Narrow4 : Narrow1, a.rows, a);
  else launch_rows<Block>(fours ? Wide4 : Wide1, a.rows, a);
}

void backward_weight(const LayerNormWeight& a, int64_t parts, void*) {
  const dim3 grid(static_cast<unsigned>(parts), static_cast<unsigned>(divide_up(a.n, kColumns)), 1);
  launch(backward_weight_kernel, grid, kColumns, 0, a);
}

}  // namespace

extern const LayerNormKernels layer_norm = {
    by_row<LayerNorm, forward_kernel<Warp, 4>, forward_kernel<Warp, 1>, forward_kernel<Block, 4>, forward_kernel<Block, 1>>,
    by_row<LayerNormBackward, backward_kernel<Warp, 4>, backward_kernel<Warp, 1>, backward_kernel<Block, 4>,
           backward_kernel<Block, 1>>,
    backward_weight};

}  // namespace cuda
}  // namespace thaw
