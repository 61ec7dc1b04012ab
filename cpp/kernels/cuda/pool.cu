// Pooling over pictures in blocks, in f32 and in bf16 (kernels/pool.h). One thread computes the sixteen bytes of
// channels of one pixel; gradients are gathered, window by window in row-major order, by the pixel that takes them.
#include "kernels/pool.h"

#include "kernels/cuda/index.h"
#include "kernels/cuda/line_sums.h"
#include "kernels/cuda/pack.h"

namespace thaw {
namespace cuda {
namespace {

/// Items: planes * rows * columns * packs of a line.
struct Pixels {
  Divisor rows, columns;
  int64_t items;
};

Pixels pixels_of(int64_t planes, int64_t rows, int64_t columns) {
  return {divisor(rows), divisor(columns), planes * rows * columns * kLinePacks};
}

struct Pixel {
  uint32_t plane;
  int row, column, pack;

  __device__ Pixel(const Pixels& all, uint32_t item) {
    uint32_t y, x;
    plane = divide(divide(item / kLinePacks, all.columns, x), all.rows, y);
    row = static_cast<int>(y), column = static_cast<int>(x), pack = static_cast<int>(item % kLinePacks);
  }
};

/// The pack of the first pixel of a plane of so many.
template <class T, class P>
__device__ __forceinline__ T* plane_of(P* memory, const Pixel& at, int64_t pixels) {
  return static_cast<T*>(memory) + at.plane * pixels * kLine<T> + at.pack * Pack<T>::kSize;
}

// ---- maximum ----------------------------------------------------------------------------------------------------

/// The sizes of MaxPool in 32 bits.
struct Windows {
  int height, width, out_height, out_width;
  int kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  Divisor by_stride_h, by_stride_w;
};

Windows windows_of(const MaxPool& a) {
  const auto small = [](int64_t n) { return static_cast<int>(n); };
  return {small(a.height), small(a.width), small(a.out_height), small(a.out_width), small(a.kernel_h), small(a.kernel_w),
          small(a.stride_h), small(a.stride_w), small(a.pad_top), small(a.pad_left), small(a.dilation_h), small(a.dilation_w),
          divisor(a.stride_h), divisor(a.stride_w)};
}

/// first … last-1
struct Range {
  int first, last;
};

/// The taps of a window from `start` on that lie inside 0 … size-1.
__device__ __forceinline__ Range taps_inside(int start, int kernel, int dilation, int size) {
  if (start >= 0 && start + (kernel - 1) * dilation < size) return {0, kernel};
  const int first = start < 0 ? (-start + dilation - 1) / dilation : 0;
  const int fit = size > start ? (size - start + dilation - 1) / dilation : 0;
  return {first, fit < kernel ? fit : kernel};
}

/// Calls f(tap, pack) for the positions of a window inside the picture, row by row.
template <class T, class F>
__device__ __forceinline__ void each_tap(const Windows& w, const T* plane, const Pixel& at, F& f) {
  const int top = at.row * w.stride_h - w.pad_top, left = at.column * w.stride_w - w.pad_left;
  const Range ys = taps_inside(top, w.kernel_h, w.dilation_h, w.height);
  const Range xs = taps_inside(left, w.kernel_w, w.dilation_w, w.width);
  for (int j = ys.first; j < ys.last; ++j) {
    const T* row = plane + (static_cast<int64_t>(top + j * w.dilation_h) * w.width + left) * kLine<T>;
#pragma unroll 3
    for (int i = xs.first; i < xs.last; ++i) f(j * w.kernel_w + i, load_pack(row + i * w.dilation_w * kLine<T>));
  }
}

template <class T>
struct Peak;

template <>
struct Peak<float> {
  Pack<float> best;
  __device__ Peak() : best(repeated(-__builtin_huge_valf())) {}
  __device__ void operator()(int, const Pack<float>& x) {
#pragma unroll
    for (int i = 0; i < 4; ++i) best.at[i] = x.at[i] > best.at[i] || x.at[i] != x.at[i] ? x.at[i] : best.at[i];
  }
  __device__ void put(float* y) const { store_pack(y, best); }
};

template <>
struct Peak<uint16_t> {
  Pack<uint32_t> best;  // pairs
  __device__ Peak() : best(repeated(0xff80ff80u)) {}  // -infinity
  __device__ void operator()(int, const Pack<uint16_t>& x) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      best.at[i] = greater_pair(best.at[i], x.at[2 * i] | static_cast<uint32_t>(x.at[2 * i + 1]) << 16);
  }
  __device__ void put(uint16_t* y) const { store_pack(reinterpret_cast<uint32_t*>(y), best); }
};

template <class T>
__global__ void max_kernel(Windows w, Pixels outputs, const void* x, void* y) {
  const uint32_t n = item();
  if (n >= outputs.items) return;
  const Pixel at(outputs, n);
  Peak<T> peak;
  each_tap(w, plane_of<const T>(x, at, static_cast<int64_t>(w.height) * w.width), at, peak);
  peak.put(static_cast<T*>(y) + static_cast<int64_t>(n) * Pack<T>::kSize);
}

template <class T>
void max(const MaxPool& a, int64_t, void*) {
  const Pixels outputs = pixels_of(a.planes, a.out_height, a.out_width);
  launch_items(max_kernel<T>, outputs.items, windows_of(a), outputs, a.x, a.y);
}

/// One tap for each number of a pack of T.
template <class T, class Tap>
struct alignas(Pack<T>::kSize * sizeof(Tap) < 16 ? Pack<T>::kSize * sizeof(Tap) : 16) Taps {
  Tap at[Pack<T>::kSize];
};

/// Which tap takes the gradient: the first greatest; what is not a number wins, the last of several.
template <class T>
struct Greatest {
  float best[Pack<T>::kSize];
  int tap[Pack<T>::kSize];
  __device__ Greatest() {
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) best[i] = -__builtin_huge_valf(), tap[i] = -1;
  }
  __device__ void operator()(int number, const Pack<T>& x) {
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      const float value = to_f32(x.at[i]);
      // A window of nothing but -infinity gives its gradient to its first position.
      const bool wins = best[i] < value || value != value || tap[i] < 0;
      best[i] = wins ? value : best[i];
      tap[i] = wins ? number : tap[i];
    }
  }
};

