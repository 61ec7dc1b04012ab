#pragma once
// How work along one dimension is cut into tasks (see kernels/cpu/micro/lines.h).
#include <algorithm>

#include "kernels/activation.h"
#include "ops/op.h"

namespace thaw {

/// A shape seen as [outer][n][inner] around one axis; a unit is one line along the axis, or 16 side by side.
struct Units {
  int64_t outer, n, inner;
  int64_t per_task, tasks;
};

/// `axis` may count from the end.
inline Units units_along(const Shape& shape, int64_t axis) {
  if (axis < 0) axis += static_cast<int64_t>(shape.size());
  Units u{1, shape[axis], 1, 1, 0};
  for (int64_t d = 0; d < static_cast<int64_t>(shape.size()); ++d) {
    if (d != axis) (d < axis ? u.outer : u.inner) *= shape[d];
  }
  const int64_t units = u.outer * ((u.inner + 15) / 16);
  const int64_t work = std::max<int64_t>(1, u.n * std::min<int64_t>(u.inner, 16));
  u.per_task = std::max<int64_t>(1, kChunk / 4 / work);
  u.tasks = (units + u.per_task - 1) / u.per_task;
  return u;
}

}  // namespace thaw
