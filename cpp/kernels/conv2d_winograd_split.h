#pragma once
// Winograd's convolution of f32 pictures (kernels/conv2d_winograd.h) on tiles of bf16: transformed inputs and weights are
// taken apart (kernels/conv2d_split.h), and each of the 36 products is one of parts. Transforms and sums are f32.
#include "kernels/conv2d_split.h"
#include "kernels/conv2d_winograd.h"

namespace thaw {

/// Blocks of 32 channels whose weights are transformed together: they stay in the second-level cache.
constexpr int64_t kWinogradSplitBlocks = 4;

/// Where a task keeps what it makes, in bytes. Parts of 36 lie apart by no power of two.
struct WinogradSplitScratch {
  int64_t rows;    // tiles of a group, filled to whole tiles of products
  int64_t blocks;  // of 32 input channels
  int64_t panels;  // of 32 outputs that a task takes

  explicit constexpr WinogradSplitScratch(const Winograd& a)
      : rows((a.group_tiles + 15) / 16 * 16), blocks((a.in_blocks + 1) / 2), panels(a.chunk_panels) {}
  /// One row of six of the transformed inputs: [6][block][part][tile][32 channels], bf16.
  constexpr int64_t input_part() const { return blocks * kSplitParts * rows * 64 + 64; }
  constexpr int64_t inputs() const { return kWinogradPatch * input_part(); }
  /// The same of the weights of one panel from some blocks: [6][block][part] tiles of two.
  constexpr int64_t weight_part() const { return kWinogradSplitBlocks * kSplitParts * 2048 + 128; }
  constexpr int64_t weights() const { return kWinogradPatch * weight_part(); }
  /// Of a panel: [36][tile][32 outputs], f32.
  constexpr int64_t sum_part() const { return rows * 128 + 64; }
  constexpr int64_t sums() const { return kWinogradProducts * sum_part(); }
  constexpr int64_t bytes() const { return inputs() + weights() + panels * sums(); }
};

struct WinogradSplitKernels {
  /// Weights are packed for the direct kernel in panels of 32 outputs. Tasks: groups * ceil(panel_count / chunk_panels).
  /// Scratch: WinogradSplitScratch.
  void (*direct)(const Winograd&, int64_t task, void* scratch);
};

THAW_BF16_KERNELS(WinogradSplitKernels, conv2d_winograd_split_bf16)

}  // namespace thaw
