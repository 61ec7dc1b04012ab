// Pooling; formulas and shapes in kernels/pool.h. One line of sixteen channels at a time.
#include "kernels/pool.h"

#include "kernels/cpu/micro/wide.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// The taps first … last-1 of a window that starts at `start` and lie inside 0 … size-1.
struct Taps {
  int64_t first, last;
};

Taps taps_inside(int64_t start, int64_t kernel, int64_t dilation, int64_t size) {
  const int64_t first = start < 0 ? (-start + dilation - 1) / dilation : 0;
  const int64_t fit = size > start ? (size - start + dilation - 1) / dilation : 0;
  return {first, fit < kernel ? fit : kernel};
}

/// The greatest value so far and the tap it came from, per lane.
struct Greatest {
  V16 value, tap;
};

/// Walks a window in row-major order. A window without a position inside gives -infinity and tap -1.
template <bool WithTap>
THAW_INLINE Greatest greatest_of(const MaxPool& a, const float* plane, int64_t row, int64_t column) {
  const int64_t top = row * a.stride_h - a.pad_top, left = column * a.stride_w - a.pad_left;
  const Taps ys = taps_inside(top, a.kernel_h, a.dilation_h, a.height);
  const Taps xs = taps_inside(left, a.kernel_w, a.dilation_w, a.width);
  Greatest g = {broadcast(-__builtin_huge_valf()), broadcast(-1)};
  if (ys.first >= ys.last || xs.first >= xs.last) return g;
  // Not the -infinity: a window of nothing but -infinity gives its gradient to its first position.
  if (WithTap) g.tap = broadcast(static_cast<float>(ys.first * a.kernel_w + xs.first));
  for (int64_t j = ys.first; j < ys.last; ++j) {
    const float* line = plane + ((top + j * a.dilation_h) * a.width + left) * 16;
    for (int64_t i = xs.first; i < xs.last; ++i) {
      const V16 value = load(line + i * a.dilation_w * 16);
      const M16 wins = mask_or(less(g.value, value), is_nan(value));
      g.value = select(wins, value, g.value);
      if (WithTap) g.tap = select(wins, broadcast(static_cast<float>(j * a.kernel_w + i)), g.tap);
    }
  }
  return g;
}

/// A forward task: some output rows of a plane.
struct Rows {
  int64_t plane, first, last;
};

Rows rows_of(int64_t task, int64_t out_height, int64_t rows_per_task) {
  const int64_t parts = (out_height + rows_per_task - 1) / rows_per_task;
  const int64_t first = task % parts * rows_per_task, last = first + rows_per_task;
  return {task / parts, first, last < out_height ? last : out_height};
}

void max(const MaxPool& a, int64_t task, void*) {
  const Rows rows = rows_of(task, a.out_height, a.rows_per_task);
  const float* plane = a.x + rows.plane * a.height * a.width * 16;
  float* y = a.y + (rows.plane * a.out_height + rows.first) * a.out_width * 16;
  for (int64_t row = rows.first; row < rows.last; ++row) {
    for (int64_t column = 0; column < a.out_width; ++column, y += 16) {
      store(y, greatest_of<false>(a, plane, row, column).value);
    }
  }
}

void clear(float* plane, int64_t lines) {
  for (int64_t i = 0; i < lines; ++i) store(plane + i * 16, zero());
}

/// Adds dy to the position, among the window's, that each lane's maximum came from.
THAW_INLINE void scatter(const MaxPool& a, float* plane, int64_t row, int64_t column, V16 tap, V16 dy) {
  const int64_t top = row * a.stride_h - a.pad_top, left = column * a.stride_w - a.pad_left;
  const Taps ys = taps_inside(top, a.kernel_h, a.dilation_h, a.height);
  const Taps xs = taps_inside(left, a.kernel_w, a.dilation_w, a.width);
  for (int64_t j = ys.first; j < ys.last; ++j) {
    float* line = plane + ((top + j * a.dilation_h) * a.width + left) * 16;
    for (int64_t i = xs.first; i < xs.last; ++i) {
      float* p = line + i * a.dilation_w * 16;
      const M16 here = equal(tap, broadcast(static_cast<float>(j * a.kernel_w + i)));
      store(p, add(load(p), select(here, dy, zero())));
    }
  }
}

void max_backward(const MaxPool& a, int64_t task, void*) {
  const int64_t lines = a.height * a.width;
  const float* x = a.x + task * lines * 16;
  float* dx = a.y + task * lines * 16;
  const float* dy = a.dy + task * a.out_height * a.out_width * 16;
  clear(dx, lines);
  for (int64_t row = 0; row < a.out_height; ++row) {
    for (int64_t column = 0; column < a.out_width; ++column, dy += 16) {
      scatter(a, dx, row, column, greatest_of<true>(a, x, row, column).tap, load(dy));
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
  const float* plane = a.x + part.plane * a.height * a.width * 16;
  float* y = a.y + (part.plane * a.out_height + part.first) * a.out_width * 16;
  for (int64_t row = part.first; row < part.last; ++row) {
    for (int64_t column = 0; column < a.out_width; ++column, y += 16) {
      const W16 share = wide_broadcast(1.0 / (a.rows[row].size * a.columns[column].size));
      store(y, narrow(wide_mul(window_sum(a, plane, a.rows[row], a.columns[column]), share)));
    }
  }
}

void average_backward(const AveragePool& a, int64_t task, void*) {
  float* dx = a.y + task * a.height * a.width * 16;
  const float* dy = a.x + task * a.out_height * a.out_width * 16;
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