template <class T, class Tap>
__global__ void taps_kernel(Windows w, Pixels outputs, const void* x, void* taps) {
  const uint32_t n = item();
  if (n >= outputs.items) return;
  const Pixel at(outputs, n);
  Greatest<T> greatest;
  each_tap(w, plane_of<const T>(x, at, static_cast<int64_t>(w.height) * w.width), at, greatest);
  Taps<T, Tap> result;
#pragma unroll
  for (int i = 0; i < Pack<T>::kSize; ++i) result.at[i] = static_cast<Tap>(greatest.tap[i]);
  static_cast<Taps<T, Tap>*>(taps)[n] = result;
}

/// The windows along one axis that reach from before a position to it or beyond.
__device__ __forceinline__ Range windows_around(int position, int pad, int reach, const Divisor& stride, int count) {
  const int end = position + pad, begin = end - reach + static_cast<int>(stride.size) - 1;
  const int last = static_cast<int>(divide(static_cast<uint32_t>(end), stride)) + 1;
  return {begin > 0 ? static_cast<int>(divide(static_cast<uint32_t>(begin), stride)) : 0, last < count ? last : count};
}

/// The tap by which a window that starts so far before a position holds it, or -1.
__device__ __forceinline__ int tap_at(int distance, int dilation) {
  if (dilation == 1) return distance;
  return distance % dilation == 0 ? distance / dilation : -1;
}

template <class T, class Tap>
__global__ void max_backward_kernel(Windows w, Pixels inputs, const void* taps, const void* dy, void* dx) {
  constexpr int kSize = Pack<T>::kSize;
  const uint32_t n = item();
  if (n >= inputs.items) return;
  const Pixel at(inputs, n);
  const Range rows = windows_around(at.row, w.pad_top, (w.kernel_h - 1) * w.dilation_h, w.by_stride_h, w.out_height);
  const Range columns = windows_around(at.column, w.pad_left, (w.kernel_w - 1) * w.dilation_w, w.by_stride_w, w.out_width);
  float sum[kSize] = {};
  for (int row = rows.first; row < rows.last; ++row) {
    const int j = tap_at(at.row + w.pad_top - row * w.stride_h, w.dilation_h);
    if (j < 0) continue;
    for (int column = columns.first; column < columns.last; ++column) {
      const int i = tap_at(at.column + w.pad_left - column * w.stride_w, w.dilation_w);
      if (i < 0) continue;
      const int64_t pack = ((static_cast<int64_t>(at.plane) * w.out_height + row) * w.out_width + column) * kLinePacks + at.pack;
      const Taps<T, Tap> tap = static_cast<const Taps<T, Tap>*>(taps)[pack];
      const Pack<T> gradient = load_pack(static_cast<const T*>(dy) + pack * kSize);
      const Tap here = static_cast<Tap>(j * w.kernel_w + i);
#pragma unroll
      for (int k = 0; k < kSize; ++k) sum[k] += tap.at[k] == here ? to_f32(gradient.at[k]) : 0.0f;
    }
  }
  Pack<T> result;
#pragma unroll
  for (int k = 0; k < kSize; ++k) result.at[k] = from_f32<T>(sum[k]);
  store_pack(static_cast<T*>(dx) + static_cast<int64_t>(n) * kSize, result);
}

