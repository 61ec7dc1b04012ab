#pragma once
// Convolution on a GPU as one matrix product ("implicit GEMM") on blocked pictures, f32 [N][C/16][H][W][16] or bf16
// [N][C/32][H][W][32]. One pixel of one block is a line of 64 bytes in either type, and lines are all that addresses
// count. As in kernels/conv2d.h a grid of points (forward: the output; backward-data: one phase of the stride) is
//   y[point][output] = sum over input blocks, taps and channels of x[point's line at tap][channel] * w[output][channel]
// Rows of the product are points, columns outputs, a step of its depth is one block at one tap: a line of x by a line of
// weights. Groups are merged until they fill whole blocks (panels_of); a panel is one such block-diagonal product.
// ops/conv2d_gemm.cpp fills these structs. Counts of lines fit 31 bits: 128 GiB of pictures.
#include "kernels/conv2d.h"

namespace thaw {

/// How many points and outputs a block of threads computes. Results do not depend on it.
enum class GemmTile : int32_t { large, medium, small, narrow };

struct Conv2dGemm {
  const void* x;
  const void* weights;  // [panel][in_block][tap][output of the panel] lines, their parts in the order of shared memory
  const float* bias;    // [out_channels] or null
  const void* residual, * gate;  // as of Conv2d
  void* y;
  int32_t pictures, in_blocks, in_height, in_width;
  int32_t out_channels, out_blocks, out_pixels;  // out_pixels: of one plane
  int32_t rows, cols;                            // the grid
  int32_t out_start, out_row, out_col;  // pixel of the output plane = out_start + row * out_row + col * out_col
  int32_t stride_y, stride_x;
  // Tap (i, j) of a point reads input row row * stride_y + first_y + i * step_y, and so the column.
  int32_t taps_y, taps_x, first_y, first_x, step_y, step_x;
  int32_t panels, panel_in, panel_out;  // blocks of a panel; the last one may have fewer
  /// The depth is summed in so many parts, which are joined in order: always, so that bits do not depend on who computes
  /// them. With `partial` each is a block's of its own, else one block's, one behind the other.
  int32_t parts;
  float* partial;  // [part][out_block][point][channels of a block], or null
  GemmTile tile;
  Activation activation;
  float alpha;
};

struct Conv2dGemmPack {
  const float* weight;  // [K, C/groups, kh, kw]
  void* packed;
  int32_t in_channels, out_channels, groups;  // of the packed product: exchanged where `transposed`
  int32_t panels, panel_in, panel_out;
  bool transposed;
  int32_t kernel_taps;  // kh * kw
  int32_t taps;         // of this grid
  const int64_t* tap;   // their positions in the kernel, ky * kw + kx
};

/// dweight[output][channel][tap] = sum over pixels of dy[pixel][output] * x[pixel's line at tap][channel]: rows are
/// outputs, columns channels, the depth runs over the pixels of all pictures, cut into chunks. `join` adds the chunks in
/// order and writes [K, C/groups, kh, kw].
struct Conv2dGemmWeights {
  const void* x;
  const void* dy;
  float* partial;  // [chunk][tap][panel][output of the panel][channel of the panel]
  float* dweight;
  int32_t pictures, in_blocks, in_height, in_width;
  int32_t out_blocks, out_height, out_width;
  int32_t kernel_height, kernel_width, stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x;
  int32_t in_channels, out_channels, groups;
  int32_t panels, panel_in, panel_out;
  int32_t chunks, chunk_pixels;
  GemmTile tile;
};

struct Conv2dGemmKernels {
  void (*direct)(const Conv2dGemm&, int64_t, void*);  // with the join of the parts, where they lie in `partial`
  void (*pack)(const Conv2dGemmPack&, int64_t, void*);
};

struct Conv2dGemmWeightsKernels {
  void (*weights)(const Conv2dGemmWeights&, int64_t, void*);
  void (*join)(const Conv2dGemmWeights&, int64_t, void*);
};

THAW_GPU_KERNELS(Conv2dGemmKernels, conv2d_gemm)
THAW_GPU_KERNELS(Conv2dGemmKernels, conv2d_gemm_bf16)
THAW_GPU_KERNELS(Conv2dGemmWeightsKernels, conv2d_gemm_weights)
THAW_GPU_KERNELS(Conv2dGemmWeightsKernels, conv2d_gemm_weights_bf16)

}  // namespace thaw
