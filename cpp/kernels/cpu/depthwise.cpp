// Depthwise convolution on blocked pictures: every lane is its own channel.
//   y[pixel] = activation(bias + sum over taps of x[at tap] * w[tap] + residual)
// Forward and backward-data alike (see kernels/conv2d.h); one task is one block of one picture.
#include "kernels/conv2d.h"

#include "kernels/cpu/micro/activate.h"

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int kPixels = 8;

THAW_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
THAW_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

struct Pixels {
  const float* x;  // position of the first pixel with offsets zero
  const float* weights;
  float* y;
  const float* residual;
  V16 bias;
  int64_t first_y, end_y, first_x, end_x;  // taps that lie inside the picture
};

template <int M>
THAW_INLINE void compute(const Depthwise& a, const Pixels& p) {
  V16 sum[M];
  THAW_FOR (i, M) sum[i] = p.bias;
  const int64_t step = a.stride_x * kLanes;
  for (int64_t ty = p.first_y; ty < p.end_y; ++ty) {
    const float* row = p.x + a.offset_y[ty] * a.in_width * kLanes;
    const float* w = p.weights + ty * a.taps_x * kLanes;
    for (int64_t tx = p.first_x; tx < p.end_x; ++tx) {
      const float* at = row + a.offset_x[tx] * kLanes;
      const V16 weight = load(w + tx * kLanes);
      THAW_FOR (i, M) sum[i] = fma(load(at + i * step), weight, sum[i]);
    }
  }
  const int64_t out = a.out_step_x * kLanes;
  if (p.residual)
    THAW_FOR (i, M) sum[i] = add(sum[i], load(p.residual + i * out));
  if (a.activation == Activation::relu)
    THAW_FOR (i, M) sum[i] = maximum(zero(), sum[i]);
  if (a.activation == Activation::relu6)
    THAW_FOR (i, M) sum[i] = clip(sum[i], 0.0f, 6.0f);
  THAW_FOR (i, M) store(p.y + i * out, sum[i]);
}

template <int M>
THAW_NOINLINE void compute_tile(const Depthwise& a, const Pixels& p) {
  compute<M>(a, p);
}

using TileFunction = void (*)(const Depthwise&, const Pixels&);
static const TileFunction tiles[kPixels] = {compute_tile<1>, compute_tile<2>, compute_tile<3>, compute_tile<4>,
                                            compute_tile<5>, compute_tile<6>, compute_tile<7>, compute_tile<8>};

struct ActivateRow {
  float* y;
  int64_t count, step;
  float alpha;
  template <Activation kind>
  void run() const {
    for (int64_t i = 0; i < count; ++i) store(y + i * step, activate_as<kind>(load(y + i * step), broadcast(alpha)));
  }
};

// The taps whose input position base + offset lies in [0, size).
THAW_INLINE void taps_inside(const int64_t* offset, int64_t taps, int64_t base, int64_t size, int64_t& first,
                             int64_t& end) {
  first = 0;
  end = taps;
  while (first < end && base + offset[first] < 0) ++first;
  while (end > first && base + offset[end - 1] >= size) --end;
}

void compute_row(const Depthwise& a, Pixels p, int64_t row) {
  const int64_t step = a.stride_x * kLanes, out = a.out_step_x * kLanes;
  taps_inside(a.offset_y, a.taps_y, row * a.stride_y, a.in_height, p.first_y, p.end_y);
  // Points of the middle have all their taps inside.
  const int64_t low = a.taps_x ? a.offset_x[0] : 0, high = a.taps_x ? a.offset_x[a.taps_x - 1] : 0;
  const int64_t begin = low < 0 ? smaller((-low + a.stride_x - 1) / a.stride_x, a.cols) : 0;
  const int64_t last = a.in_width - 1 - high;
  const int64_t end = last < 0 ? begin : larger(begin, smaller(a.cols, last / a.stride_x + 1));
  for (int64_t c = 0; c < a.cols;) {
    const int64_t done = c >= begin && c < end ? smaller(kPixels, end - c) : 1;
    taps_inside(a.offset_x, a.taps_x, c * a.stride_x, a.in_width, p.first_x, p.end_x);
    tiles[done - 1](a, p);
    c += done;
    p.x += done * step;
    p.y += done * out;
    if (p.residual) p.residual += done * out;
  }
}

