// Changes of layout on the GPU: the same bits as the CPU's scalar kernels, padding included.
#include "kernels/reorder.h"

#include "gpu.h"
#include "values.h"

using namespace thaw;
using namespace values;

namespace {

struct Case {
  int64_t pictures, channels, pixels;
};

const Case kCases[] = {{1, 1, 1}, {2, 3, 5}, {1, 16, 64}, {2, 17, 63}, {3, 33, 49}, {1, 40, 130}, {70, 64, 1}, {2, 100, 7}, {1, 48, 65}};

enum class Layout { plain, blocked, bf16 };

int64_t numbers_of(const Case& c, Layout layout) {
  const int64_t width = layout == Layout::plain ? 1 : layout == Layout::blocked ? 16 : 32;
  return c.pictures * ceil_div(c.channels, width) * width * c.pixels;
}

template <class From, class To, class Args>
void verify(void (*cpu)(const Args&, int64_t, void*), void (*cuda)(const Args&, int64_t, void*), const Case& c, Layout from,
            Layout to) {
  const std::vector<From> x = noise<From>(numbers_of(c, from), 5);
  std::vector<To> y(static_cast<size_t>(numbers_of(c, to)));
  const int64_t width = sizeof(From) + sizeof(To) == 8 ? 16 : 32;
  const int64_t tasks = c.pictures * ceil_div(c.channels, width) * ceil_div(c.pixels, kReorderPixels);
  run_tasks(cpu, {x.data(), y.data(), c.pictures, c.channels, c.pixels}, tasks);
  const gpu::Array<From> on_x(x);
  const gpu::Array<To> on_y(y.size());
  cuda({on_x.data(), on_y.data(), c.pictures, c.channels, c.pixels}, tasks, nullptr);
  FINISH();
  CHECK(same(on_y.read(), y));
}

}  // namespace

int main() {
  for (const Case& c : kCases) {
    verify<float, float>(scalar::reorder.to_blocked, cuda::reorder.to_blocked, c, Layout::plain, Layout::blocked);
    verify<float, float>(scalar::reorder.to_plain, cuda::reorder.to_plain, c, Layout::blocked, Layout::plain);
    verify<float, uint16_t>(scalar::reorder_bf16.from_plain, cuda::reorder_bf16.from_plain, c, Layout::plain, Layout::bf16);
    verify<uint16_t, float>(scalar::reorder_bf16.to_plain, cuda::reorder_bf16.to_plain, c, Layout::bf16, Layout::plain);
    verify<float, uint16_t>(scalar::reorder_bf16.from_blocked, cuda::reorder_bf16.from_blocked, c, Layout::blocked, Layout::bf16);
    verify<uint16_t, float>(scalar::reorder_bf16.to_blocked, cuda::reorder_bf16.to_blocked, c, Layout::bf16, Layout::blocked);
  }
  return check::result();
}
