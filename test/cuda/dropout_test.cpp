// Dropout on the GPU: the same draws, and so the same bits, as the CPU's scalar kernels.
#include "kernels/dropout.h"

#include "gpu.h"
#include "values.h"

using namespace thaw;
using namespace values;

namespace {

using Kernel = void (*)(const Dropout&, int64_t, void*);

Dropout arguments(int64_t rows, double p) {
  Dropout a = {};
  a.key = stream_key(11, 12);
  a.epoch = 3;
  a.threshold = static_cast<uint64_t>(p * 4294967296.0);
  a.scale = p < 1 ? static_cast<float>(1 / (1 - p)) : 0.0f;
  a.rows = rows;
  return a;
}

/// With identities of the rows and without.
template <class T>
void verify(Kernel cpu, Kernel cuda, Dropout a, int64_t tasks, int64_t count) {
  const std::vector<T> x = noise<T>(count, 1);
  std::vector<int64_t> samples;
  for (int64_t row = 0; row < a.rows; ++row) samples.push_back(row * 1000003 - 5);
  const gpu::Array<T> on_x(x);
  const gpu::Array<int64_t> on_samples(samples);
  for (const bool identified : {false, true}) {
    std::vector<T> y(x.size(), encode<T>(9));
    const gpu::Array<T> on_y(y);
    a.samples = identified ? samples.data() : nullptr, a.x = x.data(), a.y = y.data();
    run_tasks(cpu, a, tasks);
    a.samples = identified ? on_samples.data() : nullptr, a.x = on_x, a.y = on_y;
    cuda(a, tasks, nullptr);
    FINISH();
    CHECK(same(on_y.read(), y));
  }
}

void plain(int64_t rows, int64_t elements, double p) {
  Dropout a = arguments(rows, p);
  a.elements = elements;
  verify<float>(scalar::dropout.plain, cuda::dropout.plain, a, rows * ceil_div(elements, kDropoutChunk), rows * elements);
}

template <class T>
void blocked(Kernel cpu, Kernel cuda, int64_t rows, int64_t channels, int64_t pixels, double p) {
  constexpr int64_t width = 64 / sizeof(T);
  Dropout a = arguments(rows, p);
  a.channels = channels, a.pixels = pixels;
  a.elements = channels * pixels;
  const int64_t planes = rows * ceil_div(channels, width);
  verify<T>(cpu, cuda, a, planes, planes * pixels * width);
}

}  // namespace

int main() {
  for (const double p : {0.0, 0.5, 0.8, 1.0}) {
    for (const int64_t elements : {1, 4, 7, 128, 5003}) plain(3, elements, p);
    for (const int64_t pixels : {1, 4, 49, 130}) {
      blocked<float>(scalar::dropout.blocked, cuda::dropout.blocked, 2, 19, pixels, p);
      blocked<uint16_t>(scalar::dropout.blocked_bf16, cuda::dropout.blocked_bf16, 2, 41, pixels, p);
    }
  }
  return check::result();
}
