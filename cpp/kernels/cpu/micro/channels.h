#pragma once
// Walking a batch channel by channel (kernels/batch_norm.h): a task's part of it, how a line of it is read, and sums.
#include "kernels/batch_norm.h"
#include "kernels/cpu/micro/line.h"
#include "kernels/cpu/micro/wide.h"

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int64_t kRun = 16;  // lines summed in f32 before the sum goes to double
constexpr int kRunChains = 2;

template <int V>
int64_t blocks_of(int64_t channels) {
  return (channels + V * kLanes - 1) / (V * kLanes);
}

/// Lines as they lie in memory, for pictures in blocks and for sixteen neighbouring channels.
template <int V>
struct WholeLines {
  THAW_MEMBER void read(const float* p, V16 (&line)[V]) const {
    if constexpr (V == 1) line[0] = loadu(p);
    else load_line(p, line);
  }
  THAW_MEMBER void write(float* p, const V16 (&line)[V], bool stream) const {
    if (V == 2 || stream) store_line(p, line, stream);
    else storeu(p, line[0]);
  }
};

/// Channels that lie apart, or fewer than sixteen.
struct ScatteredLines {
  int64_t lanes, step;
  void read(const float* p, V16 (&line)[1]) const {
    float lane[kLanes] = {};
    for (int64_t i = 0; i < lanes; ++i) lane[i] = p[i * step];
    line[0] = loadu(lane);
  }
  void write(float* p, const V16 (&line)[1], bool) const {
    float lane[kLanes];
    storeu(lane, line[0]);
    for (int64_t i = 0; i < lanes; ++i) p[i * step] = lane[i];
  }
};

/// One task's part of a batch: a channel block and a range of pixels, walked picture by picture.
template <int V>
struct Part {
  const ChannelView& view;
  int64_t block, first, last;

  Part(const ChannelView& v, int64_t task) : view(v), block(task % blocks_of<V>(v.channels)) {
    const BatchNormRange range = batch_norm_range(v, task / blocks_of<V>(v.channels));
    first = range.first, last = range.last;
  }

  /// Where the line of a pixel of the batch begins.
  int64_t offset(int64_t pixel) const {
    return pixel / view.pixels * view.picture + block * view.block + pixel % view.pixels * view.pixel;
  }

  /// Calls body(offset of the first line, lines, picture) for neighbouring lines, at most kRun at a time.
  template <class Body>
  THAW_MEMBER void each_run(const Body& body) const {
    for (int64_t pixel = first; pixel < last;) {
      const int64_t start = pixel % view.pixels, rest = last - pixel, plane = view.pixels - start;
      const int64_t lines = rest < plane ? rest : plane, count = lines < kRun ? lines : kRun;
      const int64_t picture = pixel / view.pixels;
      body(picture * view.picture + block * view.block + start * view.pixel, count, picture);
      pixel += count;
    }
  }

  /// Calls f with the way in which this part's lines are read.
  template <class F>
  THAW_MEMBER void with_lines(const F& f) const {
    if constexpr (V == 1) {
      const int64_t left = view.channels - block * kLanes;
      if (!view.padded && (view.lane != 1 || left < kLanes))
        return f(ScatteredLines{left < kLanes ? left : kLanes, view.lane});
    }
    f(WholeLines<V>{});
  }
};

/// Sums of a and of a * b over a part, where terms(offset, a, b) gives both for one line. Stores [2][V][16].
template <int V, class Terms>
THAW_INLINE void sum_products(const Part<V>& part, double* to, const Terms& terms) {
  W16 total[2][V];
  THAW_FOR (v, V) total[0][v] = total[1][v] = wide_zero();
  part.each_run([&](int64_t offset, int64_t lines, int64_t) THAW_LAMBDA {
    V16 sum[kRunChains][V], products[kRunChains][V];
    THAW_FOR (c, kRunChains)
      THAW_FOR (v, V) sum[c][v] = products[c][v] = zero();
    const auto take = [&](int64_t at, int c) THAW_LAMBDA {
      V16 a[V], b[V];
      terms(at, a, b);
      THAW_FOR (v, V) {
        sum[c][v] = add(sum[c][v], a[v]);
        products[c][v] = fma(a[v], b[v], products[c][v]);
      }
    };
    const int64_t step = part.view.pixel;
    int64_t i = 0;
    for (; i + kRunChains <= lines; i += kRunChains) {
      take(offset + i * step, 0);
      take(offset + (i + 1) * step, 1);
    }
    if (i < lines) take(offset + i * step, 0);
    THAW_FOR (v, V) {
      total[0][v] = wide_add(total[0][v], widen(add(sum[0][v], sum[1][v])));
      total[1][v] = wide_add(total[1][v], widen(add(products[0][v], products[1][v])));
    }
  });
  THAW_FOR (v, V) {
    wide_store(to + v * kLanes, total[0][v]);
    wide_store(to + (V + v) * kLanes, total[1][v]);
  }
}

/// The sums of a channel block over all chunks, into to[2][V][16].
template <int V>
void join_chunks(const double* partial, int64_t block, int64_t blocks, int64_t chunks, double* to) {
  for (int i = 0; i < 2 * V; ++i) {
    W16 sum = wide_zero();
    for (int64_t c = 0; c < chunks; ++c)
      sum = wide_add(sum, wide_load(partial + ((c * blocks + block) * 2 * V + i) * kLanes));
    wide_store(to + i * kLanes, sum);
  }
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
