// Depthwise convolution of pictures of either type (kernels/conv2d.h): every channel is its own.
//   y[pixel][c] = activation(gate(bias[c] + sum over taps of x[pixel at tap][c] * w[tap][c] + residual))
//   dw[c][tap] = sum over pixels of x[pixel at tap][c] * dy[pixel][c]
// Bound by memory: four threads take the sixteen-byte parts of a line, so that a warp's accesses are whole lines of
// neighbouring pixels, and taps that pixels share come from the first-level cache. Packed weights: [block][tap][channels of
// a block] in f32, for both types in the channels' order.
#include "kernels/conv2d.h"

#include "kernels/cuda/conv2d_lines.h"
#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kPoints = 4;           // of a row of the grid, one thread's
constexpr int kGradientThreads = 256;
constexpr int kTaps = 9;             // that one pass over dy sums

/// The fields that the device loops over, in the numbers it computes fast with.
struct Direct {
  const void* x;
  const float* weights;
  const int64_t* offset_y;
  const int64_t* offset_x;
  int pictures, blocks, in_height, in_width, out_height, out_width, rows, cols;
  int out_start_y, out_start_x, out_step_y, out_step_x, stride_y, stride_x, taps_y, taps_x;
};

/// Eight or four channels' weights: neighbouring threads read the same ones, from the first-level cache.
template <int size>
__device__ __forceinline__ void load_weights(const float* from, float (&w)[size]) {
#pragma unroll
  for (int i = 0; i < size; i += 4) {
    const float4 four = __ldg(reinterpret_cast<const float4*>(from + i));
    w[i] = four.x, w[i + 1] = four.y, w[i + 2] = four.z, w[i + 3] = four.w;
  }
}

/// A thread has one part of kPoints points of a row, `groups` apart: neighbouring threads have neighbouring points.
template <class T>
__global__ __launch_bounds__(kThreads, 4) void direct_kernel(Direct a, Finish<T> finish) {
  constexpr int kSize = Part<T>::kSize, kChannels = Part<T>::kChannels;
  const int groups = (a.cols + kPoints - 1) / kPoints, planes = a.pictures * a.blocks;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t share = static_cast<int64_t>(a.rows) * groups * kParts;
  const int plane = static_cast<int>(index / share), within = static_cast<int>(index % share);
  if (plane >= planes) return;
  const int part = within % kParts, row = within / kParts / groups, first = within / kParts % groups;
  const int channel = plane % a.blocks * kChannels + part * kSize, in_plane = plane * a.in_height * a.in_width;
  const float* weights = a.weights + static_cast<int64_t>(plane % a.blocks) * a.taps_y * a.taps_x * kChannels + part * kSize;
  float sum[kPoints][kSize] = {};
  for (int ty = 0; ty < a.taps_y; ++ty) {
    const int y = row * a.stride_y + static_cast<int>(__ldg(a.offset_y + ty));
    if (!inside(y, a.in_height)) continue;
    for (int tx = 0; tx < a.taps_x; ++tx) {
      const int offset = static_cast<int>(__ldg(a.offset_x + tx));
      float w[kSize];
      load_weights(weights + (ty * a.taps_x + tx) * kChannels, w);
#pragma unroll
      for (int p = 0; p < kPoints; ++p) {
        const int col = first + p * groups, x = col * a.stride_x + offset;
        if (col >= a.cols || !inside(x, a.in_width)) continue;
        float v[kSize];
        Part<T>::load(line_at(a.x, in_plane + y * a.in_width + x, part), v);
#pragma unroll
        for (int i = 0; i < kSize; ++i) sum[p][i] = fmaf(v[i], w[i], sum[p][i]);
      }
    }
  }
  const int out_row = (plane * a.out_height + a.out_start_y + row * a.out_step_y) * a.out_width + a.out_start_x;
#pragma unroll
  for (int p = 0; p < kPoints; ++p) {
    const int col = first + p * groups;
    if (col < a.cols) finish(out_row + col * a.out_step_x, channel, sum[p]);
  }
}

struct Gradient {
  const void* x;
  const void* dy;
  float* partial;
  float* dweight;
  int pictures, channels, blocks, in_height, in_width, out_height, out_width;
  int kernel_height, kernel_width, stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x, chunks;
};

