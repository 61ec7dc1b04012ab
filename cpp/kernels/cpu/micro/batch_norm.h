#pragma once
// Batch normalisation, for pictures of either type (micro/line.h); formulas and shapes in kernels/batch_norm.h.
#include <math.h>

#include "kernels/cpu/micro/activate.h"
#include "kernels/cpu/micro/channels.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// f(kind) where lines are whole; others have no activation.
template <int V, class F>
THAW_INLINE void with_kind(const WholeLines<V>&, Activation kind, const F& f) {
  with_activation(kind, f);
}
template <class F>
THAW_INLINE void with_kind(const ScatteredLines&, Activation, const F& f) {
  f.template run<Activation::none>();
}

/// A block of a BatchNormMap: z = (x - mean) * factor + bias.
template <int V>
struct Map {
  V16 mean[V], factor[V], bias[V], alpha;

  Map(const BatchNormMap& m, int64_t channels, int64_t block) : alpha(broadcast(m.alpha)) {
    load_channels<V>(m.mean, block, channels, 0.0f, mean);
    load_channels<V>(m.weight, block, channels, 1.0f, factor);
    load_channels<V>(m.bias, block, channels, 0.0f, bias);
    // 0 beyond C: lanes of the padding stay finite whatever lies in them.
    V16 invstd[V];
    load_channels<V>(m.spread, block, channels, m.variance ? INFINITY : 0.0f, invstd);
    THAW_FOR (v, V) {
      if (m.variance) invstd[v] = inverse_deviation(invstd[v], m.eps);
      factor[v] = mul(invstd[v], factor[v]);
    }
  }

  static V16 inverse_deviation(V16 variance, float eps) {
    float lane[kLanes];
    storeu(lane, variance);
    for (float& x : lane) x = static_cast<float>(1.0 / ::sqrt(static_cast<double>(x) + eps));
    return loadu(lane);
  }
};

// ---- forward ----------------------------------------------------------------------------------------------------

/// A chunk's mean and deviations from the sums of x - shift and of its square, in their place.
template <int V>
void chunk_moments(const V16 (&shift)[V], int64_t count, double* sums) {
  const double share = 1.0 / static_cast<double>(count);
  for (int v = 0; v < V; ++v) {
    float first[kLanes];
    storeu(first, shift[v]);
    for (int64_t i = 0; i < kLanes; ++i) {
      double &mean = sums[v * kLanes + i], &deviations = sums[(V + v) * kLanes + i];
      const double left = deviations - mean * mean * share;
      deviations = left < 0 ? 0 : left;
      mean = mean * share + static_cast<double>(first[i]);
    }
  }
}

/// The shift is the chunk's first value: a constant channel gives exact zeros.
template <int V>
void sums(const BatchNormSums& a, int64_t task, void*) {
  const Part<V> part(a.view, task);
  double* to = a.partial + task * 2 * V * kLanes;
  part.with_lines([&](const auto lines) {
    V16 shift[V];
    lines.read(a.x + part.offset(part.first), shift);
    sum_products<V>(part, to, [&](int64_t at, V16 (&d)[V], V16 (&same)[V]) THAW_LAMBDA {
      V16 x[V];
      lines.read(a.x + at, x);
      THAW_FOR (v, V) d[v] = same[v] = sub(x[v], shift[v]);
    });
    chunk_moments<V>(shift, part.last - part.first, to);
  });
}

/// Of all chunks of a channel block, joined in their order (Chan, Golub and LeVeque).
template <int V>
struct Moments {
  double mean[V * kLanes], deviations[V * kLanes];

  Moments(const BatchNormStatistics& a, int64_t block) {
    const int64_t blocks = blocks_of<V>(a.view.channels), chunks = batch_norm_chunks(a.view);
    double before = 0;
    for (int64_t c = 0; c < chunks; ++c) {
      const BatchNormRange range = batch_norm_range(a.view, c);
      join(a.partial + (c * blocks + block) * 2 * V * kLanes, static_cast<double>(range.last - range.first), before);
    }
  }

 private:
  void join(const double* chunk, double count, double& before) {
    const double share = count / (before + count), weight = before * share;
    for (int64_t i = 0; i < V * kLanes; ++i) {
      const double rest = before > 0 ? chunk[i] - mean[i] : 0;
      mean[i] = before > 0 ? mean[i] + rest * share : chunk[i];
      deviations[i] = (before > 0 ? deviations[i] : 0) + chunk[V * kLanes + i] + rest * rest * weight;
    }
    before += count;
  }
};

