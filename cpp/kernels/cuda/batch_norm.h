#pragma once
// Batch normalisation on lines of either type (channels.h); formulas and shapes in kernels/batch_norm.h.
#include "kernels/cuda/channels.h"
#include "kernels/cuda/function.h"

namespace thaw {
namespace cuda {
namespace {

/// A thread's channels of a BatchNormMap: z = (x - mean) * factor + bias. Beyond C all three are 0, so that lanes of the
/// padding stay finite whatever lies in them.
template <class Lines>
struct Map {
  static constexpr int kEach = Lines::kEach;
  float mean[kEach], factor[kEach], bias[kEach];

  __device__ Map(const BatchNormMap& m, const Walk<Lines>& walk) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int64_t c = walk.block * kChannels<Lines> + walk.channel(j);
      const bool there = walk.channel(j) < walk.left;
      mean[j] = there ? m.mean[c] : 0.0f;
      factor[j] = there ? invstd(m, c) * (m.weight ? m.weight[c] : 1.0f) : 0.0f;
      bias[j] = there && m.bias ? m.bias[c] : 0.0f;
    }
  }
  static __device__ __forceinline__ float invstd(const BatchNormMap& m, int64_t c) {
    if (!m.variance) return m.spread[c];
    return static_cast<float>(1.0 / sqrt(static_cast<double>(m.spread[c]) + static_cast<double>(m.eps)));
  }
};

template <int kEach>
__device__ __forceinline__ void activate_all(Activation kind, float alpha, float (&v)[kEach]) {
  if (kind == Activation::none) return;
#pragma unroll
  for (int j = 0; j < kEach; ++j) v[j] = kind == Activation::relu ? (v[j] < 0 ? 0.0f : v[j]) : activate(kind, v[j], alpha);
}

/// f'(z); derivative() takes f(z) for the kinds whose derivative follows from it.
__device__ __forceinline__ float slope_before(Activation kind, float z, float alpha) {
  if (kind == Activation::relu) return z > 0 ? 1.0f : 0.0f;
  const bool of_output = kind == Activation::sigmoid || kind == Activation::tanh || kind == Activation::hard_sigmoid;
  return derivative(kind, of_output ? activate(kind, z, alpha) : z, alpha);
}

/// dz of a line, given d = x - mean.
template <class Lines>
__device__ __forceinline__ void times_slope(const BatchNormMap& m, const Map<Lines>& map, const float (&d)[Lines::kEach],
                                            float (&dy)[Lines::kEach]) {
  if (m.activation == Activation::none) return;
#pragma unroll
  for (int j = 0; j < Lines::kEach; ++j)
    dy[j] *= slope_before(m.activation, fmaf(d[j], map.factor[j], map.bias[j]), m.alpha);
}

// ---- sums and what follows from them ----------------------------------------------------------------------------

/// x - shift twice. The shift is the chunk's first value: a constant channel gives exact zeros.
template <class Lines>
struct ForwardTerms {
  const float* x;
  float shift[Lines::kEach];
  __device__ __forceinline__ void operator()(const Walk<Lines>& walk, int64_t at, float (&a)[Lines::kEach],
                                             float (&b)[Lines::kEach]) const {
    walk.read(x, at, a);
#pragma unroll
    for (int j = 0; j < Lines::kEach; ++j) a[j] = b[j] = a[j] - shift[j];
  }
};

template <class Lines>
__global__ void __launch_bounds__(kLineThreads) sums_kernel(BatchNormSums a) {
  constexpr int kLine = kChannels<Lines>;
  const Walk<Lines> walk(a.view, kBatchNormChunk);
  ForwardTerms<Lines> terms;
  terms.x = a.x;
  walk.read(a.x, walk.at(0), terms.shift);
  double* sums = a.partial + static_cast<int64_t>(blockIdx.x) * 2 * kLine;
  sum_products(walk, terms, sums);
  __syncthreads();
  // The chunk's mean and deviations, in their place.
  const int channel = static_cast<int>(threadIdx.x);
  if (channel >= kLine) return;
  const float* first = a.x + walk.at(0);
  float shift = 0;
  if (Lines::kVectors == 2) shift = f32_of(reinterpret_cast<const uint16_t*>(first)[channel]);
  else if (a.view.padded || channel < walk.left) shift = first[channel * a.view.lane];
  double &mean = sums[place_of<Lines>(channel)], &deviations = sums[kLine + place_of<Lines>(channel)];
  const double share = 1.0 / walk.count, left = deviations - mean * mean * share;
  deviations = left < 0 ? 0 : left;
  mean = mean * share + static_cast<double>(shift);
}

template <class Lines>
struct BackwardTerms {
  const BatchNormBackwardSums& a;
  const Map<Lines>& map;
  __device__ __forceinline__ void operator()(const Walk<Lines>& walk, int64_t at, float (&dy)[Lines::kEach],
                                             float (&d)[Lines::kEach]) const {
    walk.read(a.dy, at, dy);
    walk.read(a.x, at, d);
#pragma unroll
    for (int j = 0; j < Lines::kEach; ++j) d[j] -= map.mean[j];
    times_slope(a.map, map, d, dy);
  }
};

template <class Lines>
__global__ void __launch_bounds__(kLineThreads) backward_sums_kernel(BatchNormBackwardSums a) {
  const Walk<Lines> walk(a.view, kBatchNormChunk);
  const Map<Lines> map(a.map, walk);
  sum_products(walk, BackwardTerms<Lines>{a, map}, a.partial + static_cast<int64_t>(blockIdx.x) * 2 * kChannels<Lines>);
}

/// Values of which only some are at hand yet.
struct Moments {
  double count, mean, deviations;

