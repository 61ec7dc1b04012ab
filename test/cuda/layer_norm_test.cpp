// Layer norm on the GPU against the CPU's scalar kernels: rows of warps and of blocks, lengths that are and are not
// multiples of four. Sums of f32 pairs differ in order: some units of the last place.
#include "kernels/layer_norm.h"

#include "compare.h"

using namespace thaw;
using gpu::Array;
using gpu::expect_close;

namespace {

void verify(int64_t rows, int64_t n, bool affine) {
  const std::string what = " " + std::to_string(rows) + "x" + std::to_string(n) + (affine ? "" : " bare");
  std::vector<float> x = gpu::floats(rows * n, 1);
  for (float& v : x) v += 30;  // a mean that is large beside the deviations
  const std::vector<float> dy = gpu::floats(rows * n, 2), weight = gpu::floats(n, 3), bias = gpu::floats(n, 4);
  const Array<float> on_x(x), on_dy(dy), on_weight(weight), on_bias(bias);
  const size_t count = x.size();
  std::vector<float> y(count), dx(count), mean(static_cast<size_t>(rows)), invstd(mean);
  const int64_t each = 3, tasks = (rows + each - 1) / each;
  const float *w = affine ? weight.data() : nullptr, *on_w = affine ? on_weight.data() : nullptr;
  gpu::run_tasks(scalar::layer_norm.forward, {x.data(), w, affine ? bias.data() : nullptr, y.data(), mean.data(),
                                              invstd.data(), rows, n, each, 1e-5}, tasks);
  const Array<float> on_y(count), on_mean(mean.size()), on_invstd(mean.size());
  cuda::layer_norm.forward({on_x, on_w, affine ? on_bias.data() : nullptr, on_y, on_mean, on_invstd, rows, n, each, 1e-5},
                           tasks, nullptr);
  FINISH();
  expect_close(on_mean.read(), mean, 0x1p-22, "mean" + what);
  // One number has no deviation but the mean's rounding, which is nothing beside eps.
  expect_close(on_invstd.read(), invstd, 0x1p-18, "invstd" + what);
  expect_close(on_y.read(), y, 0x1p-16, "y" + what);  // rounding of the mean, 30, beside deviations of 1

  const Array<float> same_mean(mean), same_invstd(invstd), on_dx(count);
  gpu::run_tasks(scalar::layer_norm.backward, {dy.data(), x.data(), w, mean.data(), invstd.data(), dx.data(), rows, n, each},
                 tasks);
  cuda::layer_norm.backward({on_dy, on_x, on_w, same_mean, same_invstd, on_dx, rows, n, each}, tasks, nullptr);
  FINISH();
  expect_close(on_dx.read(), dx, 0x1p-20, "dx" + what);

  const int64_t part_rows = 4, parts = (rows + part_rows - 1) / part_rows;
  std::vector<float> partial(static_cast<size_t>(parts * n));
  const Array<float> on_partial(partial.size());
  gpu::run_tasks(scalar::layer_norm.backward_weight, {dy.data(), x.data(), mean.data(), invstd.data(), partial.data(), rows,
                                                      n, part_rows}, parts);
  cuda::layer_norm.backward_weight({on_dy, on_x, same_mean, same_invstd, on_partial, rows, n, part_rows}, parts, nullptr);
  FINISH();
  expect_close(on_partial.read(), partial, 0x1p-22, "dweight" + what);
}

}  // namespace

int main() {
  for (const int64_t n : {1, 3, 4, 31, 96, 130, 768, 2047, 2048, 3001})
    for (const bool affine : {true, false}) verify(n > 1000 ? 3 : 11, n, affine);
  return check::result();
}
