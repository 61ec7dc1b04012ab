// Linear layers in bf16 on the GPU against sums in double of the rounded numbers: what is left is the rounding of sums in
// f32. A row alone has the bits that it has in a batch.
#include "kernels/linear_bf16.h"

#include "compare.h"

using namespace thaw;
using gpu::Array;

namespace {

struct Problem {
  int64_t rows, inputs, outputs;
  bool bias;
};

std::vector<float> on_gpu(const Problem& p, const std::vector<float>& x, const std::vector<float>& weight,
                          const std::vector<float>& bias) {
  const int64_t steps = (p.inputs + 31) / 32, panels = (p.outputs + 31) / 32;
  const Array<float> on_x(x), on_weight(weight), on_bias(bias), y(static_cast<size_t>(p.rows * p.outputs));
  const Array<uint16_t> packed(static_cast<size_t>(steps * 32 * panels * 32));
  cuda::linear_bf16.pack({on_weight, packed, p.outputs, p.inputs}, 1, nullptr);
  LinearBf16 a{};
  a.x = on_x, a.weights = packed, a.bias = p.bias ? on_bias.data() : nullptr, a.y = y;
  a.rows = p.rows, a.inputs = p.inputs, a.outputs = p.outputs, a.steps = steps, a.panels = panels;
  a.activation = p.bias ? Activation::relu : Activation::none;
  cuda::linear_bf16.direct(a, 1, nullptr);
  FINISH();
  return y.read();
}

float rounded(float x) { return gpu::number_of(harness::bf16_bits(x)); }

void verify(const Problem& p) {
  const std::vector<float> x = gpu::floats(p.rows * p.inputs, 1), weight = gpu::floats(p.outputs * p.inputs, 2);
  const std::vector<float> bias = gpu::floats(p.outputs, 3), got = on_gpu(p, x, weight, bias);
  std::vector<float> want;
  for (int64_t r = 0; r < p.rows; ++r)
    for (int64_t o = 0; o < p.outputs; ++o) {
      double sum = p.bias ? static_cast<double>(bias[static_cast<size_t>(o)]) : 0;
      for (int64_t k = 0; k < p.inputs; ++k)
        sum += static_cast<double>(rounded(x[static_cast<size_t>(r * p.inputs + k)])) *
               static_cast<double>(rounded(weight[static_cast<size_t>(o * p.inputs + k)]));
      want.push_back(static_cast<float>(p.bias && sum < 0 ? 0 : sum));
    }
  gpu::expect_close(got, want, 3e-6, "linear " + std::to_string(p.rows) + "x" + std::to_string(p.inputs) + "x" +
                                         std::to_string(p.outputs));
  const Problem one{1, p.inputs, p.outputs, p.bias};
  const std::vector<float> last = on_gpu(one, std::vector<float>(x.end() - p.inputs, x.end()), weight, bias);
  CHECK(std::equal(last.begin(), last.end(), got.end() - p.outputs));
}

}  // namespace

int main() {
  for (const bool bias : {false, true})
    for (const int64_t rows : {1, 31, 33})
      for (const int64_t inputs : {1, 30, 32, 100})
        for (const int64_t outputs : {1, 70, 130}) verify({rows, inputs, outputs, bias});
  verify({130 * 16, 33, 128 * 8 + 1, true});  // enough for the large tiles
  return check::result();
}