/// A block of threads sums kTaps taps of one block of channels over a chunk of all pictures' pixels; a thread one part of
/// every 64th. The lanes of a part meet by shuffles, the warps in shared memory, both in one order.
template <class T>
__global__ __launch_bounds__(kGradientThreads) void gradient_kernel(Gradient a) {
  constexpr int kSize = Part<T>::kSize, kChannels = Part<T>::kChannels, kApart = kGradientThreads / kParts;
  const int block = static_cast<int>(blockIdx.x) % a.blocks, chunk = static_cast<int>(blockIdx.x) / a.blocks;
  const int taps = a.kernel_height * a.kernel_width, first_tap = static_cast<int>(blockIdx.y) * kTaps;
  const int part = static_cast<int>(threadIdx.x) % kParts;
  const int plane = a.out_height * a.out_width;
  const int64_t pixels = static_cast<int64_t>(a.pictures) * plane;
  const int begin = static_cast<int>(pixels * chunk / a.chunks), end = static_cast<int>(pixels * (chunk + 1) / a.chunks);
  int tap_y[kTaps], tap_x[kTaps];
#pragma unroll
  for (int t = 0; t < kTaps; ++t) {
    const bool exists = first_tap + t < taps;
    tap_y[t] = exists ? (first_tap + t) / a.kernel_width * a.dilation_y - a.pad_top : -(1 << 30);
    tap_x[t] = (first_tap + t) % a.kernel_width * a.dilation_x - a.pad_left;
  }
  float sum[kTaps][kSize] = {};
  for (int pixel = begin + static_cast<int>(threadIdx.x) / kParts; pixel < end; pixel += kApart) {
    const int n = pixel / plane, oy = pixel % plane / a.out_width, ox = pixel % plane % a.out_width;
    float dy[kSize];
    Part<T>::load(line_at(a.dy, (n * a.blocks + block) * plane + oy * a.out_width + ox, part), dy);
    const int picture = (n * a.blocks + block) * a.in_height;
#pragma unroll
    for (int t = 0; t < kTaps; ++t) {
      const int y = oy * a.stride_y + tap_y[t], x = ox * a.stride_x + tap_x[t];
      if (!inside(y, a.in_height) || !inside(x, a.in_width)) continue;
      float v[kSize];
      Part<T>::load(line_at(a.x, (picture + y) * a.in_width + x, part), v);
#pragma unroll
      for (int i = 0; i < kSize; ++i) sum[t][i] = fmaf(v[i], dy[i], sum[t][i]);
    }
  }

  float* shared = shared_memory<float>();  // [warp][tap][channel]
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
  for (int t = 0; t < kTaps; ++t)
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      for (int distance = 16; distance >= kParts; distance /= 2)
        sum[t][i] += __shfl_xor_sync(0xffffffffu, sum[t][i], distance);
      if (lane < kParts) shared[(warp * kTaps + t) * kChannels + part * kSize + i] = sum[t][i];
    }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kTaps * kChannels; i += kGradientThreads) {
    const int tap = first_tap + i / kChannels;
    if (tap >= taps) break;
    float total = 0;
    for (int w = 0; w < kGradientThreads / 32; ++w) total += shared[w * kTaps * kChannels + i];
    a.partial[((static_cast<int64_t>(chunk) * a.blocks + block) * taps + tap) * kChannels + i % kChannels] = total;
  }
}

template <class T>
__global__ void join_kernel(Gradient a) {
  constexpr int kChannels = Part<T>::kChannels;
  const int taps = a.kernel_height * a.kernel_width;
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int channel = index / taps, tap = index % taps;
  if (channel >= a.channels) return;
  const float* from = a.partial + (static_cast<int64_t>(channel / kChannels) * taps + tap) * kChannels + channel % kChannels;
  float total = 0;
  for (int k = 0; k < a.chunks; ++k) total += __ldg(from + static_cast<int64_t>(k) * a.blocks * taps * kChannels);
  a.dweight[index] = total;
}

template <class T>
__global__ void pack_kernel(DepthwisePack a) {
  constexpr int kChannels = Part<T>::kChannels;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t lane = index % kChannels, tap = index / kChannels % a.taps, block = index / kChannels / a.taps;
  const int64_t channel = block * kChannels + lane;
  if (block * kChannels >= a.channels) return;
  a.packed[index] = channel < a.channels ? a.weight[channel * a.kernel_taps + a.tap[tap]] : 0.0f;
}

int small(int64_t n) { return static_cast<int>(n); }

template <class T>
void direct(const Depthwise& a, int64_t, void*) {
  const Direct d{a.x, a.weights, a.offset_y, a.offset_x, small(a.pictures), small(a.blocks), small(a.in_height),
                 small(a.in_width), small(a.out_height), small(a.out_width), small(a.rows), small(a.cols),
                 small(a.out_start_y), small(a.out_start_x), small(a.out_step_y), small(a.out_step_x), small(a.stride_y),
                 small(a.stride_x), small(a.taps_y), small(a.taps_x)};
  const Finish<T> finish{a.bias, a.residual, a.gate, a.y, small(a.channels), a.activation, a.alpha};
  const int64_t threads = a.pictures * a.blocks * a.rows * divide_up(a.cols, kPoints) * kParts;
  launch(direct_kernel<T>, blocks(threads, kThreads), dim3(kThreads), 0, d, finish);
}

template <class T>
void pack(const DepthwisePack& a, int64_t, void*) {
  const int64_t rounded = divide_up(a.channels, Part<T>::kChannels) * Part<T>::kChannels;
  launch(pack_kernel<T>, blocks(rounded * a.taps, 256), dim3(256), 0, a);
}

Gradient gradient(const DepthwiseWeights& a) {
  return {a.x, a.dy, a.partial, a.dweight, small(a.pictures), small(a.channels), small(a.blocks), small(a.in_height),
          small(a.in_width), small(a.out_height), small(a.out_width), small(a.kernel_height), small(a.kernel_width),
          small(a.stride_y), small(a.stride_x), small(a.pad_top), small(a.pad_left), small(a.dilation_y),
          small(a.dilation_x), small(a.chunks)};
}

template <class T>
void weights(const DepthwiseWeights& a, int64_t, void*) {
  const int64_t passes = divide_up(a.kernel_height * a.kernel_width, kTaps);
  launch(gradient_kernel<T>, dim3(static_cast<unsigned>(a.blocks * a.chunks), static_cast<unsigned>(passes)),
         dim3(kGradientThreads), size_t{kGradientThreads / 32 * kTaps * Part<T>::kChannels * 4}, gradient(a));
}

template <class T>
void join(const DepthwiseWeights& a, int64_t, void*) {
  launch(join_kernel<T>, blocks(a.channels * a.kernel_height * a.kernel_width, 256), dim3(256), 0, gradient(a));
}

}  // namespace

extern const DepthwiseKernels depthwise = {direct<float>, pack<float>, weights<float>, join<float>};
extern const DepthwiseKernels depthwise_bf16 = {direct<uint16_t>, pack<uint16_t>, weights<uint16_t>, join<uint16_t>};

}  // namespace cuda
}  // namespace thaw
