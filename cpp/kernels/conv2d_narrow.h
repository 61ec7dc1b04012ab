#pragma once
// Convolution of a few channels, a network's first: it reads plain pictures [N][C][H][W] as they come and writes blocked
// ones. The sums and the packed weights are those of the direct kernel, and so are the bits. ops/conv2d_narrow.cpp fills
// this struct.
#include "kernels/conv2d.h"

namespace thaw {

struct NarrowConv2d {
  const float* x;
  const float* weights;   // as for the direct kernel
  const float* bias;      // [out_channels] or null
  const float* residual;  // like y, or null
  float* y;
  int64_t pictures, channels, in_height, in_width;
  int64_t out_channels, out_blocks, out_height, out_width;
  const Conv2dPanel* panels;
  int64_t panel_count;
  int64_t stride_y, stride_x;
  int64_t start_y, start_x;  // input position of the first tap of the first output
  // A task copies the rows that its band reads, [channel][row][column % stride][column / stride], zeros beyond the
  // picture: inputs of neighbouring outputs are neighbours then.
  int64_t band_rows, bands;  // of one picture
  int64_t copy_rows, phase_cols;
  int64_t products;          // taps * channels
  const int64_t* offsets;    // of each product, [tap][channel], in the copy
  Activation activation;
  float alpha;
};

struct NarrowConv2dKernels {
  /// Tasks: pictures * bands. Scratch: the copy, channels * copy_rows * stride_x * phase_cols floats.
  void (*direct)(const NarrowConv2d&, int64_t task, void* scratch);
};

THAW_KERNELS(NarrowConv2dKernels, conv2d_narrow)

}  // namespace thaw
