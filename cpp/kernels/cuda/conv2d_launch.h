#pragma once
// The launches of a convolution's product in one type (conv2d_product.h), and its packed weights.
#include "kernels/cuda/conv2d_product.h"
#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {
namespace {

template <class Tile, bool joins>
__global__ __launch_bounds__(Tile::kThreads, 256 / Tile::kThreads) void product_kernel(Conv2dGemm a) {
  product<Tile, joins>(a);
}

template <class T>
__global__ void join_kernel(Conv2dGemm a) {
  join_parts<T>(a);
}

constexpr int kJoinThreads = 256;

template <class Tile, class Joining>
void launch_product(const Conv2dGemm& a) {
  using T = typename Tile::Number;
  const int64_t points = static_cast<int64_t>(a.pictures) * a.rows * a.cols;
  const int64_t columns = divide_up(a.panel_out * Part<T>::kChannels, Tile::kColumns) * a.panels;
  const unsigned tiles = static_cast<unsigned>(divide_up(points, Tile::kRows) * columns);
  if (a.parts > 1 && !a.partial)
    return launch(product_kernel<Joining, true>, dim3(tiles), dim3(Joining::kThreads), size_t{Memory<Joining>::kBytes}, a);
  launch(product_kernel<Tile, false>, dim3(tiles, static_cast<unsigned>(a.parts)), dim3(Tile::kThreads),
         size_t{Memory<Tile>::kBytes}, a);
  if (a.partial) launch(join_kernel<T>, blocks(points * a.out_blocks * kParts, kJoinThreads), dim3(kJoinThreads), 0, a);
}

/// Packs lines: a thread has one part of an output's line in one block, at all taps: it reads neighbours then. A line's parts
/// lie as they will in shared memory (`slot`).
template <class T>
__global__ void pack_kernel(Conv2dGemmPack a) {
  constexpr int kSize = Part<T>::kSize, kChannels = Part<T>::kChannels;
  const int out_lines = a.panel_out * kChannels;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int part = static_cast<int>(index % kParts), output = static_cast<int>(index / kParts % out_lines);
  const int block = static_cast<int>(index / kParts / out_lines % a.panel_in);
  const int panel = static_cast<int>(index / kParts / out_lines / a.panel_in);
  if (panel >= a.panels) return;
  const int all_in = (a.in_channels + kChannels - 1) / kChannels, all_out = (a.out_channels + kChannels - 1) / kChannels;
  const int lines = smaller_of(a.panel_out, all_out - panel * a.panel_out) * kChannels;  // fewer in the last panel
  if (output >= lines || panel * a.panel_in + block >= all_in) return;

  const int group_in = a.in_channels / a.groups, group_out = a.out_channels / a.groups;
  const int o = panel * out_lines + output, first = (panel * a.panel_in + block) * kChannels + part * kSize;
  const int64_t whole = static_cast<int64_t>(a.panel_in) * a.taps * out_lines;
  unsigned char* to = static_cast<unsigned char*>(a.packed) +
                      (panel * whole + static_cast<int64_t>(block) * a.taps * lines) * kLine + slot(output, part);
  for (int t = 0; t < a.taps; ++t) {
    const int tap = static_cast<int>(a.tap[t]);
    float v[kSize];
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      const int c = first + i;
      const bool connected = o < a.out_channels && c < a.in_channels && o / group_out == c / group_in;
      const int64_t row = a.transposed ? static_cast<int64_t>(c) * group_out + o % group_out
                                       : static_cast<int64_t>(o) * group_in + c % group_in;
      v[i] = connected ? a.weight[row * a.kernel_taps + tap] : 0.0f;
    }
    Part<T>::store(to + static_cast<int64_t>(t) * lines * kLine, v);
  }
}

template <class T>
void pack(const Conv2dGemmPack& a, int64_t, void*) {
  const int64_t lines = static_cast<int64_t>(a.panels) * a.panel_in * a.panel_out * Part<T>::kChannels;
  launch(pack_kernel<T>, blocks(lines * kParts, 256), dim3(256), 0, a);
}

}  // namespace
}  // namespace cuda
}  // namespace thaw
