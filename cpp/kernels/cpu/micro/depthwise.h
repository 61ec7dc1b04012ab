#pragma once
// Depthwise convolution on blocked pictures of either type (micro/line.h): every lane is its own channel.
//   y[pixel] = activation(bias + sum over taps of x[at tap] * w[tap] + residual)
// Forward and backward-data alike (see kernels/conv2d.h); one task is one block of one picture. Each output is one chain
// of multiply-adds in the order of the taps, whichever loop computes it.
#include "kernels/conv2d.h"
#include "kernels/cpu/micro/activate.h"
#include "kernels/cpu/micro/line.h"

namespace thaw {
namespace THAW_ISA {
namespace {

#if defined(THAW_ISA_avx512)
constexpr int kPixels = 8;
#else
constexpr int kPixels = 4;
#endif

THAW_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
THAW_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

template <int V>
struct Pixels {
  const float* x;  // position of the first pixel with offsets zero
  const float* weights;
  float* y;
  const float* residual;
  const float* gate;
  V16 bias[V];
  int64_t first_y, end_y;  // taps that lie inside the picture
  int64_t first_x, end_x;  // taps, or (tiles of a dense row of taps) input lines of the tile
};

// Apart from the tiles, so that their registers stay free of what few convolutions need.
THAW_NOINLINE void activate_sums(float* sums, int64_t count, Activation kind, float alpha) {
  activate_all(sums, sums, count, kind, alpha);
}

template <int V, int M>
THAW_INLINE void finish(const Depthwise& a, const Pixels<V>& p, V16 (&sum)[M][V]) {
  const int64_t out = a.out_step_x * kLanes;
  if (p.residual) {
    THAW_FOR (i, M) {
      V16 line[V];
      load_line(p.residual + i * out, line);
      THAW_FOR (v, V) sum[i][v] = add(sum[i][v], line[v]);
    }
  }
  if (p.gate) {
    THAW_FOR (i, M) {
      V16 line[V];
      load_line(p.gate + i * out, line);
      THAW_FOR (v, V) sum[i][v] = select(less(zero(), line[v]), sum[i][v], zero());
    }
  }
  if (a.activation == Activation::relu) {
    THAW_FOR (i, M)
      THAW_FOR (v, V) sum[i][v] = maximum(zero(), sum[i][v]);
  } else if (a.activation == Activation::relu6) {
    THAW_FOR (i, M)
      THAW_FOR (v, V) sum[i][v] = clip(sum[i][v], 0.0f, 6.0f);
  } else if (a.activation != Activation::none) {
    alignas(64) float sums[M * V * kLanes];
    THAW_FOR (i, M)
      THAW_FOR (v, V) store(sums + (i * V + v) * kLanes, sum[i][v]);
    activate_sums(sums, M * V * kLanes, a.activation, a.alpha);
    THAW_FOR (i, M)
      THAW_FOR (v, V) sum[i][v] = load(sums + (i * V + v) * kLanes);
  }
  THAW_FOR (i, M) store_line(p.y + i * out, sum[i]);
}

// M points that have the same taps inside the picture.
template <int V, int M>
THAW_NOINLINE void tile(const Depthwise& a, const Pixels<V>& p) {
  V16 sum[M][V];
  THAW_FOR (i, M)
    THAW_FOR (v, V) sum[i][v] = p.bias[v];
  const int64_t step = a.stride_x * kLanes;
  for (int64_t ty = p.first_y; ty < p.end_y; ++ty) {
    const float* row = p.x + a.offset_y[ty] * a.in_width * kLanes;
    const float* w = p.weights + ty * a.taps_x * V * kLanes;
    for (int64_t tx = p.first_x; tx < p.end_x; ++tx) {
      const float* at = row + a.offset_x[tx] * kLanes;
      V16 weight[V];
      THAW_FOR (v, V) weight[v] = load(w + (tx * V + v) * kLanes);
      THAW_FOR (i, M) {
        V16 line[V];
        load_line(at + i * step, line);
        THAW_FOR (v, V) sum[i][v] = fma(line[v], weight[v], sum[i][v]);
      }
    }
  }
  finish<V, M>(a, p, sum);
}

// M neighbours under rows of K neighbouring taps at stride S: each input line is read once a row. Up to K / 2 lines at
// either end lie outside the picture.
template <int V, int K, int S, int M>
THAW_NOINLINE void dense_tile(const Depthwise& a, const Pixels<V>& p) {
  constexpr int lines = (M - 1) * S + K;
  V16 sum[M][V];
  THAW_FOR (i, M)
    THAW_FOR (v, V) sum[i][v] = p.bias[v];
  for (int64_t ty = p.first_y; ty < p.end_y; ++ty) {
    const float* row = p.x + (a.offset_y[ty] * a.in_width + a.offset_x[0]) * kLanes;
    const float* w = p.weights + ty * K * V * kLanes;
    V16 weight[K][V];
    THAW_FOR (k, K)
      THAW_FOR (v, V) weight[k][v] = load(w + (k * V + v) * kLanes);
    THAW_FOR (j, lines) {
      if ((j < K / 2 && j < p.first_x) || (j >= lines - K / 2 && j >= p.end_x)) continue;
      V16 line[V];
      load_line(row + j * kLanes, line);
      THAW_FOR (k, K) {
        if (j < k || (j - k) % S != 0 || (j - k) / S >= M) continue;
        THAW_FOR (v, V) sum[(j - k) / S][v] = fma(line[v], weight[k][v], sum[(j - k) / S][v]);
      }
    }
  }
  finish<V, M>(a, p, sum);
}

template <int V>
using TileFunction = void (*)(const Depthwise&, const Pixels<V>&);

#if defined(THAW_ISA_avx512)
#define THAW_BY_PIXELS(name, ...)                                                                       \
  name<__VA_ARGS__, 1>, name<__VA_ARGS__, 2>, name<__VA_ARGS__, 3>, name<__VA_ARGS__, 4>,               \
      name<__VA_ARGS__, 5>, name<__VA_ARGS__, 6>, name<__VA_ARGS__, 7>, name<__VA_ARGS__, 8>
#else
#define THAW_BY_PIXELS(name, ...) \
  name<__VA_ARGS__, 1>, name<__VA_ARGS__, 2>, name<__VA_ARGS__, 3>, name<__VA_ARGS__, 4>
#endif
template <int V>
static constexpr TileFunction<V> kTiles[kPixels] = {THAW_BY_PIXELS(tile, V)};
/// By size of the kernel (3, 5), stride (1, 2) and points.
template <int V>
static constexpr TileFunction<V> kDenseTiles[2][2][kPixels] = {
    {{THAW_BY_PIXELS(dense_tile, V, 3, 1)}, {THAW_BY_PIXELS(dense_tile, V, 3, 2)}},
    {{THAW_BY_PIXELS(dense_tile, V, 5, 1)}, {THAW_BY_PIXELS(dense_tile, V, 5, 2)}}};
#undef THAW_BY_PIXELS

/// Are all columns of taps neighbours, three or five of them, and no more than half of them outside at either end?
bool is_dense(int64_t taps, int64_t first, int64_t last, int64_t stride, int64_t cols, int64_t width) {
  return (taps == 3 || taps == 5) && last - first == taps - 1 && (stride == 1 || stride == 2) && -first <= taps / 2 &&
         (cols - 1) * stride + last - width < taps / 2;
}

// The taps whose input position base + offset lies in [0, size).
THAW_INLINE void taps_inside(const int64_t* offset, int64_t taps, int64_t base, int64_t size, int64_t& first,
                             int64_t& end) {
  first = 0;
  end = taps;
  while (first < end && base + offset[first] < 0) ++first;
  while (end > first && base + offset[end - 1] >= size) --end;
}

template <int V>
THAW_INLINE void advance(const Depthwise& a, Pixels<V>& p, int64_t pixels) {
  p.x += pixels * a.stride_x * kLanes;
  p.y += pixels * a.out_step_x * kLanes;
  if (p.residual) p.residual += pixels * a.out_step_x * kLanes;
  if (p.gate) p.gate += pixels * a.out_step_x * kLanes;
}

template <int V>
void dense_row(const Depthwise& a, Pixels<V> p) {
  const TileFunction<V>* functions = kDenseTiles<V>[a.taps_x == 5][a.stride_x - 1];
  for (int64_t c = 0; c < a.cols;) {
    // Tiles of equal width: a narrow last one would wait for its own sums.
    const int64_t left = a.cols - c, tiles = (left + kPixels - 1) / kPixels, pixels = (left + tiles - 1) / tiles;
    const int64_t begin = c * a.stride_x + a.offset_x[0];
    p.first_x = -begin;
    p.end_x = a.in_width - begin;
    functions[pixels - 1](a, p);
    advance<V>(a, p, pixels);
    c += pixels;
  }
}

template <int V>
void sparse_row(const Depthwise& a, Pixels<V> p) {
  // Points of the middle have all their taps inside.
  const int64_t low = a.taps_x ? a.offset_x[0] : 0, high = a.taps_x ? a.offset_x[a.taps_x - 1] : 0;
  const int64_t begin = low < 0 ? smaller((-low + a.stride_x - 1) / a.stride_x, a.cols) : 0;
  const int64_t last = a.in_width - 1 - high;
  const int64_t end = last < 0 ? begin : larger(begin, smaller(a.cols, last / a.stride_x + 1));
  for (int64_t c = 0; c < a.cols;) {
    const int64_t pixels = c >= begin && c < end ? smaller(kPixels, end - c) : 1;
    taps_inside(a.offset_x, a.taps_x, c * a.stride_x, a.in_width, p.first_x, p.end_x);
    kTiles<V>[pixels - 1](a, p);
    advance<V>(a, p, pixels);
    c += pixels;
  }
}

template <int V>
void direct(const Depthwise& a, int64_t task, void*) {
  const int64_t block = task % a.blocks;
  const int64_t in_plane = a.in_height * a.in_width * kLanes, out_plane = a.out_height * a.out_width * kLanes;
  const bool dense = a.taps_x > 0 && is_dense(a.taps_x, a.offset_x[0], a.offset_x[a.taps_x - 1], a.stride_x, a.cols,
                                              a.in_width);
  Pixels<V> p;
  p.weights = a.weights + block * a.taps_y * a.taps_x * V * kLanes;
  load_channels<V>(a.bias, block, a.channels, 0.0f, p.bias);
  for (int64_t row = 0; row < a.rows; ++row) {
    const int64_t out =
        task * out_plane + ((a.out_start_y + row * a.out_step_y) * a.out_width + a.out_start_x) * kLanes;
    p.x = a.x + task * in_plane + row * a.stride_y * a.in_width * kLanes;
    p.y = a.y + out;
    p.residual = a.residual ? a.residual + out : nullptr;
    p.gate = a.gate ? a.gate + out : nullptr;
    taps_inside(a.offset_y, a.taps_y, row * a.stride_y, a.in_height, p.first_y, p.end_y);
    if (dense) dense_row<V>(a, p);
    else sparse_row<V>(a, p);
  }
}

template <int V>
void pack(const DepthwisePack& a, int64_t task, void*) {
  float* to = a.packed + task * a.taps * V * kLanes;
  for (int64_t t = 0; t < a.taps; ++t)
    for (int v = 0; v < V; ++v)
      for (int64_t i = 0; i < kLanes; ++i) {
        const int64_t channel = task * V * kLanes + channel_of<V>(v, i);
        to[(t * V + v) * kLanes + i] = channel < a.channels ? a.weight[channel * a.kernel_taps + a.tap[t]] : 0.0f;
      }
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
