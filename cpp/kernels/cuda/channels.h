#pragma once
// Walking a batch channel by channel (kernels/batch_norm.h). A line is one pixel of one block of channels; four threads
// share it, each a quarter: 4 channels in f32, 8 in bf16. Threads of a block take line after line of one channel block.
#include "kernels/batch_norm.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kQuarters = 4;
constexpr int kLineThreads = 256;
constexpr int kLinesAtOnce = kLineThreads / kQuarters;
constexpr int kRun = 8;  // lines a thread sums in f32 before the sum goes to double

/// Sixteen channels of f32.
struct WholeLines {
  static constexpr int kVectors = 1, kEach = 4;
  static __device__ __forceinline__ void read(const ChannelView&, const float* line, int quarter, int, float (&v)[kEach]) {
    const float4 four = *reinterpret_cast<const float4*>(line + quarter * 4);
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
  }
  static __device__ __forceinline__ void write(const ChannelView&, float* line, int quarter, int, const float (&v)[kEach]) {
    *reinterpret_cast<float4*>(line + quarter * 4) = make_float4(v[0], v[1], v[2], v[3]);
  }
};

/// Thirty-two channels of bf16.
struct Bf16Lines {
  static constexpr int kVectors = 2, kEach = 8;
  static __device__ __forceinline__ void read(const ChannelView&, const float* line, int quarter, int, float (&v)[kEach]) {
    const uint4 pairs = *reinterpret_cast<const uint4*>(line + quarter * 4);
    const uint32_t words[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      v[2 * i] = __uint_as_float(words[i] << 16);
      v[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
  }
  static __device__ __forceinline__ void write(const ChannelView&, float* line, int quarter, int, const float (&v)[kEach]) {
    *reinterpret_cast<uint4*>(line + quarter * 4) = make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]),
                                                               bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
  }
};

/// Channels that lie apart, or fewer than sixteen: `left` of them from this block's first on.
struct ScatteredLines {
  static constexpr int kVectors = 1, kEach = 4;
  static __device__ __forceinline__ void read(const ChannelView& view, const float* line, int quarter, int left,
                                              float (&v)[kEach]) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int c = quarter * kEach + i;
      v[i] = c < left ? line[c * view.lane] : 0.0f;
    }
  }
  static __device__ __forceinline__ void write(const ChannelView& view, float* line, int quarter, int left,
                                               const float (&v)[kEach]) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int c = quarter * kEach + i;
      if (c < left) line[c * view.lane] = v[i];
    }
  }
};

template <class Lines>
constexpr int kChannels = 16 * Lines::kVectors;

template <class Lines>
int64_t blocks_of(int64_t channels) {
  return divide_up(channels, kChannels<Lines>);
}

/// A thread's share of a strip of `strip` lines of one channel block; strips of one block are `blocks` apart in the grid.
template <class Lines>
struct Walk {
  const ChannelView& view;
  int64_t block, base;  // base: offset of the block in the first picture
  int quarter, count;   // count: lines of this strip
  unsigned start;       // the first line's place in its picture
  int left;             // channels from the block's first to the last of all

  __device__ Walk(const ChannelView& v, int strip) : view(v) {
    const int64_t blocks = (v.channels + kChannels<Lines> - 1) / kChannels<Lines>;
    block = blockIdx.x % blocks;
    const int64_t first = blockIdx.x / blocks * strip, all = v.pictures * v.pixels;
    const int64_t rest = all - first;
    count = static_cast<int>(rest < strip ? rest : strip);
    start = static_cast<unsigned>(first % v.pixels);
    base = first / v.pixels * v.picture + block * v.block;
    quarter = static_cast<int>(threadIdx.x) % kQuarters;
    const int64_t remaining = v.channels - block * kChannels<Lines>;
    left = static_cast<int>(remaining < kChannels<Lines> ? remaining : kChannels<Lines>);
  }