void write_statistics(const BatchNormStatistics& a, int64_t c, double mean, double deviations) {
  const double n = static_cast<double>(a.view.pictures * a.view.pixels), momentum = a.momentum;
  a.mean[c] = static_cast<float>(mean);
  a.invstd[c] = static_cast<float>(1.0 / ::sqrt(deviations / n + a.eps));
  a.next_mean[c] = static_cast<float>((1 - momentum) * a.running_mean[c] + momentum * mean);
  a.next_var[c] = static_cast<float>((1 - momentum) * a.running_var[c] + momentum * (deviations / (n - 1)));
}

template <int V>
void statistics(const BatchNormStatistics& a, int64_t block, void*) {
  if (block == 0 && a.next_tracked) *a.next_tracked = *a.tracked + 1;
  const Moments<V> all(a, block);
  for (int v = 0; v < V; ++v)
    for (int64_t i = 0; i < kLanes; ++i) {
      const int64_t c = block * V * kLanes + channel_of<V>(v, i);
      if (c < a.view.channels) write_statistics(a, c, all.mean[v * kLanes + i], all.deviations[v * kLanes + i]);
    }
}

template <int V, class Lines>
struct ApplyPart {
  const BatchNormApply& a;
  const Part<V>& part;
  const Lines& lines;

  template <Activation kind>
  void run() const {
    const Map<V> map(a.map, a.view.channels, part.block);
    part.each_run([&](int64_t offset, int64_t count, int64_t picture) THAW_LAMBDA {
      float* y = a.y + picture * a.y_gap;
      for (int64_t i = 0, at = offset; i < count; ++i, at += a.view.pixel) {
        V16 line[V], other[V];
        lines.read(a.x + at, line);
        THAW_FOR (v, V) line[v] = fma(sub(line[v], map.mean[v]), map.factor[v], map.bias[v]);
        if (a.residual) {
          lines.read(a.residual + at, other);
          THAW_FOR (v, V) line[v] = add(line[v], other[v]);
        }
        THAW_FOR (v, V) line[v] = activate_as<kind>(line[v], map.alpha);
        lines.write(y + at, line, a.stream);
      }
    });
  }
};

template <int V>
void apply(const BatchNormApply& a, int64_t task, void*) {
  const Part<V> part(a.view, task);
  part.with_lines([&](const auto lines) {
    with_kind(lines, a.map.activation, ApplyPart<V, decltype(lines)>{a, part, lines});
  });
}

// ---- backward ---------------------------------------------------------------------------------------------------

/// f'(z); slope_of takes f(z) for the kinds whose derivative follows from it.
template <Activation kind>
THAW_INLINE V16 slope_before(V16 z, V16 alpha) {
  constexpr bool from_output =
      kind == Activation::sigmoid || kind == Activation::tanh || kind == Activation::hard_sigmoid;
  return slope_of<kind>(from_output ? activate_as<kind>(z, alpha) : z, alpha);
}

/// dz of a line, given d = x - mean.
template <Activation kind, int V>
THAW_INLINE void times_slope(const Map<V>& map, const V16 (&d)[V], V16 (&dy)[V]) {
  if constexpr (kind == Activation::none) return;
  THAW_FOR (v, V) dy[v] = mul(dy[v], slope_before<kind>(fma(d[v], map.factor[v], map.bias[v]), map.alpha));
}

template <int V, class Lines>
struct SumPart {
  const BatchNormBackwardSums& a;
  const Part<V>& part;
  const Lines& lines;
  double* partial;

  template <Activation kind>
  void run() const {
    const Map<V> map(a.map, a.view.channels, part.block);
    sum_products<V>(part, partial, [&](int64_t at, V16 (&dy)[V], V16 (&d)[V]) THAW_LAMBDA {
      lines.read(a.dy + at, dy);
      lines.read(a.x + at, d);
      THAW_FOR (v, V) d[v] = sub(d[v], map.mean[v]);
      times_slope<kind>(map, d, dy);
    });
  }
};