  __device__ __forceinline__ void join(const Moments& more) {
    if (more.count == 0) return;
    const double all = count + more.count, share = more.count / all, rest = count > 0 ? more.mean - mean : 0;
    mean = count > 0 ? mean + rest * share : more.mean;
    deviations = (count > 0 ? deviations : 0) + more.deviations + rest * rest * count * share;
    count = all;
  }
};

/// One block for each channel block: thread (slice, place) joins each kJoinSlices-th chunk, the first slice all slices.
template <class Lines>
__global__ void statistics_kernel(BatchNormStatistics a) {
  constexpr int kLine = kChannels<Lines>;
  const int place = static_cast<int>(threadIdx.x) % kLine, slice = static_cast<int>(threadIdx.x) / kLine;
  const int64_t pixels = a.view.pictures * a.view.pixels;
  Moments all = {0, 0, 0};
  for (int64_t c = slice; c * kBatchNormChunk < pixels; c += kJoinSlices) {
    const double* chunk = a.partial + (c * gridDim.x + blockIdx.x) * 2 * kLine + place;
    const int64_t left = pixels - c * kBatchNormChunk;
    all.join({static_cast<double>(left < kBatchNormChunk ? left : kBatchNormChunk), chunk[0], chunk[kLine]});
  }
  Moments* memory = shared_memory<Moments>();
  memory[threadIdx.x] = all;
  __syncthreads();
  if (blockIdx.x == 0 && threadIdx.x == 0 && a.next_tracked) *a.next_tracked = *a.tracked + 1;
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kLine + place % 16 * Lines::kVectors + place / 16;
  if (slice > 0 || c >= a.view.channels) return;
  for (int s = 1; s < kJoinSlices; ++s) all.join(memory[s * kLine + place]);
  const double n = all.count, momentum = static_cast<double>(a.momentum);
  a.mean[c] = static_cast<float>(all.mean);
  a.invstd[c] = static_cast<float>(1.0 / sqrt(all.deviations / n + static_cast<double>(a.eps)));
  a.next_mean[c] = static_cast<float>((1 - momentum) * static_cast<double>(a.running_mean[c]) + momentum * all.mean);
  a.next_var[c] =
      static_cast<float>((1 - momentum) * static_cast<double>(a.running_var[c]) + momentum * (all.deviations / (n - 1)));
}

template <class Lines>
__global__ void join_kernel(BatchNormJoin a) {
  constexpr int kLine = kChannels<Lines>;
  const double sum = join_chunks<Lines>(a.partial, gridDim.x, a.chunks);
  const int t = static_cast<int>(threadIdx.x);
  if (t >= 2 * kLine) return;
  const int place = t % kLine, channel = place % 16 * Lines::kVectors + place / 16;
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kLine + channel;
  double& left = a.sums[static_cast<int64_t>(blockIdx.x) * 2 * kLine + t];
  left = 0;
  if (c >= a.channels) return;
  if (t < kLine) {
    left = sum * a.share;
    if (a.dbias) a.dbias[c] = static_cast<float>(sum);
  } else {
    const double spread = static_cast<double>(a.spread[c]);
    const double invstd = a.variance ? 1.0 / sqrt(spread + static_cast<double>(a.eps)) : spread;
    left = sum * a.share * invstd * invstd;
    if (a.dweight) a.dweight[c] = static_cast<float>(sum * invstd);
  }
}

// ---- line by line -----------------------------------------------------------------------------------------------

template <class Lines>
__global__ void __launch_bounds__(kLineThreads) apply_kernel(BatchNormApply a, int strip) {
  const Walk<Lines> walk(a.view, strip);
  const Map<Lines> map(a.map, walk);
  for (int i = walk.first(); i < walk.count; i += kLinesAtOnce) {
    const int64_t at = walk.at(i);
    float line[Lines::kEach];
    walk.read(a.x, at, line);
#pragma unroll
    for (int j = 0; j < Lines::kEach; ++j) line[j] = fmaf(line[j] - map.mean[j], map.factor[j], map.bias[j]);
    if (a.residual) {
      float other[Lines::kEach];
      walk.read(a.residual, at, other);
#pragma unroll
      for (int j = 0; j < Lines::kEach; ++j) line[j] += other[j];
    }
    activate_all(a.map.activation, a.map.alpha, line);
    walk.write(a.y, at, line);
  }
}

/// Batch statistics: dx = (dz - constant - (x - mean) * slope) * factor.
template <class Lines>
__global__ void __launch_bounds__(kLineThreads) backward_statistics_kernel(BatchNormBackward a, int strip) {
  constexpr int kEach = Lines::kEach;
  const Walk<Lines> walk(a.view, strip);
  const Map<Lines> map(a.map, walk);
  float constant[kEach], slope[kEach];
  const double* sums = a.sums + walk.block * 2 * kChannels<Lines>;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const int place = place_of<Lines>(walk.channel(j));
    constant[j] = static_cast<float>(sums[place]);
    slope[j] = static_cast<float>(sums[kChannels<Lines> + place]);
  }
  for (int i = walk.first(); i < walk.count; i += kLinesAtOnce) {
    const int64_t at = walk.at(i);
    float dy[kEach], d[kEach];
    walk.read(a.dy, at, dy);
    walk.read(a.x, at, d);
#pragma unroll
    for (int j = 0; j < kEach; ++j) d[j] -= map.mean[j];
    times_slope(a.map, map, d, dy);
#pragma unroll
    for (int j = 0; j < kEach; ++j) dy[j] = fmaf(-d[j], slope[j], dy[j] - constant[j]) * map.factor[j];
    walk.write(a.dx, at, dy);
  }
}

