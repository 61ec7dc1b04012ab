#pragma once
// Between the plain layout [N][C][P] of pictures (P = H * W pixels) and the blocked one [N][ceil(C/16)][P][16].
// Lanes beyond C are written as 0.
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

constexpr int64_t kReorderPixels = 1024;

struct Reorder {
  const float* x;
  float* y;
  int64_t pictures, channels, pixels;
};

/// Tasks: pictures * channel blocks * ceil(pixels / kReorderPixels).
struct ReorderKernels {
  void (*to_blocked)(const Reorder&, int64_t task, void* scratch);
  void (*to_plain)(const Reorder&, int64_t task, void* scratch);
};

THAW_KERNELS(ReorderKernels, reorder)

}  // namespace thaw
