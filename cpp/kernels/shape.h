#pragma once
// Moving elements without changing them: copies, gathers by tables (transpose, slice, pad) and joins (concat).
// Elements are bytes here; a blocked picture is a tensor [N][blocks][H][W] of 64-byte elements (lines), as long as
// no channel changes its lane. `assemble` is for channels that do.
#include <cstdint>

#include "kernels/isa.h"
#include "kernels/rank.h"

namespace thaw {

constexpr int64_t kCopyBytes = 1 << 16;   // bytes a task moves, about

struct Copy {
  const void* x;
  void* y;
  int64_t bytes;
};

/// y[i0, i1, …] = x[offsets[0][i0] + offsets[1][i1] + …], or `fill` where one of the offsets is negative.
struct Gather {
  const void* x;
  void* y;
  int64_t element;                        // bytes: 1, 2, 4, 8 or 64
  int rank;                               // 1 … kMaxRank
  int64_t shape[kMaxRank];                // of y
  const int64_t* offsets[kMaxRank];       // in elements of x
  alignas(16) float fill[16];             // the first `element` bytes
  int64_t rows, rows_per_task;            // a row: the last dimension of y
};

/// y[outer][offset of operand + …] = operand[outer][…], byte strings of a length per operand. The lists of operands are
/// memory of the host, here and in AssembleOf. On a GPU `step` is `bytes`.
struct Join {
  int64_t operands, outer, outer_per_task;
  const void* const* x;                   // [operands]
  const int64_t* bytes;                   // [operands] of one outer index
  const int64_t* offset;                  // [operands] within y's outer index
  const int64_t* step;                    // [operands] bytes from one outer index to the next
  int64_t total;                          // the same of y
  void* y;
};

/// Some neighbouring channels of one block of one operand, and the lane of the output block they go to.
struct LaneRun {
  int32_t operand, block, from, lane, count;
};

/// T: float in blocks of 16, uint16_t in blocks of 32 in bf16.
/// Blocked output blocks put together from runs of lanes. Other lanes are `fill` for channels, 0 beyond C.
template <class T>
struct AssembleOf {
  int64_t operands;
  const T* const* x;                      // [operands]
  const int64_t* x_blocks;                // [operands] channel blocks
  T* y;
  int64_t pictures, channels, pixels;     // of y
  const LaneRun* runs;
  const int64_t* first_run;               // [channel blocks of y + 1]
  T fill;
};

/// Tasks: copy ceil(bytes / kCopyBytes); gather ceil(rows / rows_per_task);
/// join operands * ceil(outer / outer_per_task); assemble pictures * channel blocks of y.
struct ShapeKernels {
  void (*copy)(const Copy&, int64_t task, void* scratch);
  void (*gather)(const Gather&, int64_t task, void* scratch);
  void (*join)(const Join&, int64_t task, void* scratch);
  void (*assemble)(const AssembleOf<float>&, int64_t task, void* scratch);
  void (*assemble_bf16)(const AssembleOf<uint16_t>&, int64_t task, void* scratch);
};

THAW_KERNELS(ShapeKernels, shape)

}  // namespace thaw
