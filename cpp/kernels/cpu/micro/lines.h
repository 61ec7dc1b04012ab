#pragma once
// Walking the middle dimension of [outer][n][inner] with vectors, for softmax and what is like it.
//   along   inner is 1: a vector holds 16 neighbours of one line, sums join the lanes
//   across  a vector holds one element each of up to 16 lines side by side
// A unit of work is one line, or up to 16 lines.
#include "kernels/cpu/micro/vec.h"
#include "kernels/cpu/micro/wide.h"

namespace thaw {
namespace THAW_ISA {
namespace {

alignas(64) constexpr float kLaneNumbers[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/// The first n lanes from memory, `otherwise` in the others.
THAW_INLINE V16 load_or(const float* p, int64_t n, float otherwise) {
  if (n == kLanes) return loadu(p);
  return select(less(load(kLaneNumbers), broadcast(static_cast<float>(n))), load_n(p, n), broadcast(otherwise));
}

/// The larger of both, NaN where either is.
THAW_INLINE V16 larger(V16 a, V16 b) { return select(is_nan(a), a, maximum(a, b)); }

/// The largest lane, NaN where one is.
THAW_INLINE float largest_lane(V16 x) { return any(is_nan(x)) ? __builtin_nanf("") : reduce_max(x); }

THAW_INLINE int64_t units_of(int64_t outer, int64_t inner) { return outer * ((inner + kLanes - 1) / kLanes); }

template <bool is_along>
struct Lines {
  static constexpr bool along = is_along;
  int64_t n, inner;
  int64_t begin;  // offset of the first element
  int64_t first;  // number of the first line: outer * inner + its place in inner
  int64_t lines;

  Lines(int64_t n, int64_t inner, int64_t unit) : n(n), inner(inner) {
    const int64_t blocks = (inner + kLanes - 1) / kLanes, column = unit % blocks * kLanes, o = unit / blocks;
    begin = o * n * inner + column;
    first = o * inner + column;
    lines = inner - column < kLanes ? inner - column : kLanes;
  }
  int64_t steps() const { return along ? (n + kLanes - 1) / kLanes : n; }
  int64_t lanes(int64_t i) const {
    if constexpr (!along) return lines;
    return n - i * kLanes < kLanes ? n - i * kLanes : kLanes;
  }
  int64_t at(int64_t i) const { return begin + (along ? i * kLanes : i * inner); }
  /// Numbers along the middle dimension of the lanes of step i.
  V16 numbers(int64_t i) const {
    if constexpr (!along) return broadcast(static_cast<float>(i));
    return add(load(kLaneNumbers), broadcast(static_cast<float>(i * kLanes)));
  }
  /// One number for each line, in every lane that belongs to the line.
  V16 per_line(const float* p) const { return along ? broadcast(p[first]) : load_n(p + first, lines); }
  V16 joined_max(V16 x) const { return along ? broadcast(largest_lane(x)) : x; }
  V16 joined_sum(W16 x) const { return along ? broadcast(static_cast<float>(wide_reduce(x))) : narrow(x); }
};

/// f(Lines) for the units of one task.
template <class F>
THAW_INLINE void for_units(int64_t outer, int64_t n, int64_t inner, int64_t units_per_task, int64_t task, const F& f) {
  const int64_t units = units_of(outer, inner), begin = task * units_per_task;
  const int64_t end = begin + units_per_task < units ? begin + units_per_task : units;
  for (int64_t unit = begin; unit < end; ++unit) {
    if (inner == 1) f(Lines<true>(n, inner, unit));
    else f(Lines<false>(n, inner, unit));
  }
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