template <class T, class Tap>
void max_backward_as(const MaxPool& a) {
  const Windows w = windows_of(a);
  const Pixels outputs = pixels_of(a.planes, a.out_height, a.out_width), inputs = pixels_of(a.planes, a.height, a.width);
  launch_items(taps_kernel<T, Tap>, outputs.items, w, outputs, a.x, a.taps);
  launch_items(max_backward_kernel<T, Tap>, inputs.items, w, inputs, a.taps, a.dy, a.y);
}

template <class T>
void max_backward(const MaxPool& a, int64_t, void*) {
  if (pool_tap_bytes(a) == 1) max_backward_as<T, uint8_t>(a);
  else max_backward_as<T, int32_t>(a);
}

// ---- average ----------------------------------------------------------------------------------------------------

template <class T>
__global__ void average_kernel(AveragePool a, Pixels outputs) {
  constexpr int kSize = Pack<T>::kSize;
  const uint32_t n = item();
  if (n >= outputs.items) return;
  const Pixel at(outputs, n);
  const PoolWindow rows = a.rows[at.row], columns = a.columns[at.column];
  const T* plane = plane_of<const T>(a.x, at, a.height * a.width);
  double sum[kSize] = {};
  for (int y = rows.begin; y < rows.end; ++y) {
    const T* row = plane + y * a.width * kLine<T>;
    for (int x = columns.begin; x < columns.end; ++x) {
      const Pack<T> pack = load_pack(row + x * kLine<T>);
#pragma unroll
      for (int k = 0; k < kSize; ++k) sum[k] += static_cast<double>(to_f32(pack.at[k]));
    }
  }
  const double share = 1.0 / (rows.size * columns.size);
  Pack<T> result;
#pragma unroll
  for (int k = 0; k < kSize; ++k) result.at[k] = from_f32<T>(static_cast<float>(sum[k] * share));
  store_pack(static_cast<T*>(a.y) + static_cast<int64_t>(n) * kSize, result);
}

/// Where the channels of a plane in bf16 lie in f32 blocks of one pixel, [N][ceil(C/16)][16].
struct Blocks {
  Divisor wide;         // blocks of 32 of a picture
  int64_t narrow;       // blocks of 16

  /// Of the sixteen from channel 0 or 16 on; -1 where none of them exists.
  __device__ int64_t half(uint32_t plane, int which) const {
    uint32_t block;
    const uint32_t picture = divide(plane, wide, block);
    const int64_t at = block * 2 + which;
    return at < narrow ? (picture * narrow + at) * 16 : -1;
  }
};

Blocks blocks_of(const AveragePool& a) { return {divisor(divide_up(a.channels, 32)), divide_up(a.channels, 16)}; }

/// A line of the picture's own kind.
template <class T>
struct ToLine {
  __device__ void operator()(void* y, uint32_t line, int channel, float value) const {
    static_cast<T*>(y)[static_cast<int64_t>(line) * kLine<T> + channel] = from_f32<T>(value);
  }
};
struct ToBlocks {
  Blocks blocks;
  __device__ void operator()(void* y, uint32_t plane, int channel, float value) const {
    const int64_t at = blocks.half(plane, channel / 16);
    if (at >= 0) static_cast<float*>(y)[at + channel % 16] = value;
  }
};

/// The pixels of a window, row by row.
template <class T>
struct WindowLines {
  const T* first;
  int columns;
  int64_t width;
  __device__ const T* operator()(int i) const { return first + (i / columns * width + i % columns) * kLine<T>; }
};

/// A block of threads computes one output.
template <class T, class Put>
__global__ void average_by_block_kernel(AveragePool a, Divisor out_height, Divisor out_width, Put put) {
  uint32_t row, column;
  const uint32_t plane = divide(divide(blockIdx.x, out_width, column), out_height, row);
  const PoolWindow rows = a.rows[row], columns = a.columns[column];
  const T* first = static_cast<const T*>(a.x) + (plane * a.height * a.width + rows.begin * a.width + columns.begin) * kLine<T>;
  const WindowLines<T> lines = {first, columns.end - columns.begin, a.width};
  const int count = (rows.end - rows.begin) * lines.columns, channel = static_cast<int>(threadIdx.x);
  const double sum = sum_lines<T>(count, lines, shared_memory<double>());
  if (channel < kLine<T>) put(a.y, blockIdx.x, channel, static_cast<float>(sum * (1.0 / (rows.size * columns.size))));
}

