// Reductions on the GPU against the CPU's scalar kernels. Both add in double, in another order: the sums may differ in
// the last place of the result. Maxima and their gradients are the same numbers.
#include "kernels/reduce.h"

#include "gpu.h"
#include "values.h"

using namespace thaw;
using namespace values;

namespace {

using Kernel = void (*)(const Reduce&, int64_t, void*);

struct Case {
  int64_t outer, length, inner, part;
};

const Case kCases[] = {{1, 1, 1, 1},    {5, 33, 1, 33},  {1, 5000, 1, 5000}, {3, 2000, 1, 600},  {2, 70, 3, 70},    {3, 7, 16, 7},
                       {1, 300, 16, 64}, {2, 9, 65, 9},   {1, 40, 200, 16},   {40, 2, 1, 2},      {1, 3, 700, 3},    {2, 0, 4, 1}};

void verify(Kernel cpu, Kernel cuda, const Case& c, const std::vector<float>& x, double relative, double absolute) {
  const int64_t parts = std::max<int64_t>(1, ceil_div(c.length, c.part)), count = c.outer * parts * c.inner;
  const int64_t units = c.outer * parts * ceil_div(c.inner, kReduceColumns);
  std::vector<float> y(static_cast<size_t>(count));
  const gpu::Array<float> on_x(x), on_y(y.size());
  run_tasks(cpu, {x.data(), y.data(), c.outer, c.length, c.inner, c.part, parts, 2, 0.7}, ceil_div(units, 2));
  cuda({on_x, on_y, c.outer, c.length, c.inner, c.part, parts, 2, 0.7}, 1, nullptr);
  FINISH();
  CHECK(close(on_y.read(), y, relative, absolute));
}

/// [6][5][4][3], of which some dimensions are reduced.
void max_gradient(const std::vector<bool>& reduced, const int64_t (&sizes)[4]) {
  ReduceMaxBackward a = {};
  int64_t total = 1, at = 0, length = 1;
  int64_t strides[4];
  for (int d = 3; d >= 0; --d) strides[d] = total, total *= sizes[d];
  for (const bool wanted : {false, true}) {
    for (int d = 0; d < 4; ++d) {
      if (reduced[static_cast<size_t>(d)] != wanted) continue;
      a.sizes[at] = sizes[d], a.strides[at++] = strides[d];
      ++(wanted ? a.reduced_rank : a.kept_rank);
      if (wanted) length *= sizes[d];
    }
  }
  a.kept = total / length;
  a.kept_per_task = 4;
  std::vector<float> x;
  for (const float v : noise<float>(total, 3)) x.push_back(std::round(2 * v));
  const std::vector<float> dy = noise<float>(a.kept, 4);
  std::vector<float> y(static_cast<size_t>(a.kept), 1.0f), dx(x.size());  // each maximum 1 but for one that is nowhere
  y.back() = 77.0f;
  const gpu::Array<float> on_x(x), on_dy(dy), on_y(y), on_dx(dx.size());
  a.dy = dy.data(), a.x = x.data(), a.y = y.data(), a.dx = dx.data();
  run_tasks(scalar::reduce.max_backward, a, ceil_div(a.kept, a.kept_per_task));
  a.dy = on_dy, a.x = on_x, a.y = on_y, a.dx = on_dx;
  cuda::reduce.max_backward(a, 1, nullptr);
  FINISH();
  CHECK(same(on_dx.read(), dx));
}

template <class T>
void pixels(void (*cpu)(const SumPixels&, int64_t, void*), void (*cuda)(const SumPixels&, int64_t, void*), int64_t planes, int64_t pixels) {
  const std::vector<uint16_t> x = noise<uint16_t>(planes * pixels * 32, 5);
  std::vector<T> y(static_cast<size_t>(planes * 32));
  const gpu::Array<uint16_t> on_x(x);
  const gpu::Array<T> on_y(y.size());
  run_tasks(cpu, {x.data(), y.data(), planes, pixels, 2}, ceil_div(planes, 2));
  cuda({on_x, on_y.data(), planes, pixels, 2}, 1, nullptr);
  FINISH();
  CHECK(close(on_y.read(), y, sizeof(T) == 2 ? 0x1p-7 : 0x1p-23));
}

}  // namespace

int main() {
  for (const Case& c : kCases) {
    const int64_t count = c.outer * c.length * c.inner;
    verify(scalar::reduce.sum, cuda::reduce.sum, c, noise<float>(count, 1), 0x1p-23, 1e-12);
    verify(scalar::reduce.max, cuda::reduce.max, c, coarse<float>(count, 2), 0, 0);
  }
  max_gradient({false, true, false, true}, {6, 5, 4, 3});
  max_gradient({true, true, true, true}, {6, 5, 4, 9});
  max_gradient({false, false, false, false}, {2, 5, 1, 3});
  max_gradient({true, false, true, true}, {20, 2, 10, 5});
  for (const int64_t n : {1, 49, 700}) {
    pixels<float>(scalar::reduce_bf16.sum_to_f32, cuda::reduce_bf16.sum_to_f32, 3, n);
    pixels<uint16_t>(scalar::reduce_bf16.sum_to_bf16, cuda::reduce_bf16.sum_to_bf16, 3, n);
  }
  return check::result();
}
