// Losses and their gradients; formulas in kernels/loss.h. Shares are as the processor's tasks have them: one block each.
#include "kernels/loss.h"

#include "kernels/activation.h"
#include "kernels/cuda/cross_entropy.h"
#include "kernels/cuda/function.h"

namespace thaw {
namespace cuda {
namespace {

/// log(1 + e) for 0 <= e <= 1 without losing small e: what rounding took from 1 + e is made good by e / ((1 + e) - 1).
__device__ __forceinline__ float log_one_plus(float e) {
  const float u = 1.0f + e, rounded = u - 1.0f;
  return rounded == 0.0f ? e : logf(u) * (e / rounded);
}

__device__ __forceinline__ float element_loss(PointwiseLoss kind, float x, float t) {
  if (kind == PointwiseLoss::squared_error) return (x - t) * (x - t);
  // max(x, 0) - x t + log(1 + e^-|x|)
  return fmaf(-x, t, x < 0 ? 0.0f : x) + log_one_plus(expf(-fabsf(x)));
}

__device__ __forceinline__ float element_slope(PointwiseLoss kind, float x, float t) {
  if (kind == PointwiseLoss::squared_error) return 2.0f * (x - t);
  return sigmoid(x) - t;
}

__global__ void __launch_bounds__(kLossThreads) pointwise_kernel(Pointwise a) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kChunk;
  const int64_t end = begin + kChunk < a.count ? begin + kChunk : a.count;
  double loss = 0, weight = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kLossThreads) {
    const float mask = factor_at(a.mask, i);
    if (mask == 0.0f) continue;
    const float value = element_loss(a.kind, a.scores[i], a.target[i]) * factor_at(a.weights, i);
    loss = fma(static_cast<double>(value), static_cast<double>(mask), loss);
    weight += static_cast<double>(mask);
  }
  double* scratch = shared_memory<double>();
  loss = block_sum(loss, scratch);
  weight = block_sum(weight, scratch);
  if (threadIdx.x == 0) a.shares[blockIdx.x] = {loss, weight};
}

__global__ void __launch_bounds__(kLossThreads) pointwise_backward_kernel(PointwiseBackward b) {
  const Pointwise& a = b.loss;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kLossThreads + threadIdx.x;
  if (i >= a.count) return;
  const float mask = factor_at(a.mask, i), slope = element_slope(a.kind, a.scores[i], a.target[i]);
  const float factor = scale_of(b.dloss, b.total) * (mask * factor_at(a.weights, i));
  b.dscores[i] = mask == 0.0f ? 0.0f : slope * factor;
}

__global__ void __launch_bounds__(kLossThreads) finish_kernel(FinishLoss a) {
  double loss = 0, weight = 0;
  for (int64_t i = threadIdx.x; i < a.count; i += kLossThreads) {
    loss += a.shares[i].loss;
    weight += a.shares[i].weight;
  }
  double* scratch = shared_memory<double>();
  loss = block_sum(loss, scratch);
  weight = block_sum(weight, scratch);
  if (threadIdx.x != 0) return;
  const double total = a.mean ? weight : 1.0;
  *a.total = static_cast<float>(total);
  *a.loss = total == 0 ? 0.0f : static_cast<float>(loss / total);
}

void pointwise(const Pointwise& a, int64_t, void*) {
  launch(pointwise_kernel, blocks(chunks(a.count), 1), kLossThreads, 33 * sizeof(double), a);
}
void pointwise_backward(const PointwiseBackward& b, int64_t, void*) {
  launch(pointwise_backward_kernel, blocks(b.loss.count, kLossThreads), kLossThreads, 0, b);
}
void finish(const FinishLoss& a, int64_t, void*) { launch(finish_kernel, 1, kLossThreads, 33 * sizeof(double), a); }

}  // namespace

extern const LossKernels loss = {cross_entropy, cross_entropy_backward, pointwise, pointwise_backward, finish};

}  // namespace cuda
}  // namespace thaw