template <class T, class Put>
void average_by_block(const AveragePool& a, Put put) {
  const int64_t outputs = a.out_height * a.out_width;
  if (a.planes * outputs > kMaxItems) return note(cudaErrorInvalidConfiguration);
  const int threads = line_sum_threads(a.height * a.width / outputs);
  launch(average_by_block_kernel<T, Put>, dim3(static_cast<unsigned>(a.planes * outputs)), dim3(threads), line_sum_bytes<T>(threads),
         a, divisor(a.out_height), divisor(a.out_width), put);
}

template <class T>
void average(const AveragePool& a, int64_t, void*) {
  // Few large windows need the threads of a block each.
  if (a.height * a.width >= 32 * a.out_height * a.out_width) return average_by_block<T>(a, ToLine<T>{});
  const Pixels outputs = pixels_of(a.planes, a.out_height, a.out_width);
  launch_items(average_kernel<T>, outputs.items, a, outputs);
}

void global_average(const AveragePool& a, int64_t, void*) { average_by_block<uint16_t>(a, ToBlocks{blocks_of(a)}); }

template <class T>
__global__ void average_backward_kernel(AveragePool a, Pixels inputs) {
  constexpr int kSize = Pack<T>::kSize;
  const uint32_t n = item();
  if (n >= inputs.items) return;
  const Pixel at(inputs, n);
  const PoolHolders rows = a.row_holders[at.row], columns = a.column_holders[at.column];
  const T* dy = plane_of<const T>(a.x, at, a.out_height * a.out_width);
  float sum[kSize] = {};
  for (int j = rows.first; j < rows.last; ++j) {
    for (int i = columns.first; i < columns.last; ++i) {
      const Pack<T> gradient = load_pack(dy + (j * a.out_width + i) * kLine<T>);
      const float size = static_cast<float>(a.rows[j].size * a.columns[i].size);
#pragma unroll
      for (int k = 0; k < kSize; ++k) {
        // As on the processor: quotients in f32, multiples of the reciprocal in bf16.
        if constexpr (sizeof(T) == 4) sum[k] += gradient.at[k] / size;
        else sum[k] = fmaf(to_f32(gradient.at[k]), 1.0f / size, sum[k]);
      }
    }
  }
  Pack<T> result;
#pragma unroll
  for (int k = 0; k < kSize; ++k) result.at[k] = from_f32<T>(sum[k]);
  store_pack(static_cast<T*>(a.y) + static_cast<int64_t>(n) * kSize, result);
}

template <class T>
void average_backward(const AveragePool& a, int64_t, void*) {
  const Pixels inputs = pixels_of(a.planes, a.height, a.width);
  launch_items(average_backward_kernel<T>, inputs.items, a, inputs);
}

__global__ void global_average_backward_kernel(AveragePool a, Pixels inputs, Blocks blocks) {
  const uint32_t n = item();
  if (n >= inputs.items) return;
  const Pixel at(inputs, n);
  const int64_t from = blocks.half(at.plane, at.pack / 2);
  Pack<uint16_t> result = {};
  if (from >= 0) {
    const float* dy = static_cast<const float*>(a.x) + from + at.pack % 2 * 8;
    const Pack<float> low = load_pack(dy), high = load_pack(dy + 4);
    const float size = static_cast<float>(a.rows[0].size * a.columns[0].size);
#pragma unroll
    for (int k = 0; k < 8; ++k) result.at[k] = bf16_of((k < 4 ? low.at[k] : high.at[k - 4]) / size);
  }
  store_pack(static_cast<uint16_t*>(a.y) + static_cast<int64_t>(n) * 8, result);
}

void global_average_backward(const AveragePool& a, int64_t, void*) {
  const Pixels inputs = pixels_of(a.planes, a.height, a.width);
  launch_items(global_average_backward_kernel, inputs.items, a, inputs, blocks_of(a));
}

}  // namespace

extern const PoolKernels pool = {max<float>, max_backward<float>, average<float>, average_backward<float>};
extern const PoolBf16Kernels pool_bf16 = {
    {max<uint16_t>, max_backward<uint16_t>, average<uint16_t>, average_backward<uint16_t>}, global_average, global_average_backward};

}  // namespace cuda
}  // namespace thaw
