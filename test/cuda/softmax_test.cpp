// Softmax on the GPU against the CPU's scalar kernels: lines of threads, of warps and of blocks. Exponentials differ by some
// units of the last place; NaN and infinities come out alike.
#include "kernels/softmax.h"

#include "compare.h"

using namespace thaw;
using gpu::Array;
using gpu::expect_close;

namespace {

void verify(int64_t outer, int64_t n, int64_t inner, bool strange) {
  const std::string what = " " + std::to_string(outer) + "x" + std::to_string(n) + "x" + std::to_string(inner);
  std::vector<float> x = gpu::floats(outer * n * inner, 1, 4);
  if (strange) x[0] = NAN, x[x.size() / 2] = -INFINITY, x.back() = INFINITY;
  const std::vector<float> dy = gpu::floats(outer * n * inner, 2);
  const int64_t each = 2, units = outer * ((inner + 15) / 16), tasks = (units + each - 1) / each;
  std::vector<float> y(x.size()), dx(x.size());
  gpu::run_tasks(scalar::softmax.forward, {x.data(), y.data(), outer, n, inner, each}, tasks);
  gpu::run_tasks(scalar::softmax.backward, {dy.data(), y.data(), dx.data(), outer, n, inner, each}, tasks);
  const Array<float> on_x(x), on_dy(dy), on_y(x.size()), same(y), on_dx(x.size());
  cuda::softmax.forward({on_x, on_y, outer, n, inner, each}, tasks, nullptr);
  cuda::softmax.backward({on_dy, same, on_dx, outer, n, inner, each}, tasks, nullptr);
  FINISH();
  expect_close(on_y.read(), y, 0x1p-20, "y" + what, 1);
  expect_close(on_dx.read(), dx, 0x1p-20, "dx" + what);
}

}  // namespace

int main() {
  for (const bool strange : {false, true}) {
    for (const int64_t n : {1, 2, 10, 33, 1000, 2048, 5003}) verify(9, n, 1, strange);
    for (const int64_t inner : {2, 15, 16, 37, 300}) verify(3, 21, inner, strange);
  }
  return check::result();
}
