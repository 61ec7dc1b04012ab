#pragma once
// Gradient of the weights of a depthwise convolution, for pictures of either type (micro/line.h):
//   dw[tap] = sum over pixels of x[at tap] * dy[pixel]
// A task is a block of channels and a chunk of pictures; sums of a row of dy are joined to the sums of all before it.
#include "kernels/conv2d.h"
#include "kernels/cpu/micro/depthwise.h"

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int kChains = 2;        // pixels by turns, so that no sum waits for itself
constexpr int kSummedPixels = 4;  // lines of dy in registers

struct Points {
  int64_t begin, end;
};

THAW_INLINE Points points_inside(int64_t count, int64_t stride, int64_t offset, int64_t size) {
  const int64_t first = offset < 0 ? (-offset + stride - 1) / stride : 0;
  const int64_t beyond = offset < size ? (size - offset + stride - 1) / stride : 0;
  return {first, smaller(count, beyond)};
}

/// M pixels of dy under K neighbouring taps at stride S; input lines outside [first, end) are outside the picture.
template <int V, int K, int S, int M>
THAW_INLINE void sum_tile(const float* x, const float* dy, int64_t first, int64_t end, V16 (&sum)[kChains][K][V]) {
  constexpr int lines = (M - 1) * S + K;
  V16 d[M][V];
  THAW_FOR (i, M) load_line(dy + i * kLanes, d[i]);
  THAW_FOR (j, lines) {
    if ((j < K / 2 && j < first) || (j >= lines - K / 2 && j >= end)) continue;
    V16 line[V];
    load_line(x + j * kLanes, line);
    THAW_FOR (k, K) {
      if (j < k || (j - k) % S != 0 || (j - k) / S >= M) continue;
      const int i = (j - k) / S;
      THAW_FOR (v, V) sum[i % kChains][k][v] = fma(line[v], d[i][v], sum[i % kChains][k][v]);
    }
  }
}

/// Adds the sums of one row of dy at K taps to `to`; x is the input's row.
template <int V, int K, int S>
THAW_NOINLINE void dense_sums(const DepthwiseWeights& a, const float* x, const float* dy, float* to) {
  V16 sum[kChains][K][V];
  THAW_FOR (s, kChains)
    THAW_FOR (k, K)
      THAW_FOR (v, V) sum[s][k][v] = zero();
  int64_t at = -a.pad_left, c = 0;
  for (; c + kSummedPixels <= a.out_width; c += kSummedPixels, at += kSummedPixels * S)
    sum_tile<V, K, S, kSummedPixels>(x + at * kLanes, dy + c * kLanes, -at, a.in_width - at, sum);
  for (; c < a.out_width; ++c, at += S)
    sum_tile<V, K, S, 1>(x + at * kLanes, dy + c * kLanes, -at, a.in_width - at, sum);
  THAW_FOR (k, K)
    THAW_FOR (v, V) {
      float* p = to + (k * V + v) * kLanes;
      store(p, add(load(p), add(sum[0][k][v], sum[1][k][v])));
    }
}

/// The same for any kernel, tap by tap.
template <int V>
THAW_NOINLINE void sparse_sums(const DepthwiseWeights& a, const float* x, const float* dy, float* to) {
  for (int64_t k = 0; k < a.kernel_width; ++k, to += V * kLanes) {
    const int64_t offset = k * a.dilation_x - a.pad_left;
    const Points cols = points_inside(a.out_width, a.stride_x, offset, a.in_width);
    V16 sum[kSummedPixels][V];
    THAW_FOR (i, kSummedPixels)
      THAW_FOR (v, V) sum[i][v] = zero();
    for (int64_t c = cols.begin; c < cols.end; c += kSummedPixels) {
      THAW_FOR (i, kSummedPixels) {
        if (c + i >= cols.end) continue;
        V16 line[V], d[V];
        load_line(x + ((c + i) * a.stride_x + offset) * kLanes, line);
        load_line(dy + (c + i) * kLanes, d);
        THAW_FOR (v, V) sum[i][v] = fma(line[v], d[v], sum[i][v]);
      }
    }
    THAW_FOR (v, V) {
      const V16 all = add(add(sum[0][v], sum[1][v]), add(sum[2][v], sum[3][v]));
      store(to + v * kLanes, add(load(to + v * kLanes), all));
    }
  }
}

using SumFunction = void (*)(const DepthwiseWeights&, const float* x, const float* dy, float* to);

template <int V>
SumFunction row_sums(const DepthwiseWeights& a) {
  const int64_t first = -a.pad_left, last = (a.kernel_width - 1) * a.dilation_x - a.pad_left;
  if (!is_dense(a.kernel_width, first, last, a.stride_x, a.out_width, a.in_width)) return sparse_sums<V>;
  if (a.kernel_width == 3) return a.stride_x == 1 ? dense_sums<V, 3, 1> : dense_sums<V, 3, 2>;
  return a.stride_x == 1 ? dense_sums<V, 5, 1> : dense_sums<V, 5, 2>;
}

template <int V>
void weights(const DepthwiseWeights& a, int64_t task, void*) {
  const int64_t block = task % a.blocks, chunk = task / a.blocks, line = V * kLanes;
  const int64_t taps = a.kernel_height * a.kernel_width;
  const SumFunction sums = row_sums<V>(a);
  float* to = a.partial + task * taps * line;
  for (int64_t i = 0; i < taps * V; ++i) store(to + i * kLanes, zero());
  for (int64_t n = a.pictures * chunk / a.chunks; n < a.pictures * (chunk + 1) / a.chunks; ++n) {
    const float* x = a.x + (n * a.blocks + block) * a.in_height * a.in_width * kLanes;
    const float* dy = a.dy + (n * a.blocks + block) * a.out_height * a.out_width * kLanes;
    for (int64_t r = 0; r < a.out_height; ++r)
      for (int64_t ty = 0; ty < a.kernel_height; ++ty) {
        const int64_t y = r * a.stride_y + ty * a.dilation_y - a.pad_top;
        if (y < 0 || y >= a.in_height) continue;
        sums(a, x + y * a.in_width * kLanes, dy + r * a.out_width * kLanes, to + ty * a.kernel_width * line);
      }
  }
}

template <int V>
void join(const DepthwiseWeights& a, int64_t task, void*) {
  const int64_t taps = a.kernel_height * a.kernel_width, line = V * kLanes;
  for (int v = 0; v < V; ++v)
    for (int64_t i = 0; i < kLanes; ++i) {
      const int64_t channel = task * line + channel_of<V>(v, i);
      if (channel >= a.channels) continue;
      for (int64_t t = 0; t < taps; ++t) {
        const float* sums = a.partial + (task * taps + t) * line + v * kLanes + i;
        float total = sums[0];
        for (int64_t k = 1; k < a.chunks; ++k) total += sums[k * a.blocks * taps * line];
        a.dweight[channel * taps + t] = total;
      }
    }
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
