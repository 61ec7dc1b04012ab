#pragma once
// What sum_to, reduce and the gradients of norms share: reduction over any set of dimensions.
#include "kernels/reduce.h"
#include "ops/op.h"

namespace thaw {

/// A dimension of what is reduced; the physical space of a blocked value has its own.
struct Extent {
  int64_t size;
  bool reduced;
};

using ReduceKernel = void (*)(const Reduce&, int64_t task, void* scratch);

/// y = factor * reduction of x, kept dimensions in order. One launch per run of adjacent reduced dimensions, innermost
/// first, and one more where a long sum is cut into parts.
void lower_reduction(Lower&, ReduceKernel, Buffer x, const std::vector<Extent>& extents, Buffer y, double factor);
/// y[i] = x[i], `n` elements.
void lower_copy(Lower&, Buffer x, Buffer y, int64_t n);

}  // namespace thaw
