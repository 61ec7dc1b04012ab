#pragma once
// Resampling of 8-bit pictures in two passes: along the rows, then down the columns.
//   target[i] = clip(round(sum_t weight[i][t] * source[start[i] + t] / 2^22))
// Weights are whole numbers (fixed point, 22 bits), sums are 32-bit integers: exact, so every order of summation and
// every instruction set gives the same bytes.
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

constexpr int kResizeBits = 22;
constexpr int64_t kResizeRows = 16;  // rows that one task of `horizontal` takes

/// Which source pixels, with which weights, make each target pixel along one axis.
struct ResizeTaps {
  const int32_t* start;    // [targets]
  const int32_t* count;    // [targets]
  const int32_t* weights;  // [targets][stride]
  int64_t stride;
};

/// Pictures lie as [height][width][channels], rows `stride` bytes apart.
struct ResizeArgs {
  const uint8_t* source;
  int64_t source_stride;
  int64_t source_width;  // pixels; horizontal alone
  uint8_t* target;
  int64_t target_stride;
  int64_t width;   // pixels of the target
  int64_t height;  // rows of the target
  int64_t channels;
  ResizeTaps taps;
};

/// Bytes of scratch for one task of `horizontal`.
inline int64_t resize_scratch(const ResizeArgs& args) {
  return (args.source_width + args.width) * args.channels * kResizeRows;
}

struct ResizeKernels {
  /// [height][source_width] → [height][width]. Tasks: ceil(height / 16).
  void (*horizontal)(const ResizeArgs&, int64_t task, void* scratch);
  /// [source rows][width] → [height][width]. Tasks: height. No scratch.
  void (*vertical)(const ResizeArgs&, int64_t task, void* scratch);
};

THAW_KERNELS(ResizeKernels, resize)

}  // namespace thaw
