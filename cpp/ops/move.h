#pragma once
// What the operators of shape.cpp share: how a map of indices becomes launches, in either layout.
#include <vector>

#include "kernels/shape.h"
#include "ops/op.h"

namespace thaw {

/// For each index of an output dimension the index of the operand that it takes, or -1: filled.
using IndexMap = std::vector<int64_t>;
/// For each output dimension the offsets, in elements of the operand, that Gather adds up (-1: filled).
using Tables = std::vector<std::vector<int64_t>>;

Shape plain_strides(const Shape&);
/// `element` bytes each; `fill` in every float of an element.
void lower_gather(Lower&, Tables tables, int64_t element, float fill);
/// y[i, j, …] = x[maps[0][i], maps[1][j], …], or `fill`. A blocked operand has its channels changed, or the rest, not
/// both.
void lower_map(Lower&, const std::vector<IndexMap>& maps, float fill);
/// Does every operand of this concat along channels begin with a block?
bool joins_blocks(const Graph&, const Node&);
/// All operands one after another along `axis`.
void lower_join(Lower&, size_t axis);

}  // namespace thaw
