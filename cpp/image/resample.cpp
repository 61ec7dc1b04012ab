#include "image/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace thaw {
namespace {

double weigh(Filter filter, double x) {
  x = std::abs(x);
  if (filter == Filter::bilinear) return x < 1 ? 1 - x : 0;
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

struct Taps {
  std::vector<int32_t> start, count, weights;
  int64_t stride = 0;
  ResizeTaps view() const { return {start.data(), count.data(), weights.data(), stride}; }
};

/// Weights for targets first … first + number - 1 of `to`, from `from` source pixels. Normalised in double precision,
/// then rounded to fixed point (halves away from zero).
Taps make_taps(int64_t from, int64_t to, int64_t first, int64_t number, Filter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double widening = std::max(scale, 1.0);
  const double radius = (filter == Filter::bilinear ? 1.0 : 2.0) * widening;
  Taps taps;
  taps.stride = static_cast<int64_t>(std::ceil(radius)) * 2 + 1;
  taps.weights.assign(static_cast<size_t>(number * taps.stride), 0);
  std::vector<double> exact(static_cast<size_t>(taps.stride));
  for (int64_t i = 0; i < number; ++i) {
    const double centre = (static_cast<double>(first + i) + 0.5) * scale;
    const int64_t begin = std::max<int64_t>(static_cast<int64_t>(centre - radius + 0.5), 0);
    const int64_t end = std::min<int64_t>(static_cast<int64_t>(centre + radius + 0.5), from);
    double sum = 0;
    for (int64_t x = begin; x < end; ++x) {
      sum += exact[x - begin] = weigh(filter, (static_cast<double>(x) - centre + 0.5) * (1.0 / widening));
    }
    for (int64_t x = 0; x < end - begin; ++x) {
      const double weight = (sum != 0 ? exact[x] / sum : exact[x]) * (1 << kResizeBits);
      taps.weights[i * taps.stride + x] = static_cast<int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    taps.start.push_back(static_cast<int32_t>(begin));
    taps.count.push_back(static_cast<int32_t>(end - begin));
  }
  return taps;
}

Pixels copy(const PixelView& source) {
  Pixels result(source.width, source.height, source.channels);
  for (int64_t y = 0; y < source.height; ++y) {
    std::memcpy(result.at(y, 0), source.at(y, 0), static_cast<size_t>(source.width * source.channels));
  }
  return result;
}

Pixels resize_rows(const PixelView& source, int64_t width, int64_t left, int64_t columns, Filter filter, Isa isa) {
  const Taps taps = make_taps(source.width, width, left, columns, filter);
  Pixels result(columns, source.height, source.channels);
  const ResizeArgs args{source.data, source.stride,  source.width,    result.data.data(), columns * source.channels,
                        columns,     source.height, source.channels, taps.view()};
  std::vector<uint8_t> scratch(static_cast<size_t>(resize_scratch(args)));
  const int64_t tasks = (source.height + kResizeRows - 1) / kResizeRows;
  for (int64_t task = 0; task < tasks; ++task) resize_kernels(isa).horizontal(args, task, scratch.data());
  return result;
}

Pixels resize_columns(const PixelView& source, const Taps& taps, int64_t rows, Isa isa) {
  Pixels result(source.width, rows, source.channels);
  const int64_t stride = source.width * source.channels;
  const ResizeArgs args{source.data,  source.stride, source.width,    result.data.data(), stride,
                        source.width, rows,          source.channels, taps.view()};
  for (int64_t row = 0; row < rows; ++row) resize_kernels(isa).vertical(args, row, nullptr);
  return result;
}

}  // namespace

Pixels resize(const PixelView& source, int64_t width, int64_t height, const Window& window, Filter filter, Isa isa) {
  const bool rows = width != source.width, columns = height != source.height;
  if (!columns) {
    const PixelView band = source.part(window.top, 0, window.height, source.width);
    if (!rows) return copy(band.part(0, window.left, window.height, window.width));
    return resize_rows(band, width, window.left, window.width, filter, isa);
  }
  Taps taps = make_taps(source.height, height, window.top, window.height, filter);
  if (!rows) return resize_columns(source.part(0, window.left, source.height, window.width), taps, window.height, isa);
  // Only the source rows that the second pass reads go through the first.
  const int64_t begin = taps.start.front(), end = taps.start.back() + taps.count.back();
  const PixelView band = source.part(begin, 0, end - begin, source.width);
  const Pixels narrow = resize_rows(band, width, window.left, window.width, filter, isa);
  for (int32_t& start : taps.start) start -= static_cast<int32_t>(begin);
  return resize_columns(narrow.view(), taps, window.height, isa);
}

}  // namespace thaw
