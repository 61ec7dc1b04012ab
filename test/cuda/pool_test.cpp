// Pooling on the GPU against the CPU's scalar kernels. Maxima and their gradients: the same bits, but for which NaN.
// Averages over small windows are summed in the same order, in double: the same bits in f32; over large ones the order
// differs, which may turn the last rounding. In bf16 a gradient's sum is fused here and rounded twice there.
#include "kernels/pool.h"

#include "gpu.h"
#include "values.h"

using namespace thaw;
using namespace values;

namespace {

template <class T>
constexpr int64_t kLine = 64 / sizeof(T);
/// The last place of a result: of f32, or of bf16.
template <class T>
constexpr double kStep = sizeof(T) == 2 ? 0x1p-7 : 0x1p-23;

template <class T>
const PoolKernels& cpu() {
  if constexpr (sizeof(T) == 2) return scalar::pool_bf16.pool;
  else return scalar::pool;
}
template <class T>
const PoolKernels& gpu_kernels() {
  if constexpr (sizeof(T) == 2) return cuda::pool_bf16.pool;
  else return cuda::pool;
}

// ---- maximum ----------------------------------------------------------------------------------------------------

/// Kernel, stride, padding before, dilation; {height, width}.
struct Shape {
  int64_t size[2], kernel[2], stride[2], pad[2], dilation[2];
};

const Shape kShapes[] = {
    {{1, 1}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {{9, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {{8, 12}, {2, 2}, {2, 2}, {0, 0}, {1, 1}},
    {{7, 5}, {3, 2}, {1, 3}, {1, 0}, {2, 1}},
    {{13, 13}, {5, 5}, {1, 1}, {2, 2}, {1, 1}},
    {{6, 11}, {2, 3}, {1, 2}, {1, 2}, {3, 2}},
    {{20, 17}, {20, 17}, {1, 1}, {0, 0}, {1, 1}},  // taps of four bytes
    {{5, 6}, {2, 2}, {4, 3}, {0, 0}, {1, 1}},      // pixels that no window holds
};

int64_t outputs(const Shape& s, int axis) {
  return (s.size[axis] + 2 * s.pad[axis] - s.dilation[axis] * (s.kernel[axis] - 1) - 1) / s.stride[axis] + 1;
}

template <class T>
void maxima(const Shape& s, int64_t planes) {
  MaxPool a = {};
  a.planes = planes, a.height = s.size[0], a.width = s.size[1], a.out_height = outputs(s, 0), a.out_width = outputs(s, 1);
  a.rows_per_task = 2;
  a.kernel_h = s.kernel[0], a.kernel_w = s.kernel[1], a.stride_h = s.stride[0], a.stride_w = s.stride[1];
  a.pad_top = s.pad[0], a.pad_left = s.pad[1], a.dilation_h = s.dilation[0], a.dilation_w = s.dilation[1];
  const int64_t in = planes * a.height * a.width * kLine<T>, out = planes * a.out_height * a.out_width * kLine<T>;
  const std::vector<T> x = coarse<T>(in, 1), dy = noise<T>(out, 2);
  std::vector<T> y(static_cast<size_t>(out)), dx(static_cast<size_t>(in));
  const gpu::Array<T> on_x(x), on_dy(dy), on_y(y.size()), on_dx(dx.size());
  const gpu::Array<uint8_t> taps(static_cast<size_t>(max_backward_taps(a, kLine<T>)));
  MaxPool b = a;
  a.x = x.data(), a.dy = dy.data(), a.y = y.data();
  b.x = on_x, b.dy = on_dy, b.y = on_y, b.taps = taps;
  const int64_t tasks = planes * ceil_div(a.out_height, a.rows_per_task);
  run_tasks(cpu<T>().max, a, tasks);
  gpu_kernels<T>().max(b, tasks, nullptr);
  a.y = dx.data(), b.y = on_dx;
  run_tasks(cpu<T>().max_backward, a, planes, static_cast<size_t>(max_backward_scratch(a)));
  gpu_kernels<T>().max_backward(b, planes, nullptr);
  FINISH();
  CHECK(same(on_y.read(), y));
  CHECK(same(on_dx.read(), dx));
}

// ---- average ----------------------------------------------------------------------------------------------------

using Windows = std::vector<PoolWindow>;

/// The window o: from o*size/out on, as adaptive pooling has them, or `kernel` positions from o*stride-pad on.
Windows adaptive(int64_t size, int64_t out) {
  Windows windows;
  for (int64_t o = 0; o < out; ++o) {
    const int64_t begin = o * size / out, end = ceil_div((o + 1) * size, out);
    windows.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(end), static_cast<double>(end - begin)});
  }
  return windows;
}

Windows sliding(int64_t size, int64_t kernel, int64_t stride, int64_t pad) {
  Windows windows;
  for (int64_t start = -pad; start + kernel <= size + pad; start += stride)
    windows.push_back({static_cast<int32_t>(std::max<int64_t>(0, start)), static_cast<int32_t>(std::min(size, start + kernel)),
                       static_cast<double>(kernel)});
  return windows;
}

std::vector<PoolHolders> holders(const Windows& windows, int64_t size) {
  std::vector<PoolHolders> result;
  for (int64_t position = 0; position < size; ++position) {
    PoolHolders held = {0, 0};
    for (int32_t o = 0; o < static_cast<int32_t>(windows.size()); ++o) {
      if (windows[o].begin > position || windows[o].end <= position) continue;
      if (held.last == 0) held.first = o;
      held.last = o + 1;
    }
    result.push_back(held);
  }
  return result;
}

/// The tables of an average, here and on the device.
struct Tables {
  Windows rows, columns;
  std::vector<PoolHolders> row_holders, column_holders;
  gpu::Array<PoolWindow> on_rows, on_columns;
  gpu::Array<PoolHolders> on_row_holders, on_column_holders;
  AveragePool cpu = {}, gpu = {};

  Tables(const Windows& r, const Windows& c, int64_t channels, int64_t planes, int64_t height, int64_t width)
      : rows(r), columns(c), row_holders(holders(r, height)), column_holders(holders(c, width)), on_rows(rows),
        on_columns(columns), on_row_holders(row_holders), on_column_holders(column_holders) {
    cpu.channels = channels, cpu.planes = planes, cpu.height = height, cpu.width = width;
    cpu.out_height = static_cast<int64_t>(r.size()), cpu.out_width = static_cast<int64_t>(c.size()), cpu.rows_per_task = 3;
    gpu = cpu;
    cpu.rows = rows.data(), cpu.columns = columns.data();
    cpu.row_holders = row_holders.data(), cpu.column_holders = column_holders.data();
    gpu.rows = on_rows, gpu.columns = on_columns, gpu.row_holders = on_row_holders, gpu.column_holders = on_column_holders;
  }
};

/// Runs both on x; the result has `count` numbers.
template <class From, class To>
void compare(void (*cpu)(const AveragePool&, int64_t, void*), void (*cuda)(const AveragePool&, int64_t, void*), Tables& t,
             int64_t tasks, const std::vector<From>& x, int64_t count, double relative, double absolute = 0) {
  std::vector<To> y(static_cast<size_t>(count));
  const gpu::Array<From> on_x(x);
  const gpu::Array<To> on_y(y.size());
  t.cpu.x = x.data(), t.cpu.y = y.data();
  t.gpu.x = on_x, t.gpu.y = on_y;
  run_tasks(cpu, t.cpu, tasks);
  cuda(t.gpu, tasks, nullptr);
  FINISH();
  CHECK(close(on_y.read(), y, relative, absolute));
}

template <class T>
void averages(const Windows& rows, const Windows& columns, int64_t height, int64_t width) {
  const int64_t planes = 3;
  Tables t(rows, columns, planes * kLine<T>, planes, height, width);
  const int64_t in = planes * height * width * kLine<T>, out = planes * t.cpu.out_height * t.cpu.out_width * kLine<T>;
  const bool ordered = height * width < 32 * t.cpu.out_height * t.cpu.out_width;
  compare<T, T>(cpu<T>().average, gpu_kernels<T>().average, t, planes * ceil_div(t.cpu.out_height, 3), noise<T>(in, 3), out,
                ordered ? 0 : kStep<T>);
  const bool same_sums = sizeof(T) == 4;
  compare<T, T>(cpu<T>().average_backward, gpu_kernels<T>().average_backward, t, planes, noise<T>(out, 4), in,
                same_sums ? 0 : kStep<T>, same_sums ? 0 : 1e-6);
}

void global_averages(int64_t pictures, int64_t channels, int64_t height, int64_t width) {
  const int64_t planes = pictures * ceil_div(channels, 32);
  Tables t(adaptive(height, 1), adaptive(width, 1), channels, planes, height, width);
  const int64_t pixels = planes * height * width * 32, numbers = pictures * ceil_div(channels, 16) * 16;
  compare<uint16_t, float>(scalar::pool_bf16.global_average, cuda::pool_bf16.global_average, t, planes, noise<uint16_t>(pixels, 5),
                           numbers, kStep<float>);
  compare<float, uint16_t>(scalar::pool_bf16.global_average_backward, cuda::pool_bf16.global_average_backward, t, planes,
                           noise<float>(numbers, 6), pixels, 0);
}

}  // namespace

int main() {
  for (const Shape& s : kShapes) {
    maxima<float>(s, 3);
    maxima<uint16_t>(s, 3);
  }
  const auto both = [](const Windows& rows, const Windows& columns, int64_t height, int64_t width) {
    averages<float>(rows, columns, height, width);
    averages<uint16_t>(rows, columns, height, width);
  };
  both(sliding(9, 3, 2, 1), sliding(7, 2, 2, 0), 9, 7);
  both(sliding(6, 2, 3, 0), sliding(11, 3, 1, 1), 6, 11);
  both(adaptive(10, 3), adaptive(7, 7), 10, 7);
  both(adaptive(5, 8), adaptive(6, 4), 5, 6);
  both(adaptive(7, 1), adaptive(7, 1), 7, 7);
  both(adaptive(31, 1), adaptive(29, 1), 31, 29);
  both(adaptive(26, 2), adaptive(40, 3), 26, 40);
  global_averages(3, 16, 7, 7);
  global_averages(2, 70, 1, 3);
  global_averages(1, 40, 25, 25);
  return check::result();
}
