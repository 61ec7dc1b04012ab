#pragma once
// What add, multiply and the gradients of reductions share: elementwise arithmetic over broadcast operands.
#include "kernels/elementwise.h"
#include "ops/op.h"

namespace thaw {

/// Shape rule of a broadcasting operator with two f32 operands.
void infer_combine(Infer&);
/// Blocked where an operand is; an operand whose channels are repeated stays plain, and bf16 is left for f32 then.
void layout_combine(const Graph&, const Node&, Layouts&);
/// Adds `gradient` to operand i, summed to the operand's shape.
void add_summed(Gradient&, size_t i, ValueId gradient);

using CombineKernel = void (*)(const Combine&, int64_t task, void* scratch);
using CombineBf16Kernel = void (*)(const CombineBf16&, int64_t task, void* scratch);
/// y = kernel(operand 0, operand 1) in the layouts of the node.
void lower_combine(Lower&, CombineKernel, CombineBf16Kernel);
/// y = a * factor repeated to `out`, both plain; `a_shape` is aligned with `out` and has 1 where it is repeated.
void lower_expand(Lower&, Buffer a, const Shape& a_shape, Buffer y, const Shape& out, float factor);

}  // namespace thaw
