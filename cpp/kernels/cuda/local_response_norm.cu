// Local response normalisation across channels of blocked pictures; formulas in kernels/local_response_norm.h. A thread
// takes one channel of one pixel and reads its neighbours, which other threads of its warp read too.
#include "kernels/local_response_norm.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kThreads = 256;

/// A pixel's channels: element c is at `start` + offset(c).
struct Pixel {
  int64_t start;
  int channel, channels, size;
  int64_t block;  // elements from a block of sixteen channels to the next
  __device__ __forceinline__ int64_t at(int c) const { return start + c / 16 * block + c % 16; }
};

/// The pixel and channel of this thread; elements in the order of memory. False beyond the last.
__device__ __forceinline__ bool place(const LocalResponseNorm& a, Pixel& p, int64_t& element) {
  const int64_t blocks = (a.channels + 15) / 16;
  element = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t line = element / 16;
  if (line >= a.pictures * blocks * a.pixels) return false;
  const int64_t pixel = line % a.pixels, rest = line / a.pixels;
  p.block = a.pixels * 16;
  p.start = (rest / blocks * blocks * a.pixels + pixel) * 16;
  p.channel = static_cast<int>(rest % blocks * 16 + element % 16);
  p.channels = static_cast<int>(a.channels), p.size = static_cast<int>(a.size);
  return true;
}

/// s[c]
__device__ __forceinline__ float spread(const LocalResponseNorm& a, const Pixel& p, int c) {
  float sum = 0;
  const int first = c - p.size / 2;
  for (int i = first < 0 ? 0 : first; i < first + p.size && i < p.channels; ++i) {
    const float x = a.x[p.at(i)];
    sum = fmaf(x, x, sum);
  }
  return fmaf(a.alpha / static_cast<float>(a.size), sum, a.k);
}

/// s^-beta. Roots are exact to half a unit, so the customary beta takes them.
__device__ __forceinline__ float power(float s, float beta) {
  if (beta == 0.75f) {
    const float root = sqrtf(s);
    return 1.0f / (root * sqrtf(root));
  }
  if (beta == 0.5f) return 1.0f / sqrtf(s);
  if (beta == 1.0f) return 1.0f / s;
  return expf(-beta * logf(s));
}

/// Lanes beyond C are written as 0: with k = 0 their power need not be finite.
__global__ void __launch_bounds__(kThreads) forward_kernel(LocalResponseNorm a) {
  Pixel p;
  int64_t element;
  if (!place(a, p, element)) return;
  a.y[element] = p.channel < p.channels ? a.x[element] * power(spread(a, p, p.channel), a.beta) : 0.0f;
}

__global__ void __launch_bounds__(kThreads) backward_kernel(LocalResponseNorm a) {
  Pixel p;
  int64_t element;
  if (!place(a, p, element)) return;
  if (p.channel >= p.channels) {
    a.y[element] = 0.0f;
    return;
  }
  float seen = 0;
  const int first = p.channel - (p.size - 1) / 2;
  for (int i = first < 0 ? 0 : first; i < first + p.size && i < p.channels; ++i) {
    const float s = spread(a, p, i);
    seen += a.dy[p.at(i)] * a.x[p.at(i)] * (power(s, a.beta) / s);
  }
  const float factor = -2 * a.alpha * a.beta / static_cast<float>(a.size);
  const float through = a.dy[element] * power(spread(a, p, p.channel), a.beta);
  a.y[element] = fmaf(factor * a.x[element], seen, through);
}

template <void (*kernel)(LocalResponseNorm)>
void each_element(const LocalResponseNorm& a, int64_t, void*) {
  launch(kernel, blocks(a.pictures * divide_up(a.channels, 16) * a.pixels * 16, kThreads), kThreads, 0, a);
}

}  // namespace

extern const LocalResponseNormKernels local_response_norm = {each_element<forward_kernel>, each_element<backward_kernel>};

}  // namespace cuda
}  // namespace thaw
