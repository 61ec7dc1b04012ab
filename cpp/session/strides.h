#pragma once
// Tensors whose elements lie apart: steps in elements for each dimension.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "session/store.h"

namespace thaw {

/// Throws ERR_SHAPE unless there is one stride of 0 or more per dimension of the tensor `name`.
void check_strides(const Shape& shape, const std::vector<int64_t>& strides, const std::string& name);
/// Bytes from the first to the last of elements of `element` bytes each; at most `limit` + 1, which says "beyond".
uint64_t strided_span(const Shape& shape, const std::vector<int64_t>& strides, uint64_t element, uint64_t limit);
/// Copies a strided tensor of `bytes` bytes into row-major order.
void gather(const Shape& shape, const std::vector<int64_t>& strides, size_t element, size_t bytes, const char* source,
            char* target);

}  // namespace thaw
