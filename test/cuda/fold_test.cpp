// Batch norms folded on the GPU and on the CPU: in double, rounded once, so equal to the last place.
#include "kernels/fold.h"

#include "compare.h"

using namespace thaw;
using gpu::Array;

namespace {

void verify(int64_t outputs, int64_t each, bool affine) {
  const std::string what = " " + std::to_string(outputs) + "x" + std::to_string(each);
  const std::vector<float> weight = gpu::floats(outputs * each, 1), gamma = gpu::floats(outputs, 2), beta = gpu::floats(outputs, 3),
                           mean = gpu::floats(outputs, 4), bias = gpu::floats(outputs, 5);
  std::vector<float> variance = gpu::floats(outputs, 6);
  for (float& v : variance) v = std::abs(v);
  std::vector<float> folded(weight.size()), shifted(bias.size());
  const float *g = affine ? gamma.data() : nullptr, *b = affine ? beta.data() : nullptr, *own = affine ? bias.data() : nullptr;
  gpu::run_tasks(scalar::fold.weight, {weight.data(), g, variance.data(), folded.data(), outputs, each, 1e-5}, outputs);
  gpu::run_tasks(scalar::fold.bias, {own, g, b, mean.data(), variance.data(), shifted.data(), outputs, 1e-5}, 1);
  const Array<float> on_weight(weight), on_gamma(gamma), on_beta(beta), on_mean(mean), on_bias(bias), on_variance(variance);
  const Array<float> on_folded(folded.size()), on_shifted(shifted.size());
  const auto there = [&](const Array<float>& array) { return affine ? array.data() : nullptr; };
  cuda::fold.weight({on_weight, there(on_gamma), on_variance, on_folded, outputs, each, 1e-5}, outputs, nullptr);
  cuda::fold.bias({there(on_bias), there(on_gamma), there(on_beta), on_mean, on_variance, on_shifted, outputs, 1e-5}, 1,
                  nullptr);
  FINISH();
  gpu::expect_close(on_folded.read(), folded, 0x1p-23, "weight" + what);
  gpu::expect_close(on_shifted.read(), shifted, 0x1p-23, "bias" + what);
}

}  // namespace

int main() {
  for (const bool affine : {true, false}) {
    verify(1, 1, affine);
    verify(7, 27, affine);
    verify(300, 1000, affine);
  }
  return check::result();
}
