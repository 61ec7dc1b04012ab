#pragma once
// The form "winograd" of a convolution: where it is taken, its packed weights, its launches.
#include "kernels/conv2d_winograd.h"
#include "ops/conv2d_pack.h"

namespace thaw {

/// A kernel of 3×3 with stride 1, dilation 1 and one group.
bool fits_winograd(const Conv2dShape&);

/// Is the node's convolution or its gradient by x, in f32, computed so? Records why not.
bool takes_winograd(Select&, const Conv2dShape&, bool backward);

/// Are the weights transformed once, when they are packed? Else they are packed as for the direct kernel and
/// transformed by each launch. Both give the same bits.
bool winograd_prepares(const Shape& weight);

/// Shapes of one grid; tiles are neither grouped nor panels counted.
Winograd winograd_shapes(const GridProblem&);
void bind_winograd(const Run&, const GridOperands&, Winograd& args);

void lower_winograd_pack(Lower&, const Conv2dShape&);
void lower_winograd(Lower&, const GridProblem&, const GridOperands&);

// ops/conv2d_winograd_split.cpp: the same on tiles of bf16, from weights packed for the direct kernel.
/// Does a picture have tiles enough for what their weights cost? In inference those of the other form are transformed once.
bool pays_winograd_split(const Select&, const Conv2dShape&, bool backward);
void lower_winograd_split(Lower&, const GridProblem&, const GridOperands&);

// ops/conv2d_winograd_weights.cpp: the gradient by weights in f32.
bool takes_winograd_weights(Select&, const Conv2dShape&);
void lower_winograd_weights(Lower&, const Conv2dShape&);

}  // namespace thaw
