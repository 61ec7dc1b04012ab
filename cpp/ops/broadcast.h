#pragma once
// PyTorch's broadcasting: shapes are aligned at their last dimensions, a dimension of 1 is repeated.
#include "graph/graph.h"

namespace thaw {

/// The shape both broadcast to; false where they do not.
bool broadcast_shapes(const Shape& a, const Shape& b, Shape& out);
/// Strides of `shape` (row-major) aligned to `out`, 0 where it is repeated.
Shape broadcast_strides(const Shape& shape, const Shape& out);
/// Row-major strides.
Shape strides_of(const Shape& shape);

}  // namespace thaw
