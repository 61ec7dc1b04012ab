#pragma once
// Dropout: y = x * scale where the element's draw says keep, else 0. The draw of an element depends on
// (seed, stream, epoch, sample, its index within the sample in plain order) alone: not on its place in the batch, nor
// on the layout. The backward pass is the same map with dy for x.
#include <cstdint>

#include "kernels/isa.h"
#include "run/random.h"

namespace thaw {

constexpr int64_t kDropoutChunk = 4096;

struct Dropout {
  const void* x;
  void* y;
  PhiloxKey key;
  int64_t epoch;
  const int64_t* samples;  // identity of each row; null: its index
  uint64_t threshold;      // a 32-bit draw below it drops the element (2^32: all)
  float scale;             // 1 / (1 - p), 0 for p = 1
  int64_t rows, elements;  // plain: [rows][elements]
  int64_t channels, pixels;  // blocked: rows pictures of [ceil(channels/16)][pixels][16], or /32 in bf16
};

/// Tasks: plain rows * ceil(elements / kDropoutChunk); blocked rows * channel blocks.
struct DropoutKernels {
  void (*plain)(const Dropout&, int64_t task, void* scratch);
  void (*blocked)(const Dropout&, int64_t task, void* scratch);
  void (*blocked_bf16)(const Dropout&, int64_t task, void* scratch);
};

THAW_KERNELS(DropoutKernels, dropout)

}  // namespace thaw
