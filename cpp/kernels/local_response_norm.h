#pragma once
// Local response normalisation across channels of blocked pictures, PyTorch's window and division:
//
//   s[c] = k + alpha / size * sum of x[i]^2 for i = c - size/2 … c + (size-1)/2 (zero beyond the channels)
//   y    = x * s^-beta
//   dx[c] = dy[c] * s[c]^-beta - 2 alpha beta / size * x[c] * sum of dy[i] x[i] s[i]^(-beta-1) over the i that see c
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

constexpr int64_t kResponsePixels = 64;

struct LocalResponseNorm {
  const float* x;
  const float* dy;  // backward only
  float* y;         // backward: dx
  int64_t pictures, channels, pixels, size;
  float alpha, beta, k;
};

/// Bytes of scratch that each task needs.
static inline int64_t response_scratch(int64_t channels, int64_t size) {
  return 4 * (channels + 32 + 2 * size) * static_cast<int64_t>(sizeof(float));
}

/// Tasks: pictures * ceil(pixels / kResponsePixels).
struct LocalResponseNormKernels {
  void (*forward)(const LocalResponseNorm&, int64_t task, void* scratch);
  void (*backward)(const LocalResponseNorm&, int64_t task, void* scratch);
};

THAW_KERNELS(LocalResponseNormKernels, local_response_norm)

}  // namespace thaw
