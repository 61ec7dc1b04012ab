#pragma once
// Rows times packed weights, in products of tiles (kernels/cpu/micro/tile.h): y[m][n] = f(bias[n] + sum over k of
// bf16(x[m][k]) * bf16(w[n][k])), x and y plain f32. Weights are packed as those of a 1x1 convolution (conv2d_bf16.h) or
// as the kernels like them.
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/isa.h"

namespace thaw {

struct LinearBf16 {
  const float* x;
  const uint16_t* weights;
  const float* bias;  // [outputs] or null
  float* y;
  int64_t rows, inputs, outputs;
  int64_t steps, panels;          // of 32 inputs, of 32 outputs
  int64_t task_rows, row_tasks;   // rows a task takes, and how many such
  int64_t task_panels;
  int64_t tile_rows;              // 1…16
  Activation activation;
  float alpha;
};

struct LinearBf16Pack {
  const float* weight;  // [outputs][inputs]
  uint16_t* packed;     // as many as panels * 32 * steps * 32
  int64_t outputs, inputs;
};

struct LinearBf16Kernels {
  /// Tasks: row_tasks * ceil(panels / task_panels). Scratch: linear_bf16_scratch.
  void (*direct)(const LinearBf16&, int64_t task, void* scratch);
  /// A form of its own for the weights; null: they are packed as those of a 1x1 convolution. One task.
  void (*pack)(const LinearBf16Pack&, int64_t task, void* scratch);
};

/// Bytes from one row of rounded x to the next: an odd number of lines, so that rows lie in different sets of a cache.
static inline constexpr int64_t linear_bf16_row(int64_t steps) { return (steps | 1) * 64; }
static inline constexpr int64_t linear_bf16_scratch(const LinearBf16& a) {
  return 64 * 4 + 2 * 16 * 32 * 4 + (a.steps * 8 + 63) / 64 * 64 + (a.task_rows + 15) * linear_bf16_row(a.steps);
}

THAW_BF16_KERNELS(LinearBf16Kernels, linear_bf16)

}  // namespace thaw
