// Activations on the GPU against the CPU's scalar kernels. Each formula is the same; expf, tanhf and erff may differ by
// some units in the last place, which the tolerance allows.
#include "kernels/activation.h"

#include <cmath>

#include "gpu.h"
#include "numbers.h"

using namespace thaw;
using namespace harness;

namespace {

constexpr Activation kKinds[] = {Activation::none,         Activation::relu, Activation::relu6,   Activation::leaky_relu,
                                 Activation::hard_swish,   Activation::hard_sigmoid, Activation::silu, Activation::sigmoid,
                                 Activation::tanh,         Activation::gelu, Activation::gelu_tanh};

/// -6 to 6, with the corners of the piecewise functions among them.
std::vector<float> numbers(int64_t count, uint64_t seed) {
  std::vector<float> values;
  for (double x : noise(count, seed)) values.push_back(static_cast<float>(6 * x));
  const float corners[] = {0.0f, -0.0f, 3.0f, -3.0f, 6.0f, NAN};
  for (size_t i = 0; i < values.size() && i < 6; ++i) values[values.size() - 1 - i] = corners[i];
  return values;
}

template <class T>
T encode(float x) {
  if constexpr (sizeof(T) == 2) return static_cast<uint16_t>(bf16_bits(x));
  else return x;
}
double decode(float x) { return x; }
double decode(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

template <class T>
std::vector<T> encoded(const std::vector<float>& values) {
  std::vector<T> result;
  for (float x : values) result.push_back(encode<T>(x));
  return result;
}

/// Some units of f32 in the last place of `factor`, which a function of order 1 was multiplied by (inside it terms of order
/// 10 cancel, as 1 - t^2 in the slope of gelu_tanh);
/// of bf16 the next number besides.
template <class T>
bool close(const std::vector<T>& got, const std::vector<T>& want, const std::vector<T>& factor) {
  for (size_t i = 0; i < want.size(); ++i) {
    const double g = decode(got[i]), w = decode(want[i]), f = decode(factor[i]);
    if (std::isnan(g) != std::isnan(w)) return false;
    const double one = std::isnan(f) ? 1 : std::max(std::abs(f), 1.0);
    if (std::abs(g - w) > 0x1p-20 * one + (sizeof(T) == 2 ? 0x1p-7 * std::abs(w) : 0)) return false;
  }
  return true;
}

template <class T, class Kernels>
void verify(const Kernels& cpu, const Kernels& cuda, int64_t count, Activation kind) {
  const std::vector<T> x = encoded<T>(numbers(count, 1)), dy = encoded<T>(numbers(count, 2));
  std::vector<T> y(x.size()), dx(x.size());
  for (int64_t task = 0; task < chunks(count); ++task) {
    cpu.forward({x.data(), y.data(), count, kind, 0.1f}, task, nullptr);
    cpu.backward({dy.data(), x.data(), dx.data(), count, kind, 0.1f}, task, nullptr);
  }
  const gpu::Array<T> on_x(x), on_dy(dy), on_y(x.size()), on_dx(x.size());
  cuda.forward({on_x, on_y, count, kind, 0.1f}, chunks(count), nullptr);
  cuda.backward({on_dy, on_x, on_dx, count, kind, 0.1f}, chunks(count), nullptr);
  FINISH();
  CHECK(close(on_y.read(), y, x));
  CHECK(close(on_dx.read(), dx, dy));
}

}  // namespace

int main() {
  for (const Activation kind : kKinds) {
    for (const int64_t count : {1, 3, 4, 31, 1023, 1024, 1025, 20000}) verify<float>(scalar::activation, cuda::activation, count, kind);
    for (const int64_t count : {32, 64, 2048, 20000}) verify<uint16_t>(scalar::activation_bf16, cuda::activation_bf16, count, kind);
  }
  return check::result();
}
