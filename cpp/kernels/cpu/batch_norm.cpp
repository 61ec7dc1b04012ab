// Batch normalisation; formulas and shapes in kernels/batch_norm.h. A line is sixteen channels of one pixel.
#include "kernels/batch_norm.h"

#include <math.h>

#include "kernels/cpu/micro/wide.h"

namespace thaw {
namespace THAW_ISA {
namespace {

int64_t blocks_of(const ChannelView& v) { return (v.channels + 15) / 16; }

/// Channels of a block that exist.
int64_t lanes_of(int64_t channels, int64_t block) {
  return channels - block * 16 < 16 ? channels - block * 16 : 16;
}

/// One task's part of a batch: a channel block and a range of pixels, walked picture by picture.
struct Part {
  const ChannelView& view;
  int64_t block, lanes, first, last;
  bool whole;  // lines are sixteen neighbouring floats

  Part(const ChannelView& v, int64_t task)
      : view(v), block(task % blocks_of(v)), lanes(lanes_of(v.channels, block)),
        first(task / blocks_of(v) * kBatchNormChunk), last(first + kBatchNormChunk),
        whole(v.padded || (v.lane == 1 && lanes == 16)) {
    const int64_t all = v.pictures * v.pixels;
    if (last > all) last = all;
  }

  V16 read(const float* x, int64_t offset) const {
    if (whole) return loadu(x + offset);
    float line[16] = {};
    for (int64_t i = 0; i < lanes; ++i) line[i] = x[offset + i * view.lane];
    return loadu(line);
  }
  void write(float* y, int64_t offset, V16 value) const {
    if (whole) return storeu(y + offset, value);
    float line[16];
    storeu(line, value);
    for (int64_t i = 0; i < lanes; ++i) y[offset + i * view.lane] = line[i];
  }
};

/// Calls body(offset) for each pixel of the part; the inner loop is a plain strided one.
template <class Body>
THAW_INLINE void each_pixel(const Part& part, const Body& body) {
  const ChannelView& v = part.view;
  int64_t pixel = part.first;
  while (pixel < part.last) {
    const int64_t start = pixel % v.pixels, rest = part.last - pixel;
    const int64_t end = rest < v.pixels - start ? start + rest : v.pixels;
    const int64_t base = pixel / v.pixels * v.picture + part.block * v.block;
    for (int64_t p = start; p < end; ++p) body(base + p * v.pixel);
    pixel += end - start;
  }
}

/// Sixteen channels of a per-channel tensor; `otherwise` beyond C or where there is no tensor.
V16 lanes16(const float* p, int64_t block, int64_t lanes, float otherwise) {
  float line[16];
  for (int i = 0; i < 16; ++i) line[i] = p && i < lanes ? p[block * 16 + i] : otherwise;
  return loadu(line);
}

/// invstd of sixteen channels, 0 beyond C: lanes of the padding stay finite whatever lies in them.
V16 invstd16(const float* spread, bool variance, float eps, int64_t block, int64_t lanes) {
  float line[16] = {};
  for (int64_t i = 0; i < lanes; ++i) {
    const float s = spread[block * 16 + i];
    line[i] = variance ? static_cast<float>(1.0 / ::sqrt(static_cast<double>(s) + eps)) : s;
  }
  return loadu(line);
}

double* partial_of(double* partial, int64_t task) { return partial + task * 32; }

// ---- forward ----------------------------------------------------------------------------------------------------

/// Sums of x - shift and of its square. The shift is the channel's first value: a constant channel gives exact zeros.
void sums(const BatchNormSums& a, int64_t task, void*) {
  const Part part(a.view, task);
  const W16 shift = widen(part.read(a.x, part.block * a.view.block));
  W16 sum = wide_zero(), squares = wide_zero();
  each_pixel(part, [&](int64_t offset) {
    const W16 d = wide_sub(widen(part.read(a.x, offset)), shift);
    sum = wide_add(sum, d);
    squares = wide_fma(d, d, squares);
  });
  wide_store(partial_of(a.partial, task), sum);
  wide_store(partial_of(a.partial, task) + 16, squares);
}

struct PairOfSums {
  double lane[32];
};

PairOfSums join_chunks(const double* partial, int64_t block, int64_t blocks, int64_t chunks) {
  W16 first = wide_zero(), second = wide_zero();
  for (int64_t c = 0; c < chunks; ++c) {
    const double* p = partial + (c * blocks + block) * 32;
    first = wide_add(first, wide_load(p));
    second = wide_add(second, wide_load(p + 16));
  }
  PairOfSums joined;
  wide_store(joined.lane, first);
  wide_store(joined.lane + 16, second);
  return joined;
}

void statistics(const BatchNormStatistics& a, int64_t block, void*) {
  const PairOfSums joined = join_chunks(a.partial, block, (a.channels + 15) / 16, a.chunks);
  const double n = static_cast<double>(a.count), momentum = a.momentum;
  for (int64_t i = 0; i < lanes_of(a.channels, block); ++i) {
    const int64_t c = block * 16 + i;
    const double offset = joined.lane[i] / n;
    const double mean = offset + a.x[block * a.view.block + i * a.view.lane];
    double deviations = joined.lane[16 + i] - joined.lane[i] * offset;
    if (deviations < 0) deviations = 0;
    a.mean[c] = static_cast<float>(mean);
    a.invstd[c] = static_cast<float>(1.0 / ::sqrt(deviations / n + a.eps));
    a.next_mean[c] = static_cast<float>((1 - momentum) * a.running_mean[c] + momentum * mean);
    a.next_var[c] = static_cast<float>((1 - momentum) * a.running_var[c] + momentum * (deviations / (n - 1)));
  }
}

void apply(const BatchNormApply& a, int64_t task, void*) {
  const Part part(a.view, task);
  const V16 mean = lanes16(a.mean, part.block, part.lanes, 0);
  const V16 invstd = invstd16(a.spread, a.variance, a.eps, part.block, part.lanes);
  const V16 factor = mul(invstd, lanes16(a.weight, part.block, part.lanes, 1));
  const V16 bias = lanes16(a.bias, part.block, part.lanes, 0);
  each_pixel(part, [&](int64_t offset) {
    part.write(a.y, offset, fma(sub(part.read(a.x, offset), mean), factor, bias));
  });
}

// ---- backward ---------------------------------------------------------------------------------------------------

void backward_sums(const BatchNormSums& a, int64_t task, void*) {
  const Part part(a.view, task);
  const W16 mean = widen(lanes16(a.mean, part.block, part.lanes, 0));
  W16 sum = wide_zero(), products = wide_zero();
  each_pixel(part, [&](int64_t offset) {
    const W16 dy = widen(part.read(a.dy, offset));
    sum = wide_add(sum, dy);
    products = wide_fma(dy, wide_sub(widen(part.read(a.x, offset)), mean), products);
  });
  wide_store(partial_of(a.partial, task), sum);
  wide_store(partial_of(a.partial, task) + 16, products);
}

void join(const BatchNormJoin& a, int64_t block, void*) {
  const PairOfSums joined = join_chunks(a.partial, block, (a.channels + 15) / 16, a.chunks);
  const int64_t lanes = lanes_of(a.channels, block);
  float invstd[16];
  storeu(invstd, invstd16(a.spread, a.variance, a.eps, block, lanes));
  for (int i = 0; i < 32; ++i) a.sums[block * 32 + i] = joined.lane[i];
  for (int64_t i = 0; i < lanes; ++i) {
    if (a.dbias) a.dbias[block * 16 + i] = static_cast<float>(joined.lane[i]);
    if (a.dweight) a.dweight[block * 16 + i] = static_cast<float>(joined.lane[16 + i] * invstd[i]);
  }
}

/// Factors of dx = (dy - constant - (x - mean) * slope) * factor.
struct BackwardFactors {
  V16 mean, factor, constant, slope;
};

BackwardFactors backward_factors(const BatchNormBackward& a, const Part& part) {
  const V16 invstd = invstd16(a.spread, a.variance, a.eps, part.block, part.lanes);
  BackwardFactors f;
  f.factor = mul(invstd, lanes16(a.weight, part.block, part.lanes, 1));
  f.mean = f.constant = f.slope = zero();
  if (!a.sums) return f;
  const double* sums = a.sums + part.block * 32;
  const W16 share = wide_broadcast(1.0 / static_cast<double>(a.view.pictures * a.view.pixels));
  const W16 wide = widen(invstd);
  f.mean = lanes16(a.mean, part.block, part.lanes, 0);
  f.constant = narrow(wide_mul(wide_load(sums), share));
  f.slope = narrow(wide_mul(wide_mul(wide_load(sums + 16), share), wide_mul(wide, wide)));
  return f;
}

void backward(const BatchNormBackward& a, int64_t task, void*) {
  const Part part(a.view, task);
  const BackwardFactors f = backward_factors(a, part);
  if (!a.sums) {
    each_pixel(part, [&](int64_t offset) { part.write(a.dx, offset, mul(part.read(a.dy, offset), f.factor)); });
    return;
  }
  each_pixel(part, [&](int64_t offset) {
    const V16 centred = sub(part.read(a.x, offset), f.mean);
    const V16 inner = fnma(centred, f.slope, sub(part.read(a.dy, offset), f.constant));
    part.write(a.dx, offset, mul(inner, f.factor));
  });
}

}  // namespace

extern const BatchNormKernels batch_norm = {sums, statistics, apply, backward_sums, join, backward};

}  // namespace THAW_ISA
}  // namespace thaw