  __device__ __forceinline__ int first() const { return static_cast<int>(threadIdx.x) / kQuarters; }
  /// The offset of line i of the strip.
  __device__ __forceinline__ int64_t at(int i) const {
    const unsigned place = start + static_cast<unsigned>(i), pixels = static_cast<unsigned>(view.pixels);
    const unsigned picture = place / pixels;
    return base + picture * view.picture + (place - picture * pixels) * view.pixel;
  }
  __device__ __forceinline__ void read(const float* p, int64_t offset, float (&v)[Lines::kEach]) const {
    Lines::read(view, p + offset, quarter, left, v);
  }
  __device__ __forceinline__ void write(float* p, int64_t offset, const float (&v)[Lines::kEach]) const {
    Lines::write(view, p + offset, quarter, left, v);
  }
  /// This thread's channel j, counted from the block's first.
  __device__ __forceinline__ int channel(int j) const { return quarter * Lines::kEach + j; }
};

/// Where a channel of a block stands in its sums: in bf16 the even channels come first (kernels/cpu/micro/line.h).
template <class Lines>
__device__ __forceinline__ int place_of(int channel) {
  return channel % Lines::kVectors * 16 + channel / Lines::kVectors;
}

constexpr size_t sums_memory(int each) { return static_cast<size_t>(kLineThreads / 32 * kQuarters * 2 * each) * sizeof(double); }

/// Sums of a and of a * b over a block's strip, where terms(walk, offset, a, b) gives both for one line, into
/// to[2][channels of a line]. Shared memory: sums_memory(Lines::kEach).
template <class Lines, class Terms>
__device__ void sum_products(const Walk<Lines>& walk, const Terms& terms, double* to) {
  constexpr int kEach = Lines::kEach;
  double total[2][kEach];
#pragma unroll
  for (int j = 0; j < kEach; ++j) total[0][j] = total[1][j] = 0;
  for (int i = walk.first(); i < walk.count;) {
    float sum[kEach], products[kEach];
#pragma unroll
    for (int j = 0; j < kEach; ++j) sum[j] = products[j] = 0;
#pragma unroll 2
    for (int run = 0; run < kRun && i < walk.count; ++run, i += kLinesAtOnce) {
      float a[kEach], b[kEach];
      terms(walk, walk.at(i), a, b);
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        sum[j] += a[j];
        products[j] = fmaf(a[j], b[j], products[j]);
      }
    }
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      total[0][j] += static_cast<double>(sum[j]);
      total[1][j] += static_cast<double>(products[j]);
    }
  }
  double* memory = shared_memory<double>();  // [warp][quarter][2][each]
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int which = 0; which < 2; ++which)
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      double x = total[which][j];
      for (int distance = kQuarters; distance < 32; distance *= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
      if (lane < kQuarters) memory[((warp * kQuarters + lane) * 2 + which) * kEach + j] = x;
    }
  __syncthreads();
  const int e = static_cast<int>(threadIdx.x);
  if (e >= 2 * kChannels<Lines>) return;
  const int which = e / kChannels<Lines>, channel = e % kChannels<Lines>;
  const int at = (channel / kEach * 2 + which) * kEach + channel % kEach;
  double sum = 0;
  for (int w = 0; w < kLineThreads / 32; ++w) sum += memory[w * kQuarters * 2 * kEach + at];
  to[which * kChannels<Lines> + place_of<Lines>(channel)] = sum;
}

constexpr int kJoinSlices = 8;

/// The sum over all chunks of one of a block's [2][channels] sums; thread (slice, element) of kJoinSlices * 2 * channels.
/// Shared memory: a double per thread. Returns it to the threads of slice 0; the others get something else.
template <class Lines>
__device__ double join_chunks(const double* partial, int64_t blocks, int64_t chunks) {
  constexpr int kElements = 2 * kChannels<Lines>;
  const int element = static_cast<int>(threadIdx.x) % kElements, slice = static_cast<int>(threadIdx.x) / kElements;
  double sum = 0;
  for (int64_t c = slice; c < chunks; c += kJoinSlices) sum += partial[(c * blocks + blockIdx.x) * kElements + element];
  double* memory = shared_memory<double>();
  memory[threadIdx.x] = sum;
  __syncthreads();
  for (int s = 1; s < kJoinSlices; ++s) sum += memory[s * kElements + element];
  return sum;
}

}  // namespace
}  // namespace cuda
}  // namespace thaw
