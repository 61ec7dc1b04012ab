#pragma once
// Windows over a plane of lines and their maxima, for pictures in f32 and in bf16. A `Line` says what the channels of
// one pixel are and how the greatest of several is kept:
//   Element, kLine    type and number of the elements
//   Peak              the greatest so far; lowest() is -infinity, take(peak, p) has the line at p join
//   put(p, peak)      writes it; not a number where one of those taken was
#include "kernels/cpu/micro/vec.h"
#include "kernels/pool.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// The taps first … last-1 of a window that starts at `start` and lie inside 0 … size-1.
struct Taps {
  int64_t first, last;
};

Taps taps_inside(int64_t start, int64_t kernel, int64_t dilation, int64_t size) {
  if (start >= 0 && start + (kernel - 1) * dilation < size) return {0, kernel};
  const int64_t first = start < 0 ? (-start + dilation - 1) / dilation : 0;
  const int64_t fit = size > start ? (size - start + dilation - 1) / dilation : 0;
  return {first, fit < kernel ? fit : kernel};
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

/// The plane of y that a plane of x is pooled to.
template <class Pool>
int64_t plane_of_y(const Pool& a, int64_t plane) {
  return a.y_gap ? plane + plane / a.blocks * a.y_gap : plane;
}

/// The columns begin … end-1 of the output, whose windows lie inside from left to right.
Taps inner_columns(const MaxPool& a) {
  const int64_t begin = (a.pad_left + a.stride_w - 1) / a.stride_w, reach = (a.kernel_w - 1) * a.dilation_w + 1;
  const int64_t room = a.width + a.pad_left - reach, fit = room < 0 ? 0 : room / a.stride_w + 1;
  const int64_t end = fit < a.out_width ? fit : a.out_width;
  return {begin < end ? begin : end, end};
}

/// Lines of a window: `rows` of them `row_step` elements apart, of each the columns, `step` elements apart.
template <class Line, int Width>
THAW_INLINE void put_peak(const typename Line::Element* x, int64_t rows, int64_t row_step, int64_t columns, int64_t step,
                          typename Line::Element* y) {
  typename Line::Peak peak = Line::lowest();
  for (int64_t j = 0; j < rows; ++j, x += row_step) {
    if constexpr (Width > 0) {
      THAW_FOR(i, Width) peak = Line::take(peak, x + i * step);
    } else {
      for (int64_t i = 0; i < columns; ++i) peak = Line::take(peak, x + i * step);
    }
  }
  Line::put(y, peak);
}

/// One output row. `x` is the leftmost pixel (column 0 of the picture) of the first of its `rows` rows inside.
template <class Line, int Width>
void max_row(const MaxPool& a, const typename Line::Element* x, int64_t rows, typename Line::Element* y) {
  const int64_t row_step = a.dilation_h * a.width * Line::kLine, step = a.dilation_w * Line::kLine;
  const Taps inner = inner_columns(a);
  const auto border = [&](int64_t column) {
    const int64_t left = column * a.stride_w - a.pad_left;
    const Taps xs = taps_inside(left, a.kernel_w, a.dilation_w, a.width);
    put_peak<Line, 0>(x + (left + xs.first * a.dilation_w) * Line::kLine, rows, row_step, xs.last - xs.first, step,
                      y + column * Line::kLine);
  };
  for (int64_t column = 0; column < inner.first; ++column) border(column);
  for (int64_t column = inner.first; column < inner.last; ++column) {
    put_peak<Line, Width>(x + (column * a.stride_w - a.pad_left) * Line::kLine, rows, row_step, a.kernel_w, step,
                          y + column * Line::kLine);
  }
  for (int64_t column = inner.last; column < a.out_width; ++column) border(column);
}

template <class Line>
void max_task(const MaxPool& a, int64_t task) {
  using Element = typename Line::Element;
  const Rows rows = rows_of(task, a.out_height, a.rows_per_task);
  const Element* plane = static_cast<const Element*>(a.x) + rows.plane * a.height * a.width * Line::kLine;
  Element* y = static_cast<Element*>(a.y) + (plane_of_y(a, rows.plane) * a.out_height + rows.first) * a.out_width * Line::kLine;
  for (int64_t row = rows.first; row < rows.last; ++row, y += a.out_width * Line::kLine) {
    const int64_t top = row * a.stride_h - a.pad_top;
    const Taps ys = taps_inside(top, a.kernel_h, a.dilation_h, a.height);
    const Element* x = plane + (top + ys.first * a.dilation_h) * a.width * Line::kLine;
    const int64_t inside = ys.last - ys.first;
    if (a.kernel_w == 3) max_row<Line, 3>(a, x, inside, y);
    else if (a.kernel_w == 2) max_row<Line, 2>(a, x, inside, y);
    else max_row<Line, 0>(a, x, inside, y);
  }
}

/// The greatest value so far and the tap it came from, per lane.
struct Greatest {
  V16 value, tap;
};

/// A window of the backward pass: where it lies, and which of its taps lie inside.
struct Window {
  int64_t top, left;
  Taps ys, xs;
};

Window window_at(const MaxPool& a, int64_t row, int64_t column) {
  const int64_t top = row * a.stride_h - a.pad_top, left = column * a.stride_w - a.pad_left;
  return {top, left, taps_inside(top, a.kernel_h, a.dilation_h, a.height),
          taps_inside(left, a.kernel_w, a.dilation_w, a.width)};
}

/// The tap that takes the gradient, for sixteen channels: the first greatest in row-major order; what is not a number
/// wins, the last of several. Without a position inside -1. `get` reads the sixteen at a pixel.
template <class Get>
THAW_INLINE V16 greatest_tap(const MaxPool& a, const Window& w, const Get& get) {
  Greatest g = {broadcast(-__builtin_huge_valf()), broadcast(-1)};
  if (w.ys.first >= w.ys.last || w.xs.first >= w.xs.last) return g.tap;
  // Not the -infinity: a window of nothing but -infinity gives its gradient to its first position.
  g.tap = broadcast(static_cast<float>(w.ys.first * a.kernel_w + w.xs.first));
  for (int64_t j = w.ys.first; j < w.ys.last; ++j) {
    const int64_t line = (w.top + j * a.dilation_h) * a.width + w.left;
    for (int64_t i = w.xs.first; i < w.xs.last; ++i) {
      const V16 value = get(line + i * a.dilation_w);
      const M16 wins = mask_or(less(g.value, value), is_nan(value));
      g.value = select(wins, value, g.value);
      g.tap = select(wins, broadcast(static_cast<float>(j * a.kernel_w + i)), g.tap);
    }
  }
  return g.tap;
}

/// Adds dy to the position, among the window's, that each lane's maximum came from. `place` gives the sixteen floats of
/// row and column of the picture.
template <class Place>
THAW_INLINE void scatter(const MaxPool& a, const Window& w, V16 tap, V16 dy, const Place& place) {
  for (int64_t j = w.ys.first; j < w.ys.last; ++j) {
    for (int64_t i = w.xs.first; i < w.xs.last; ++i) {
      float* p = place(w.top + j * a.dilation_h, w.left + i * a.dilation_w);
      const M16 here = equal(tap, broadcast(static_cast<float>(j * a.kernel_w + i)));
      store(p, add(load(p), select(here, dy, zero())));
    }
  }
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
