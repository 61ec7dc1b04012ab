#pragma once
// dweight of a convolution (Conv2dGemmWeights) as a product whose depth runs over pixels:
//   partial[chunk][tap][panel][output][channel] = sum over the chunk's pixels of dy[pixel][output] * x[pixel at tap][channel]
// A block computes BM outputs by BN channels at one tap. A step is 32 pixels, one a thread and four threads a line: the
// same thread copies a pixel's lines of dy and of x, so that it alone has to know where its pixel lies. Blocks of one chunk
// are neighbours in the grid: what they read meets in the second-level cache.
#include "kernels/conv2d_gemm.h"
#include "kernels/cuda/conv2d_tile.h"
#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kGradientStages = 4;
/// So many stages are being copied while one is multiplied.
template <class Tile>
constexpr int kGradientAhead = kGradientStages - 1 - Tile::kInFlight;
constexpr int kPixels = 32;  // of a step
constexpr int kGradientThreads = kPixels * kParts;

template <class Tile>
struct GradientPlace {
  static constexpr int kChannels = Part<typename Tile::Number>::kChannels;
  int tap, panel, output, channel;  // the first ones, counted in the panel
  int outputs, channels;            // of the panel, whole blocks

  __device__ __forceinline__ explicit GradientPlace(const Conv2dGemmWeights& a) {
    const int down = (a.panel_out * kChannels + Tile::kRows - 1) / Tile::kRows;
    const int across = (a.panel_in * kChannels + Tile::kColumns - 1) / Tile::kColumns;
    int index = static_cast<int>(blockIdx.x);
    channel = index % across * Tile::kColumns, index /= across;
    output = index % down * Tile::kRows, index /= down;
    panel = index % a.panels;
    tap = index / a.panels;
    outputs = smaller_of(a.panel_out, a.out_blocks - panel * a.panel_out) * kChannels;
    channels = smaller_of(a.panel_in, a.in_blocks - panel * a.panel_in) * kChannels;
  }
};

/// The pixel that a thread copies, 32 further on every step.
struct PixelWalk {
  int index, n, y, x;
  int step_n, step_y, step_x;

  __device__ __forceinline__ PixelWalk(const Conv2dGemmWeights& a, int first) {
    const int pixels = a.out_height * a.out_width;
    index = first;
    n = first / pixels, y = first % pixels / a.out_width, x = first % a.out_width;
    step_n = kPixels / pixels, step_y = kPixels % pixels / a.out_width, step_x = kPixels % pixels % a.out_width;
  }
  __device__ __forceinline__ void next(const Conv2dGemmWeights& a) {
    index += kPixels, n += step_n, y += step_y, x += step_x;
    if (x >= a.out_width) x -= a.out_width, ++y;
    if (y >= a.out_height) y -= a.out_height, ++n;
  }
};

template <class Tile>
struct GradientCopies {
  static constexpr int kA = Tile::kRows / GradientPlace<Tile>::kChannels;
  static constexpr int kB = Tile::kColumns / GradientPlace<Tile>::kChannels;
  static constexpr int kStage = (kA + kB) * kPixels * kLine;

  int tap_y, tap_x, out_block, in_block, out_blocks, in_blocks, slot_pixel, part, end;

  __device__ __forceinline__ GradientCopies(const Conv2dGemmWeights& a, const GradientPlace<Tile>& place, int last) {
    constexpr int kChannels = GradientPlace<Tile>::kChannels;
    tap_y = place.tap / a.kernel_width * a.dilation_y - a.pad_top;
    tap_x = place.tap % a.kernel_width * a.dilation_x - a.pad_left;
    out_block = place.panel * a.panel_out + place.output / kChannels;
    in_block = place.panel * a.panel_in + place.channel / kChannels;
    out_blocks = (place.outputs - place.output) / kChannels, in_blocks = (place.channels - place.channel) / kChannels;
    slot_pixel = static_cast<int>(threadIdx.x) / kParts, part = static_cast<int>(threadIdx.x) % kParts;
    end = last;
  }

  __device__ __forceinline__ void copy(const Conv2dGemmWeights& a, unsigned char* to, const PixelWalk& p) const {
    const int plane = a.in_height * a.in_width, out_plane = a.out_height * a.out_width;
    const bool counts = p.index < end;
    const int row = p.y * a.stride_y + tap_y, column = p.x * a.stride_x + tap_x;
    const bool within = counts && inside(row, a.in_height) && inside(column, a.in_width);
    const int dy = (p.n * a.out_blocks + out_block) * out_plane + p.y * a.out_width + p.x;
    const int x = (p.n * a.in_blocks + in_block) * plane + row * a.in_width + column;
#pragma unroll
    for (int i = 0; i < kA; ++i) {
      const bool valid = counts && i < out_blocks;
      copy_later(to + Tile::pixel_slot(i, slot_pixel, part), line_at(a.dy, valid ? dy + i * out_plane : 0, part), valid);
    }
    to += kA * kPixels * kLine;
#pragma unroll
    for (int i = 0; i < kB; ++i) {
      const bool valid = within && i < in_blocks;
      copy_later(to + Tile::pixel_slot(i, slot_pixel, part), line_at(a.x, valid ? x + i * plane : 0, part), valid);
    }
  }
};

