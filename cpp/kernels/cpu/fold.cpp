// Batch norms folded into weights and biases; formulas in kernels/fold.h.
#include "kernels/fold.h"

#include <math.h>

namespace thaw {
namespace THAW_ISA {
namespace {

double scale_at(const float* gamma, const float* variance, double eps, int64_t k) {
  return (gamma ? static_cast<double>(gamma[k]) : 1.0) / ::sqrt(static_cast<double>(variance[k]) + eps);
}

void weight(const FoldWeight& a, int64_t k, void*) {
  const double scale = scale_at(a.gamma, a.variance, a.eps, k);
  for (int64_t i = k * a.each; i < (k + 1) * a.each; ++i) a.result[i] = static_cast<float>(a.weight[i] * scale);
}

void bias(const FoldBias& a, int64_t, void*) {
  for (int64_t k = 0; k < a.outputs; ++k) {
    const double centred = (a.bias ? static_cast<double>(a.bias[k]) : 0.0) - static_cast<double>(a.mean[k]);
    const double scaled = centred * scale_at(a.gamma, a.variance, a.eps, k);
    a.result[k] = static_cast<float>(scaled + (a.beta ? static_cast<double>(a.beta[k]) : 0.0));
  }
}

}  // namespace

extern const FoldKernels fold = {weight, bias};

}  // namespace THAW_ISA
}  // namespace thaw
