#pragma once
// Lines of 64 bytes (kernels/conv2d_gemm.h) on their way to shared memory, and as registers that threads finish and store.
#include "kernels/activation.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/function.h"
#include "kernels/cuda/mma.h"

namespace thaw {
namespace cuda {

constexpr int kLine = 64;   // bytes
constexpr int kParts = 4;   // of a line, sixteen bytes each: what a thread copies at a time

/// Byte at which part `part` of line `row` lies in shared memory. The same part of eight neighbouring lines falls into all
/// 32 banks, and so do two whole lines: both ldmatrix and copies go without conflicts.
__device__ __forceinline__ int slot(int row, int part) { return row * kLine + ((part ^ (row >> 1 & 3)) << 4); }

__device__ __forceinline__ const unsigned char* line_at(const void* lines, int line, int part) {
  return static_cast<const unsigned char*>(lines) + static_cast<int64_t>(line) * kLine + part * 16;
}

__device__ __forceinline__ int smaller_of(int a, int b) { return a < b ? a : b; }

/// Is 0 <= i < size?
__device__ __forceinline__ bool inside(int i, int size) { return static_cast<unsigned>(i) < static_cast<unsigned>(size); }

/// Sixteen bytes of a line as numbers: T is float or uint16_t for bf16.
template <class T>
struct Part;

template <>
struct Part<float> {
  static constexpr int kSize = 4;
  static constexpr int kChannels = 16;  // of a line
  static __device__ __forceinline__ void load(const void* from, float (&v)[4]) {
    const float4 f = __ldg(static_cast<const float4*>(from));
    v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
  }
  static __device__ __forceinline__ void store(void* to, const float (&v)[4]) {
    *static_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
  }
};

template <>
struct Part<uint16_t> {
  static constexpr int kSize = 8;
  static constexpr int kChannels = 32;
  static __device__ __forceinline__ void expand(const uint4& bits, float (&v)[8]) {
    const uint32_t pairs[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      v[2 * i] = __uint_as_float(pairs[i] << 16);
      v[2 * i + 1] = __uint_as_float(pairs[i] & 0xffff0000u);
    }
  }
  static __device__ __forceinline__ void load(const void* from, float (&v)[8]) {
    expand(__ldg(static_cast<const uint4*>(from)), v);
  }
  static __device__ __forceinline__ void store(void* to, const float (&v)[8]) {
    *static_cast<uint4*>(to) =
        make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
  }
};

/// What follows the sums of a convolution, whichever kernel made them:
///   y = activation(gate(sum + bias + residual)), gate: 0 where it is not above 0. Lanes beyond the last output get 0.
template <class T>
struct Finish {
  static constexpr int kSize = Part<T>::kSize;

  const float* bias;
  const void* residual;
  const void* gate;
  void* y;
  int out_channels;
  Activation activation;
  float alpha;

  static __device__ __forceinline__ int part_of(int channel) { return channel % Part<T>::kChannels / kSize; }
  /// Is `activated` a branch or two?
  __device__ __forceinline__ bool simple() const { return activation <= Activation::relu; }

  /// v: sums of the part of a line that begins with output `channel`.
  __device__ __forceinline__ void combine(int line, int channel, float (&v)[kSize]) const {
    const int part = part_of(channel);
    if (bias) {
#pragma unroll
      for (int i = 0; i < kSize; ++i)
        if (channel + i < out_channels) v[i] += __ldg(bias + channel + i);
    }
    if (residual) {
      float r[kSize];
      Part<T>::load(line_at(residual, line, part), r);
#pragma unroll
      for (int i = 0; i < kSize; ++i) v[i] += r[i];
    }
    if (gate) {
      float g[kSize];
      Part<T>::load(line_at(gate, line, part), g);
#pragma unroll
      for (int i = 0; i < kSize; ++i) v[i] = g[i] > 0 ? v[i] : 0.0f;
    }
    if (activation == Activation::relu) {
#pragma unroll
      for (int i = 0; i < kSize; ++i) v[i] = v[i] < 0 ? 0.0f : v[i];
    }
  }

  /// Activations that `combine` leaves out.
  __device__ __forceinline__ void activate_part(float (&v)[kSize]) const {
#pragma unroll
    for (int i = 0; i < kSize; ++i) v[i] = activate(activation, v[i], alpha);
  }

  __device__ __forceinline__ void store(int line, int channel, float (&v)[kSize]) const {
    if (channel + kSize > out_channels) {
#pragma unroll
      for (int i = 0; i < kSize; ++i) v[i] = channel + i < out_channels ? v[i] : 0.0f;
    }
    Part<T>::store(const_cast<unsigned char*>(line_at(y, line, part_of(channel))), v);
  }

  __device__ __forceinline__ void operator()(int line, int channel, float (&v)[kSize]) const {
    combine(line, channel, v);
    if (!simple()) activate_part(v);
    store(line, channel, v);
  }
};

}  // namespace cuda
}  // namespace thaw
