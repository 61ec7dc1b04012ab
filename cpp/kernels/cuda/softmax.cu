// Softmax along the middle dimension of [outer][n][inner]; formulas in kernels/softmax.h. Where lines lie side by side
// (inner > 1) a thread takes one, else a team of threads: exponentials are summed in double.
#include "kernels/softmax.h"

#include "kernels/cuda/row.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kThreads = 256;
__device__ __forceinline__ float lowest() { return -__int_as_float(0x7f800000); }

template <class Rows>
__global__ void __launch_bounds__(kTeamThreads) forward_row_kernel(Softmax a) {
  const Rows team;
  const int64_t row = team.row();
  if (row >= a.outer) return;
  const float* x = a.x + row * a.n;
  float* y = a.y + row * a.n;
  const int n = static_cast<int>(a.n), step = kTeamThreads / Rows::kRows;
  float max = lowest();
  for (int i = team.lane(); i < n; i += step) max = fmaxf(max, x[i]);
  max = team.max(max);
  double total = 0;
  for (int i = team.lane(); i < n; i += step) {
    const float e = expf(x[i] - max);
    total += static_cast<double>(e);
    y[i] = e;
  }
  const float sum = static_cast<float>(team.sum(total));
  for (int i = team.lane(); i < n; i += step) y[i] = y[i] / sum;
}

template <class Rows>
__global__ void __launch_bounds__(kTeamThreads) backward_row_kernel(SoftmaxBackward a) {
  const Rows team;
  const int64_t row = team.row();
  if (row >= a.outer) return;
  const float *dy = a.dy + row * a.n, *y = a.y + row * a.n;
  float* dx = a.dx + row * a.n;
  const int n = static_cast<int>(a.n), step = kTeamThreads / Rows::kRows;
  double total = 0;
  for (int i = team.lane(); i < n; i += step) total = fma(static_cast<double>(dy[i]), static_cast<double>(y[i]), total);
  const float sum = static_cast<float>(team.sum(total));
  for (int i = team.lane(); i < n; i += step) dx[i] = y[i] * (dy[i] - sum);
}

/// The first element of this thread's line, or -1.
__device__ __forceinline__ int64_t line_of(int64_t outer, int64_t n, int64_t inner) {
  const int64_t line = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (line >= outer * inner) return -1;
  return line / inner * n * inner + line % inner;
}

__global__ void __launch_bounds__(kThreads) forward_line_kernel(Softmax a) {
  const int64_t begin = line_of(a.outer, a.n, a.inner);
  if (begin < 0) return;
  const float* x = a.x + begin;
  float* y = a.y + begin;
  float max = lowest();
  for (int64_t i = 0; i < a.n; ++i) max = fmaxf(max, x[i * a.inner]);
  double total = 0;
  for (int64_t i = 0; i < a.n; ++i) {
    const float e = expf(x[i * a.inner] - max);
    total += static_cast<double>(e);
    y[i * a.inner] = e;
  }
  const float sum = static_cast<float>(total);
  for (int64_t i = 0; i < a.n; ++i) y[i * a.inner] = y[i * a.inner] / sum;
}

__global__ void __launch_bounds__(kThreads) backward_line_kernel(SoftmaxBackward a) {
  const int64_t begin = line_of(a.outer, a.n, a.inner);
  if (begin < 0) return;
  const float *dy = a.dy + begin, *y = a.y + begin;
  float* dx = a.dx + begin;
  double total = 0;
  for (int64_t i = 0; i < a.n; ++i)
    total = fma(static_cast<double>(dy[i * a.inner]), static_cast<double>(y[i * a.inner]), total);
  const float sum = static_cast<float>(total);
  for (int64_t i = 0; i < a.n; ++i) dx[i * a.inner] = y[i * a.inner] * (dy[i * a.inner] - sum);
}

template <class Args, void (*Narrow)(Args), void (*Wide)(Args), void (*Lines)(Args)>
void by_line(const Args& a, int64_t, void*) {
  if (a.inner > 1) launch(Lines, blocks(a.outer * a.inner, kThreads), kThreads, 0, a);
  else if (a.n < kLongRow) launch_rows<Warp>(Narrow, a.outer * a.inner, a);
  else launch_rows<Block>(Wide, a.outer * a.inner, a);
}

}  // namespace

extern const SoftmaxKernels softmax = {
    by_line<Softmax, forward_row_kernel<Warp>, forward_row_kernel<Block>, forward_line_kernel>,
    by_line<SoftmaxBackward, backward_row_kernel<Warp>, backward_row_kernel<Block>, backward_line_kernel>};

}  // namespace cuda
}  // namespace thaw
