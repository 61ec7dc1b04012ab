#pragma once
// Between the layouts of pictures: plain [N][C][P] (P = H * W pixels), blocked [N][ceil(C/16)][P][16], and blocked in
// bf16 [N][ceil(C/32)][P][32]. Lanes beyond C are written as 0.
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

struct ReorderBf16 {
  const void* x;
  void* y;
  int64_t pictures, channels, pixels;
};

/// Tasks: pictures * blocks of 32 channels * ceil(pixels / kReorderPixels).
struct ReorderBf16Kernels {
  void (*from_plain)(const ReorderBf16&, int64_t task, void* scratch);
  void (*to_plain)(const ReorderBf16&, int64_t task, void* scratch);
  void (*from_blocked)(const ReorderBf16&, int64_t task, void* scratch);
  void (*to_blocked)(const ReorderBf16&, int64_t task, void* scratch);
};

THAW_KERNELS(ReorderKernels, reorder)
THAW_BF16_KERNELS(ReorderBf16Kernels, reorder_bf16)

}  // namespace thaw
