#pragma once
// Choice of kernel and packing of weights, shared by conv2d and conv2d_backward_data.
#include "ops/conv2d_geometry.h"

namespace thaw {

/// Where each grid's weights begin in the packed value, and behind the last its size. `attrs` are those of conv2d_pack.
std::vector<int64_t> packed_offsets(const Json& attrs, const Shape& weight);

/// Takes the first kernel that fits and replaces operand 1 by its packed form. Attributes "weight_shape" and "pack"
/// keep what the weights were and how they were packed.
void select_packed(Select&, bool backward);

/// Adds the launch of one grid; `weights_offset` as in packed_offsets.
struct GridOperands {
  Buffer x, weights, bias, residual, y;
  Activation activation = Activation::none;
  float alpha = 0;
};
void lower_grid(Lower&, const GridProblem&, bool depthwise, const GridOperands&);

}  // namespace thaw
