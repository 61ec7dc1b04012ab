// Pooling; formulas and shapes in kernels/pool.h. One line of sixteen channels at a time.
#include "kernels/pool.h"

#include "kernels/cpu/micro/wide.h"
#include "kernels/cpu/micro/windows.h"

namespace thaw {
namespace THAW_ISA {
namespace {

struct LineF32 {
  using Element = float;
  static constexpr int64_t kLine = 16;
  struct Peak {
    V16 value;
    M16 nan;
  };
  static Peak lowest() { return {broadcast(-__builtin_huge_valf()), less(zero(), zero())}; }
  /// maximum(value, peak) is the peak where the value is not a number, and where both are equal.
  static Peak take(Peak peak, const float* p) {
    const V16 value = load(p);
    return {maximum(value, peak.value), mask_or(peak.nan, is_nan(value))};
  }
  static void put(float* p, Peak peak) {
    store(p, select(peak.nan, broadcast(__builtin_nanf("")), peak.value));
  }
};

void max(const MaxPool& a, int64_t task, void*) { max_task<LineF32>(a, task); }

void clear(float* plane, int64_t lines) {
  for (int64_t i = 0; i < lines; ++i) store(plane + i * 16, zero());
}

void max_backward(const MaxPool& a, int64_t task, void*) {
  const int64_t lines = a.height * a.width;
  const float* x = static_cast<const float*>(a.x) + task * lines * 16;
  float* dx = static_cast<float*>(a.y) + task * lines * 16;
  const float* dy = static_cast<const float*>(a.dy) + task * a.out_height * a.out_width * 16;
  clear(dx, lines);
  for (int64_t row = 0; row < a.out_height; ++row) {
    for (int64_t column = 0; column < a.out_width; ++column, dy += 16) {
      const Window w = window_at(a, row, column);
      const V16 tap = greatest_tap(a, w, [&](int64_t line) { return load(x + line * 16); });
      scatter(a, w, tap, load(dy), [&](int64_t y, int64_t x) { return dx + (y * a.width + x) * 16; });
    }
  }
}

// ---- average ----------------------------------------------------------------------------------------------------

W16 window_sum(const AveragePool& a, const float* plane, PoolWindow rows, PoolWindow columns) {
  W16 sum = wide_zero();
  for (int64_t j = rows.begin; j < rows.end; ++j) {
    const float* line = plane + j * a.width * 16;
    for (int64_t i = columns.begin; i < columns.end; ++i) sum = wide_add(sum, widen(load(line + i * 16)));
  }
  return sum;
}

void average(const AveragePool& a, int64_t task, void*) {
  const Rows part = rows_of(task, a.out_height, a.rows_per_task);
  const float* plane = static_cast<const float*>(a.x) + part.plane * a.height * a.width * 16;
  float* y = static_cast<float*>(a.y) + (plane_of_y(a, part.plane) * a.out_height + part.first) * a.out_width * 16;
  for (int64_t row = part.first; row < part.last; ++row) {
    for (int64_t column = 0; column < a.out_width; ++column, y += 16) {
      const W16 share = wide_broadcast(1.0 / (a.rows[row].size * a.columns[column].size));
      store(y, narrow(wide_mul(window_sum(a, plane, a.rows[row], a.columns[column]), share)));
    }
  }
}

void average_backward(const AveragePool& a, int64_t task, void*) {
  float* dx = static_cast<float*>(a.y) + task * a.height * a.width * 16;
  const float* dy = static_cast<const float*>(a.x) + task * a.out_height * a.out_width * 16;
  clear(dx, a.height * a.width);
  for (int64_t row = 0; row < a.out_height; ++row) {
    for (int64_t column = 0; column < a.out_width; ++column, dy += 16) {
      const PoolWindow rows = a.rows[row], columns = a.columns[column];
      const V16 share = div(load(dy), broadcast(static_cast<float>(rows.size * columns.size)));
      for (int64_t j = rows.begin; j < rows.end; ++j) {
        for (int64_t i = columns.begin; i < columns.end; ++i) {
          float* p = dx + (j * a.width + i) * 16;
          store(p, add(load(p), share));
        }
      }
    }
  }
}

}  // namespace

extern const PoolKernels pool = {max, max_backward, average, average_backward};

}  // namespace THAW_ISA
}  // namespace thaw
