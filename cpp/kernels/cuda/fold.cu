// Batch norms folded into weights and biases; formulas in kernels/fold.h.
#include "kernels/fold.h"

#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ double scale_at(const float* gamma, const float* variance, double eps, int64_t k) {
  return (gamma ? static_cast<double>(gamma[k]) : 1.0) / sqrt(static_cast<double>(variance[k]) + eps);
}

/// A block for each output.
__global__ void __launch_bounds__(kThreads) weight_kernel(FoldWeight a) {
  const int64_t k = blockIdx.x;
  const double scale = scale_at(a.gamma, a.variance, a.eps, k);
  for (int64_t i = threadIdx.x; i < a.each; i += kThreads)
    a.result[k * a.each + i] = static_cast<float>(static_cast<double>(a.weight[k * a.each + i]) * scale);
}

__global__ void __launch_bounds__(kThreads) bias_kernel(FoldBias a) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (k >= a.outputs) return;
  const double centred = (a.bias ? static_cast<double>(a.bias[k]) : 0.0) - static_cast<double>(a.mean[k]);
  const double shift = a.beta ? static_cast<double>(a.beta[k]) : 0.0;
  a.result[k] = static_cast<float>(centred * scale_at(a.gamma, a.variance, a.eps, k) + shift);
}

void weight(const FoldWeight& a, int64_t, void*) { launch(weight_kernel, blocks(a.outputs, 1), kThreads, 0, a); }
void bias(const FoldBias& a, int64_t, void*) { launch(bias_kernel, blocks(a.outputs, kThreads), kThreads, 0, a); }

}  // namespace

extern const FoldKernels fold = {weight, bias};

}  // namespace cuda
}  // namespace thaw