template <class Tile>
__global__ __launch_bounds__(kGradientThreads, 2) void weights_kernel(Conv2dGemmWeights a) {
  static_assert(Tile::kThreads == kGradientThreads, "one pixel for four threads");
  constexpr int kStage = GradientCopies<Tile>::kStage;
  unsigned char* memory = shared_memory<unsigned char>();
  const GradientPlace<Tile> place(a);
  if (place.output >= place.outputs || place.channel >= place.channels) return;
  const int chunk = static_cast<int>(blockIdx.y), begin = chunk * a.chunk_pixels;
  const int last = smaller_of(begin + a.chunk_pixels, a.pictures * a.out_height * a.out_width);
  const GradientCopies<Tile> copies(a, place, last);
  PixelWalk walk(a, begin + static_cast<int>(threadIdx.x) / kParts);
  const int steps = (last - begin + kPixels - 1) / kPixels;
  int copied = 0, filled = 0, used = 0;
  const auto fill = [&] {
    if (copied < steps) {
      copies.copy(a, memory + filled * kStage, walk);
      walk.next(a);
    }
    end_copies();
    ++copied;
    filled = filled + 1 == kGradientStages ? 0 : filled + 1;
  };
#pragma unroll 1
  for (int i = 0; i < kGradientAhead<Tile>; ++i) fill();

  typename Tile::Sums sums;
  Tile::clear(sums);
  if (steps > 0) {  // sums under way and sums that no product touched must not meet: the compiler would wait in every step
    int left = steps;
#pragma unroll 1
    do {
      wait_copies<kGradientAhead<Tile> - 1>();
      Tile::meet(sums);
      __syncthreads();
      fill();
      const unsigned char* stage = memory + used * kStage;
      Tile::multiply_pixels(stage, stage + GradientCopies<Tile>::kA * kPixels * kLine, sums);
      used = used + 1 == kGradientStages ? 0 : used + 1;
    } while (--left > 0);
    Tile::settle(sums);
  }
  const int rows = a.panel_out * GradientPlace<Tile>::kChannels, pitch = a.panel_in * GradientPlace<Tile>::kChannels;
  const int64_t taps = static_cast<int64_t>(a.kernel_height) * a.kernel_width;
  float* to = a.partial + (((chunk * taps + place.tap) * a.panels + place.panel) * rows + place.output) * pitch + place.channel;
  Tile::store_pixels(sums, to, pitch, place.outputs - place.output, place.channels - place.channel);
}

/// A thread has one weight; neighbours have neighbouring channels, as they lie in the partial sums.
template <class T>
__global__ void join_weights_kernel(Conv2dGemmWeights a) {
  constexpr int kChannels = Part<T>::kChannels;
  const int group_in = a.in_channels / a.groups, group_out = a.out_channels / a.groups;
  const int taps = a.kernel_height * a.kernel_width;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int c = static_cast<int>(index % group_in), tap = static_cast<int>(index / group_in % taps);
  const int k = static_cast<int>(index / group_in / taps);
  if (k >= a.out_channels) return;
  const int rows = a.panel_out * kChannels, pitch = a.panel_in * kChannels, panel = k / rows;
  const int channel = k / group_out * group_in + c - panel * pitch;
  const int64_t chunk = static_cast<int64_t>(taps) * a.panels * rows * pitch;
  const float* from = a.partial + ((static_cast<int64_t>(tap) * a.panels + panel) * rows + k % rows) * pitch + channel;
  float sum = 0;
#pragma unroll 4
  for (int i = 0; i < a.chunks; ++i) sum += __ldg(from + i * chunk);
  a.dweight[(static_cast<int64_t>(k) * group_in + c) * taps + tap] = sum;
}

template <class Tile>
void launch_weights(const Conv2dGemmWeights& a) {
  constexpr int kChannels = GradientPlace<Tile>::kChannels;
  const int64_t down = divide_up(a.panel_out * kChannels, Tile::kRows), across = divide_up(a.panel_in * kChannels, Tile::kColumns);
  const int64_t tiles = down * across * a.panels * a.kernel_height * a.kernel_width;
  launch(weights_kernel<Tile>, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(a.chunks)), dim3(kGradientThreads),
         size_t{kGradientStages * GradientCopies<Tile>::kStage}, a);
}

template <class T>
void join_weights(const Conv2dGemmWeights& a, int64_t, void*) {
  const int64_t count = static_cast<int64_t>(a.out_channels) * (a.in_channels / a.groups) * a.kernel_height * a.kernel_width;
  launch(join_weights_kernel<T>, blocks(count, 256), dim3(256), 0, a);
}

}  // namespace
}  // namespace cuda
}  // namespace thaw
