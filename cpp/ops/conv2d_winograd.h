#pragma once
// The form "winograd" of a convolution: where it is taken, its packed weights, its launches.
#include "ops/conv2d_pack.h"

namespace thaw {

/// Is the node's convolution, forward and in f32, computed so? Records why not.
bool takes_winograd(Select&, const Conv2dShape&);

/// Are the weights transformed once, when they are packed? Else they are packed as for the direct kernel and
/// transformed by each launch. Both give the same bits.
bool winograd_prepares(const Shape& weight);

void lower_winograd_pack(Lower&, const Conv2dShape&);
void lower_winograd(Lower&, const GridProblem&, const GridOperands&);

}  // namespace thaw