template <int V>
void backward_sums(const BatchNormBackwardSums& a, int64_t task, void*) {
  const Part<V> part(a.view, task);
  part.with_lines([&](const auto lines) {
    with_kind(lines, a.map.activation,
              SumPart<V, decltype(lines)>{a, part, lines, a.partial + task * 2 * V * kLanes});
  });
}

template <int V>
void join(const BatchNormJoin& a, int64_t block, void*) {
  double joined[2 * V * kLanes];
  join_chunks<V>(a.partial, block, blocks_of<V>(a.channels), a.chunks, joined);
  double* sums = a.sums + block * 2 * V * kLanes;
  for (int v = 0; v < V; ++v)
    for (int64_t i = 0; i < kLanes; ++i) {
      double &constant = sums[v * kLanes + i], &slope = sums[(V + v) * kLanes + i];
      constant = slope = 0;
      const int64_t c = block * V * kLanes + channel_of<V>(v, i);
      if (c >= a.channels) continue;
      const double spread = a.spread[c], invstd = a.variance ? 1.0 / ::sqrt(spread + a.eps) : spread;
      const double of_dz = joined[v * kLanes + i], of_products = joined[(V + v) * kLanes + i];
      constant = of_dz * a.share, slope = of_products * a.share * invstd * invstd;
      if (a.dweight) a.dweight[c] = static_cast<float>(of_products * invstd);
      if (a.dbias) a.dbias[c] = static_cast<float>(of_dz);
    }
}

template <int V, class Lines>
struct BackwardPart {
  const BatchNormBackward& a;
  const Part<V>& part;
  const Lines& lines;

  /// Batch statistics: dx = (dz - constant - (x - mean) * slope) * factor.
  template <Activation kind>
  void through_statistics(const Map<V>& map) const {
    V16 constant[V], slope[V];
    const double* sums = a.sums + part.block * 2 * V * kLanes;
    THAW_FOR (v, V) {
      constant[v] = narrow(wide_load(sums + v * kLanes));
      slope[v] = narrow(wide_load(sums + (V + v) * kLanes));
    }
    each_line([&](int64_t at, V16 (&dy)[V]) THAW_LAMBDA {
      V16 d[V];
      lines.read(a.x + at, d);
      THAW_FOR (v, V) d[v] = sub(d[v], map.mean[v]);
      times_slope<kind>(map, d, dy);
      THAW_FOR (v, V) dy[v] = mul(fnma(d[v], slope[v], sub(dy[v], constant[v])), map.factor[v]);
    });
  }

  /// Frozen statistics: dx = dz * factor.
  template <Activation kind>
  void through_map(const Map<V>& map) const {
    each_line([&](int64_t at, V16 (&dy)[V]) THAW_LAMBDA {
      if constexpr (kind != Activation::none) {
        V16 line[V];
        lines.read((a.x ? a.x : a.y) + at, line);
        if (a.x) {
          THAW_FOR (v, V) line[v] = sub(line[v], map.mean[v]);
          times_slope<kind>(map, line, dy);
        } else {
          THAW_FOR (v, V) dy[v] = mul(dy[v], slope_of<kind>(line[v], map.alpha));
        }
      }
      THAW_FOR (v, V) dy[v] = mul(dy[v], map.factor[v]);
    });
  }

  /// Calls body(offset, dy), which makes dx of dy.
  template <class Body>
  THAW_MEMBER void each_line(const Body& body) const {
    part.each_run([&](int64_t offset, int64_t count, int64_t) THAW_LAMBDA {
      for (int64_t i = 0, at = offset; i < count; ++i, at += a.view.pixel) {
        V16 line[V];
        lines.read(a.dy + at, line);
        body(at, line);
        lines.write(a.dx + at, line, a.stream);
      }
    });
  }

  template <Activation kind>
  void run() const {
    const Map<V> map(a.map, a.view.channels, part.block);
    if (a.sums) through_statistics<kind>(map);
    else through_map<kind>(map);
  }
};

template <int V>
void backward(const BatchNormBackward& a, int64_t task, void*) {
  const Part<V> part(a.view, task);
  part.with_lines([&](const auto lines) {
    with_kind(lines, a.map.activation, BackwardPart<V, decltype(lines)>{a, part, lines});
  });
}

template <int V>
constexpr BatchNormKernels kBatchNorm = {sums<V>, statistics<V>, apply<V>, backward_sums<V>, join<V>, backward<V>};

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
