// Local response norm on the GPU against the CPU's scalar kernels. The windows' sums are of the same order, but for zeros;
// powers differ by some units of the last place, exponentials of logarithms by a few more.
#include "kernels/local_response_norm.h"

#include "compare.h"

using namespace thaw;
using gpu::Array;

namespace {

void verify(int64_t pictures, int64_t channels, int64_t pixels, int64_t size, float beta, float k) {
  const std::string what = " " + std::to_string(pictures) + "x" + std::to_string(channels) + "x" + std::to_string(pixels) +
                           " of " + std::to_string(size) + " beta " + std::to_string(beta);
  const int64_t count = pictures * ((channels + 15) / 16) * 16 * pixels;
  const std::vector<float> x = gpu::floats(count, 1), dy = gpu::floats(count, 2);
  std::vector<float> y(x.size()), dx(x.size());
  const int64_t tasks = pictures * ((pixels + kResponsePixels - 1) / kResponsePixels);
  const size_t scratch = static_cast<size_t>(response_scratch(channels, size));
  gpu::run_tasks(scalar::local_response_norm.forward,
                 {x.data(), nullptr, y.data(), pictures, channels, pixels, size, 0.3f, beta, k}, tasks, scratch);
  gpu::run_tasks(scalar::local_response_norm.backward,
                 {x.data(), dy.data(), dx.data(), pictures, channels, pixels, size, 0.3f, beta, k}, tasks, scratch);
  const Array<float> on_x(x), on_dy(dy), on_y(x.size()), on_dx(x.size());
  cuda::local_response_norm.forward({on_x, nullptr, on_y, pictures, channels, pixels, size, 0.3f, beta, k}, tasks, nullptr);
  cuda::local_response_norm.backward({on_x, on_dy, on_dx, pictures, channels, pixels, size, 0.3f, beta, k}, tasks, nullptr);
  FINISH();
  gpu::expect_close(on_y.read(), y, 0x1p-19, "y" + what);
  gpu::expect_close(on_dx.read(), dx, 0x1p-19, "dx" + what);
}

}  // namespace

int main() {
  for (const float beta : {0.75f, 0.5f, 1.0f, 0.6f})
    for (const int64_t size : {1, 2, 5}) {
      verify(1, 1, 1, size, beta, 1);
      verify(2, 3, 9, size, beta, 2);
      verify(2, 37, 70, size, beta, 1);
    }
  verify(1, 16, 5, 40, 0.75f, 1);
  return check::result();
}
