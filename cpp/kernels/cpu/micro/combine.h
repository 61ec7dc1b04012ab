#pragma once
// Broadcasting arithmetic: an odometer over the rows, vectors along the last dimension. A `Row` computes one row:
//   run<vary_a, vary_b>(a, b, y, n, f)   y[i] = f(a[i], b[i]); an operand that does not vary is one element for all
#include "kernels/cpu/micro/vec.h"
#include "kernels/elementwise.h"

namespace thaw {
namespace THAW_ISA {
namespace {

struct Add {
  V16 operator()(V16 a, V16 b) const { return add(a, b); }
};
struct Multiply {
  V16 operator()(V16 a, V16 b) const { return mul(a, b); }
};

struct Odometer {
  int64_t index[kMaxRank];
  int64_t a, b;
};

template <class Args>
Odometer start(const Args& args, int64_t first) {
  Odometer at{};
  for (int64_t d = args.rank - 2; d >= 0; --d) {
    at.index[d] = first % args.sizes[d];
    first /= args.sizes[d];
    at.a += at.index[d] * args.a_strides[d];
    at.b += at.index[d] * args.b_strides[d];
  }
  return at;
}

template <class Args>
THAW_INLINE void advance(const Args& args, Odometer& at) {
  for (int64_t d = args.rank - 2; d >= 0; --d) {
    at.a += args.a_strides[d];
    at.b += args.b_strides[d];
    if (++at.index[d] < args.sizes[d]) return;
    at.a -= args.sizes[d] * args.a_strides[d];
    at.b -= args.sizes[d] * args.b_strides[d];
    at.index[d] = 0;
  }
}

template <class Row, bool vary_a, bool vary_b, class F>
void rows(const CombineOf<typename Row::Element>& args, int64_t task, F f) {
  constexpr int64_t unit = CombineOf<typename Row::Element>::kUnit;
  const int64_t first = task * args.rows_per_task;
  const int64_t last = first + args.rows_per_task < args.rows ? first + args.rows_per_task : args.rows;
  const int64_t n = args.sizes[args.rank - 1];
  Odometer at = start(args, first);
  for (int64_t r = first; r < last; ++r) {
    Row::template run<vary_a, vary_b>(args.a + at.a * unit, args.b + at.b * unit, args.y + r * n * unit, n, f);
    advance(args, at);
  }
}

template <class Row, class F>
void all_rows(const CombineOf<typename Row::Element>& args, int64_t task, F f) {
  const bool vary_a = args.a_strides[args.rank - 1] != 0, vary_b = args.b_strides[args.rank - 1] != 0;
  if (vary_a && vary_b) return rows<Row, true, true>(args, task, f);
  if (vary_a) return rows<Row, true, false>(args, task, f);
  return vary_b ? rows<Row, false, true>(args, task, f) : rows<Row, false, false>(args, task, f);
}

/// A space of one dimension is cut into chunks instead of rows.
template <class Row, class F>
void combine(const CombineOf<typename Row::Element>& args, int64_t task, F f) {
  constexpr int64_t unit = CombineOf<typename Row::Element>::kUnit, chunk = kChunk / unit;
  if (args.rank > 1 || args.sizes[0] <= chunk) return all_rows<Row>(args, task, f);
  CombineOf<typename Row::Element> part = args;
  const int64_t begin = task * chunk;
  part.a += begin * args.a_strides[0] * unit;
  part.b += begin * args.b_strides[0] * unit;
  part.y += begin * unit;
  part.sizes[0] = args.sizes[0] - begin < chunk ? args.sizes[0] - begin : chunk;
  all_rows<Row>(part, 0, f);
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
