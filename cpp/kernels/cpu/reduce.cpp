// Reductions along one dimension: vectors across `inner`, or along the row where inner is 1.
#include "kernels/reduce.h"
#include "kernels/cpu/micro/lines.h"

namespace thaw {
namespace THAW_ISA {
namespace {

struct Sum {
  using Total = W16;
  static constexpr float kNeutral = 0.0f;
  static Total empty() { return wide_zero(); }
  static Total take(Total t, V16 x) { return wide_add(t, widen(x)); }
  static V16 across(Total t, double factor) { return narrow(wide_mul(t, wide_broadcast(factor))); }
  static float along(Total t, double factor) { return static_cast<float>(wide_reduce(t) * factor); }
};

struct Max {
  using Total = V16;
  static constexpr float kNeutral = -__builtin_inff();
  static Total empty() { return broadcast(kNeutral); }
  static Total take(Total t, V16 x) { return larger(t, x); }
  static V16 across(Total t, double) { return t; }
  static float along(Total t, double) { return largest_lane(t); }
};

template <class Kind>
void reduce_row(const float* x, int64_t n, float* y, double factor) {
  typename Kind::Total total = Kind::empty();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) total = Kind::take(total, loadu(x + i));
  if (i < n) total = Kind::take(total, load_or(x + i, n - i, Kind::kNeutral));
  *y = Kind::along(total, factor);
}

/// `vectors` * 16 columns, the last with `lanes`.
template <class Kind, int vectors>
void reduce_columns(const float* x, int64_t length, int64_t stride, int64_t lanes, float* y, double factor) {
  typename Kind::Total total[vectors];
  THAW_UNROLL
  for (int v = 0; v < vectors; ++v) total[v] = Kind::empty();
  for (int64_t r = 0; r < length; ++r, x += stride) {
    THAW_UNROLL
    for (int v = 0; v < vectors; ++v) {
      total[v] = Kind::take(total[v], load_n(x + v * kLanes, v == vectors - 1 ? lanes : kLanes));
    }
  }
  THAW_UNROLL
  for (int v = 0; v < vectors; ++v) {
    store_n(y + v * kLanes, Kind::across(total[v], factor), v == vectors - 1 ? lanes : kLanes);
  }
}

template <class Kind>
void reduce_unit(const Reduce& args, int64_t unit) {
  const int64_t column_blocks = (args.inner + kReduceColumns - 1) / kReduceColumns;
  const int64_t column = unit % column_blocks * kReduceColumns, line = unit / column_blocks;
  const int64_t part = line % args.parts, o = line / args.parts;
  const int64_t begin = part * args.part, left = args.length - begin;
  const int64_t length = left < args.part ? left : args.part;
  const float* x = args.x + (o * args.length + begin) * args.inner + column;
  float* y = args.y + line * args.inner + column;
  if (args.inner == 1) return reduce_row<Kind>(x, length, y, args.factor);
  const int64_t columns = args.inner - column < kReduceColumns ? args.inner - column : kReduceColumns;
  const int64_t vectors = (columns + kLanes - 1) / kLanes, lanes = columns - (vectors - 1) * kLanes;
  switch (vectors) {
    case 1: return reduce_columns<Kind, 1>(x, length, args.inner, lanes, y, args.factor);
    case 2: return reduce_columns<Kind, 2>(x, length, args.inner, lanes, y, args.factor);
    case 3: return reduce_columns<Kind, 3>(x, length, args.inner, lanes, y, args.factor);
    default: return reduce_columns<Kind, 4>(x, length, args.inner, lanes, y, args.factor);
  }
}

template <class Kind>
void reduce_task(const Reduce& args, int64_t task) {
  const int64_t units = args.outer * args.parts * ((args.inner + kReduceColumns - 1) / kReduceColumns);
  const int64_t first = task * args.units_per_task;
  const int64_t last = first + args.units_per_task < units ? first + args.units_per_task : units;
  for (int64_t unit = first; unit < last; ++unit) reduce_unit<Kind>(args, unit);
}

void sum(const Reduce& args, int64_t task, void*) { reduce_task<Sum>(args, task); }
void max(const Reduce& args, int64_t task, void*) { reduce_task<Max>(args, task); }

/// Offset in x of element i of the dimensions [first, last).
int64_t offset_of(const ReduceMaxBackward& args, int64_t i, int64_t first, int64_t last) {
  int64_t offset = 0;
  for (int64_t d = last - 1; d >= first; --d) {
    offset += i % args.sizes[d] * args.strides[d];
    i /= args.sizes[d];
  }
  return offset;
}

void max_backward(const ReduceMaxBackward& args, int64_t task, void*) {
  const int64_t rank = args.kept_rank + args.reduced_rank;
  int64_t length = 1;
  for (int64_t d = args.kept_rank; d < rank; ++d) length *= args.sizes[d];
  const int64_t first = task * args.kept_per_task;
  const int64_t last = first + args.kept_per_task < args.kept ? first + args.kept_per_task : args.kept;
  for (int64_t k = first; k < last; ++k) {
    const int64_t base = offset_of(args, k, 0, args.kept_rank);
    int64_t ties = 0;
    for (int64_t r = 0; r < length; ++r) ties += args.x[base + offset_of(args, r, args.kept_rank, rank)] == args.y[k];
    const float share = ties > 0 ? args.dy[k] / static_cast<float>(ties) : 0.0f;
    for (int64_t r = 0; r < length; ++r) {
      const int64_t i = base + offset_of(args, r, args.kept_rank, rank);
      args.dx[i] = args.x[i] == args.y[k] ? share : 0.0f;
    }
  }
}

}  // namespace

extern const ReduceKernels reduce = {sum, max, max_backward};

}  // namespace THAW_ISA
}  // namespace thaw
