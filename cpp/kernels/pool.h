#pragma once
// Pooling over blocked pictures, in f32 or in bf16. A plane is one channel block of one picture: [H][W][16] in f32,
// [H][W][32] in bf16.
//
//   max      y[o] = max over the window's positions inside the picture; the first maximum in row-major order takes the
//            gradient; NaN wins, the last of several (PyTorch's rule)
//   average  y[o] = sum of the window / divisor; dx[i] = sum of dy[o] / divisor over the windows that hold i
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

struct MaxPool {
  const void* x;
  const void* dy;                    // backward only
  void* y;                           // forward: the result; backward: dx
  void* taps;                        // backward on a GPU: max_backward_taps(…) bytes, else null
  int64_t planes, height, width, out_height, out_width;
  int64_t rows_per_task;             // output rows of a forward task
  int64_t blocks, y_gap;             // forward: planes of a picture, and of others between two pictures of y
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
};

/// The positions of one output row or column: begin … end-1, clipped to the picture; the divisor of an output is the
/// product of its row's and its column's `size`.
struct PoolWindow {
  int32_t begin, end;
  double size;
};

/// The windows first … last-1 along one axis that hold a position.
struct PoolHolders {
  int32_t first, last;
};

struct AveragePool {
  const void* x;                     // forward: x; backward: dy
  void* y;                           // forward: y; backward: dx
  int64_t channels;                  // of a picture
  int64_t planes, height, width, out_height, out_width;
  int64_t rows_per_task;
  int64_t blocks, y_gap;             // as of MaxPool
  const PoolWindow* rows;            // [out_height]
  const PoolWindow* columns;         // [out_width]
  const PoolHolders* row_holders;    // [height], backward only
  const PoolHolders* column_holders; // [width]
};

/// Tasks: planes * ceil(out_height / rows_per_task) forward, planes backward.
struct PoolKernels {
  void (*max)(const MaxPool&, int64_t task, void* scratch);
  void (*max_backward)(const MaxPool&, int64_t task, void* scratch);
  void (*average)(const AveragePool&, int64_t task, void* scratch);
  void (*average_backward)(const AveragePool&, int64_t task, void* scratch);
};

/// The same in bf16. One window over the whole picture is done apart: its result, and the gradient that arrives at it,
/// are in f32 blocks [N][ceil(C/16)][16]. Tasks of these two: planes.
struct PoolBf16Kernels {
  PoolKernels pool;
  void (*global_average)(const AveragePool&, int64_t task, void* scratch);
  void (*global_average_backward)(const AveragePool&, int64_t task, void* scratch);
};

/// Bytes of scratch of `max_backward` in bf16: the rows of dx that a row of windows touches, in f32.
static inline int64_t max_backward_scratch(const MaxPool& a) {
  return ((a.kernel_h - 1) * a.dilation_h + 1) * a.width * 32 * 4;
}

/// Taps of a window are numbered by a byte or, where it has more, by four.
static inline int64_t pool_tap_bytes(const MaxPool& a) { return a.kernel_h * a.kernel_w <= 255 ? 1 : 4; }

/// Bytes for the tap that takes each output's gradient; `line`: channels of a plane.
static inline int64_t max_backward_taps(const MaxPool& a, int64_t line) {
  return a.planes * a.out_height * a.out_width * line * pool_tap_bytes(a);
}

THAW_KERNELS(PoolKernels, pool)
THAW_BF16_KERNELS(PoolBf16Kernels, pool_bf16)

}  // namespace thaw