/// Frozen statistics: dx = dz * factor.
template <class Lines>
__global__ void __launch_bounds__(kLineThreads) backward_map_kernel(BatchNormBackward a, int strip) {
  constexpr int kEach = Lines::kEach;
  const Walk<Lines> walk(a.view, strip);
  const Map<Lines> map(a.map, walk);
  const Activation kind = a.map.activation;
  for (int i = walk.first(); i < walk.count; i += kLinesAtOnce) {
    const int64_t at = walk.at(i);
    float dy[kEach], of[kEach];
    walk.read(a.dy, at, dy);
    if (kind != Activation::none) {
      walk.read(a.x ? a.x : a.y, at, of);
      if (a.x) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) of[j] -= map.mean[j];
        times_slope(a.map, map, of, dy);
      } else {
#pragma unroll
        for (int j = 0; j < kEach; ++j) dy[j] *= derivative(kind, of[j], a.map.alpha);
      }
    }
#pragma unroll
    for (int j = 0; j < kEach; ++j) dy[j] *= map.factor[j];
    walk.write(a.dx, at, dy);
  }
}

// ---- launches ---------------------------------------------------------------------------------------------------

template <class Lines>
dim3 strips(const ChannelView& view, int64_t strip) {
  return blocks(divide_up(view.pictures * view.pixels, strip) * blocks_of<Lines>(view.channels), 1);
}

/// Lines of a strip where each is made by itself: short enough to keep every multiprocessor busy.
template <class Lines>
int strip_of(const ChannelView& view) {
  int strip = 2048;
  while (strip > kLinesAtOnce && strips<Lines>(view, strip).x < 1024) strip /= 2;
  return strip;
}

template <class Lines>
void sums(const BatchNormSums& a, int64_t, void*) {
  launch(sums_kernel<Lines>, strips<Lines>(a.view, kBatchNormChunk), kLineThreads, sums_memory(Lines::kEach), a);
}
template <class Lines>
void statistics(const BatchNormStatistics& a, int64_t, void*) {
  constexpr int kThreads = kJoinSlices * kChannels<Lines>;
  launch(statistics_kernel<Lines>, blocks(blocks_of<Lines>(a.view.channels), 1), kThreads, kThreads * sizeof(Moments), a);
}
template <class Lines>
void apply(const BatchNormApply& a, int64_t, void*) {
  const int strip = strip_of<Lines>(a.view);
  launch(apply_kernel<Lines>, strips<Lines>(a.view, strip), kLineThreads, 0, a, strip);
}
template <class Lines>
void backward_sums(const BatchNormBackwardSums& a, int64_t, void*) {
  launch(backward_sums_kernel<Lines>, strips<Lines>(a.view, kBatchNormChunk), kLineThreads, sums_memory(Lines::kEach), a);
}
template <class Lines>
void join(const BatchNormJoin& a, int64_t, void*) {
  constexpr int kThreads = kJoinSlices * 2 * kChannels<Lines>;
  launch(join_kernel<Lines>, blocks(blocks_of<Lines>(a.channels), 1), kThreads, kThreads * sizeof(double), a);
}
template <class Lines>
void backward(const BatchNormBackward& a, int64_t, void*) {
  const int strip = strip_of<Lines>(a.view);
  const auto kernel = a.sums ? backward_statistics_kernel<Lines> : backward_map_kernel<Lines>;
  launch(kernel, strips<Lines>(a.view, strip), kLineThreads, 0, a, strip);
}

}  // namespace
}  // namespace cuda
}  // namespace thaw
