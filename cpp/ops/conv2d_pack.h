#pragma once
// Choice of kernel and packing of weights, shared by conv2d and conv2d_backward_data.
#include "kernels/conv2d_bf16.h"
#include "ops/conv2d_geometry.h"

namespace thaw {

/// Where each grid's weights begin in the packed value, and behind the last its size. `attrs` are those of conv2d_pack.
std::vector<int64_t> packed_offsets(const Json& attrs, const Shape& weight);

/// The first kernel that fits; records why those before it do not.
std::string conv2d_form(Select&, const Conv2dShape&, bool backward);

/// Takes that kernel and replaces operand 1 by its packed form. Attributes "weight_shape" and "pack"
/// keep what the weights were and how they were packed.
void select_packed(Select&, bool backward);

/// Depthwise convolutions: the kernels of a form, and the channels of a block in it.
struct DepthwiseForm {
  const DepthwiseKernels& kernels;
  int64_t block;
};
bool is_depthwise(const std::string& form);
std::string depthwise_name(Select&);
DepthwiseForm depthwise_form(const std::string& form, Isa isa);
/// Arguments without operands and taps.
Depthwise depthwise_args(const GridProblem&, int64_t block);

/// Adds the launch of one grid; `weights_offset` as in packed_offsets.
struct GridOperands {
  Buffer x, weights, bias, residual, y;
  Buffer gate = kNone;
  Activation activation = Activation::none;
  float alpha = 0;
  bool stream = false;  // y past the caches
  int64_t y_gap = 0;    // as of Conv2d
  struct Shortcut {
    Buffer x = kNone, weights = kNone, bias = kNone;
  };
  Shortcut shortcut{};
};
void lower_grid(Lower&, const GridProblem&, const GridOperands&);
/// What the direct kernels of both types read and write in a run.
void bind_operands(const Run&, const GridOperands&, int64_t weights_offset, Conv2d& args);
/// Bytes that a task of the direct kernel needs.
size_t direct_scratch(const Conv2dPlan&);

// ops/conv2d_bf16.cpp
/// How a convolution's pictures lie: a kernel whose name ends in "bf16" reads and writes Layout::blocked_bf16.
Layout conv2d_layout(const Node&);
void lower_bf16(Lower&, const GridProblem&, const GridOperands&);
/// Arguments without operands, and the bytes that a task needs.
Conv2dBf16 bf16_args(const Conv2dPlan&);
size_t bf16_scratch(const Conv2dPlan&);
/// Forward on up to four channels in plain layout.
void lower_narrow(Lower&, const Conv2dShape&);
bool fits_narrow(const Conv2dShape&);
bool fits_gpu_narrow(const Conv2dShape&);
/// Bytes of the packed weights, in units of four, and the launch that packs them.
int64_t narrow_words(const Conv2dShape&);
void lower_narrow_pack(Lower&, const Conv2dShape&);

// ops/conv2d_expand.cpp
/// A 1x1 convolution and the depthwise one that reads it (compile/expand.cpp).
void lower_expansion(Lower&);

// ops/conv2d_narrow.cpp
/// Is the node's convolution, forward and in f32, computed from plain pictures of few channels? Records why not.
bool takes_narrow(Select&, const Conv2dShape&);
void lower_narrow(Lower&, const GridProblem&, const GridOperands&);

// ops/conv2d_split.cpp
/// Is the node's convolution computed from bf16 parts of its f32 pictures? Records why not.
bool takes_split(Select&, const Conv2dShape&, bool by_weights);
void lower_split(Lower&, const GridProblem&, const GridOperands&);

// ops/conv2d_weights_bf16.cpp
/// `form`: "bf16", or "split" where pictures are in f32; "narrow_…": x of up to four channels in plain layout.
void lower_weights_bf16(Lower&, const Conv2dShape&, const std::string& form);
/// Its two launches apart, with a picture's sums in so many words.
int64_t weights_bf16_words(const Conv2dShape&);
void lower_weights_bf16_sums(Lower&, const Conv2dShape&);
void lower_weights_bf16_join(Lower&, const Conv2dShape&);

// ops/conv2d_gemm.cpp
/// "gemm" or "gemm_bf16", the forms of GPUs.
bool is_gemm(const std::string& form);
void lower_gemm(Lower&, const GridProblem&, const GridOperands&);
/// Size of a grid's packed weights, and the launch that packs them. `channels`: of the packed product.
int64_t gemm_floats(const std::string& form, const Channels& channels, int64_t taps);
void lower_gemm_pack(Lower&, const Channels& channels, const Grid&, const Shape& weight, int64_t offset);
void lower_gemm_weights(Lower&, const Conv2dShape&);

}  // namespace thaw
