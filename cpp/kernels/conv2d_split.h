#pragma once
// Convolution of f32 pictures on tiles of bf16. A float is the sum of three bf16, exactly: each rounds what those before it
// left, eight bits at a time. Of the nine products of two such numbers six count; what the other three add is less than the
// rounding of a float. Sums are f32, and a tile rounds them once for 32 channels, so that results are nearer to the exact
// ones than those of a chain of fused multiply-adds.
//
// Grids, bands and panels are those of kernels/conv2d.h with blocks of 32 channels and panels of 32 outputs; pictures lie in
// f32, [N][C/16][H][W][16], and bands are always copied, each line of 32 channels into one line of each part.
// Packed weights of a panel: [in_block][tap][part][2 × 16 outputs][16 pairs of channels][16 outputs][2], bf16.
#include "kernels/conv2d_bf16.h"

namespace thaw {

constexpr int kSplitParts = 3;

/// As conv2d_bf16, of grids whose in_blocks and out_blocks are those of the pictures, of 16 channels.
THAW_BF16_KERNELS(Conv2dBf16Kernels, conv2d_split_bf16)

}  // namespace thaw