void direct(const Depthwise& a, int64_t task, void*) {
  const int64_t block = task % a.blocks, channel = block * kLanes;
  const int64_t in_plane = a.in_height * a.in_width * kLanes, out_plane = a.out_height * a.out_width * kLanes;
  Pixels p;
  p.weights = a.weights + block * a.taps_y * a.taps_x * kLanes;
  p.bias = a.bias ? load_n(a.bias + channel, smaller(kLanes, a.channels - channel)) : zero();
  for (int64_t row = 0; row < a.rows; ++row) {
    const int64_t out =
        task * out_plane + ((a.out_start_y + row * a.out_step_y) * a.out_width + a.out_start_x) * kLanes;
    p.x = a.x + task * in_plane + row * a.stride_y * a.in_width * kLanes;
    p.y = a.y + out;
    p.residual = a.residual ? a.residual + out : nullptr;
    compute_row(a, p, row);
    if (a.activation != Activation::none && a.activation != Activation::relu && a.activation != Activation::relu6)
      with_activation(a.activation, ActivateRow{p.y, a.cols, a.out_step_x * kLanes, a.alpha});
  }
}

void pack(const DepthwisePack& a, int64_t task, void*) {
  float* to = a.packed + task * a.taps * kLanes;
  for (int64_t t = 0; t < a.taps; ++t)
    for (int64_t i = 0; i < kLanes; ++i) {
      const int64_t channel = task * kLanes + i;
      to[t * kLanes + i] = channel < a.channels ? a.weight[channel * a.kernel_taps + a.tap[t]] : 0.0f;
    }
}

struct Points {
  int64_t begin, end;
};

THAW_INLINE Points points_inside(int64_t count, int64_t stride, int64_t offset, int64_t size) {
  const int64_t first = offset < 0 ? (-offset + stride - 1) / stride : 0;
  const int64_t beyond = offset < size ? (size - offset + stride - 1) / stride : 0;
  return {first, smaller(count, beyond)};
}

// Sum of x * dy over one plane at one tap: four chains by column, joined at the end of each row.
V16 plane_sum(const DepthwiseWeights& a, const float* x, const float* dy, int64_t offset_y, int64_t offset_x) {
  const Points rows = points_inside(a.out_height, a.stride_y, offset_y, a.in_height);
  const Points cols = points_inside(a.out_width, a.stride_x, offset_x, a.in_width);
  const int64_t step = a.stride_x * kLanes;
  V16 total = zero();
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const float* d = dy + (r * a.out_width + cols.begin) * kLanes;
    const float* p = x + ((r * a.stride_y + offset_y) * a.in_width + cols.begin * a.stride_x + offset_x) * kLanes;
    V16 sum[4] = {zero(), zero(), zero(), zero()};
    int64_t c = cols.begin;
    for (; c + 4 <= cols.end; c += 4, d += 4 * kLanes, p += 4 * step)
      THAW_FOR (i, 4) sum[i] = fma(load(p + i * step), load(d + i * kLanes), sum[i]);
    for (; c < cols.end; ++c, d += kLanes, p += step) sum[0] = fma(load(p), load(d), sum[0]);
    total = add(total, add(add(sum[0], sum[1]), add(sum[2], sum[3])));
  }
  return total;
}

void weights(const DepthwiseWeights& a, int64_t task, void*) {
  const int64_t block = task % a.blocks, chunk = task / a.blocks, taps = a.kernel_height * a.kernel_width;
  float* to = a.partial + task * taps * kLanes;
  for (int64_t t = 0; t < taps; ++t) store(to + t * kLanes, zero());
  for (int64_t n = a.pictures * chunk / a.chunks; n < a.pictures * (chunk + 1) / a.chunks; ++n) {
    const float* x = a.x + (n * a.blocks + block) * a.in_height * a.in_width * kLanes;
    const float* dy = a.dy + (n * a.blocks + block) * a.out_height * a.out_width * kLanes;
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t y = t / a.kernel_width * a.dilation_y - a.pad_top,
                    z = t % a.kernel_width * a.dilation_x - a.pad_left;
      store(to + t * kLanes, add(load(to + t * kLanes), plane_sum(a, x, dy, y, z)));
    }
  }
}

void join(const DepthwiseWeights& a, int64_t task, void*) {
  const int64_t taps = a.kernel_height * a.kernel_width;
  for (int64_t i = 0; i < smaller(kLanes, a.channels - task * kLanes); ++i)
    for (int64_t t = 0; t < taps; ++t) {
      const float* sums = a.partial + (task * taps + t) * kLanes + i;
      float total = sums[0];
      for (int64_t k = 1; k < a.chunks; ++k) total += sums[k * a.blocks * taps * kLanes];
      a.dweight[(task * kLanes + i) * taps + t] = total;
    }
}

}  // namespace

extern const DepthwiseKernels depthwise = {direct, pack, weights, join};

}  // namespace THAW_ISA
}  // namespace thaw
