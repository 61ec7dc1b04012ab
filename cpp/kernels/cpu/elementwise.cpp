// Broadcasting arithmetic: an odometer over the rows, vectors along the last dimension.
#include "kernels/elementwise.h"
#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

struct Add {
  V16 operator()(V16 a, V16 b) const { return add(a, b); }
};
struct Multiply {
  V16 operator()(V16 a, V16 b) const { return mul(a, b); }
};

/// One row of n elements; an operand with step 0 is one element for the whole row.
template <bool vary_a, bool vary_b, class F>
THAW_INLINE void row(const float* a, const float* b, float* y, int64_t n, F f) {
  const V16 fixed_a = broadcast(*a), fixed_b = broadcast(*b);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    storeu(y + i, f(vary_a ? loadu(a + i) : fixed_a, vary_b ? loadu(b + i) : fixed_b));
  }
  const int64_t rest = n - i;
  if (rest > 0) store_n(y + i, f(vary_a ? load_n(a + i, rest) : fixed_a, vary_b ? load_n(b + i, rest) : fixed_b), rest);
}

struct Odometer {
  int64_t index[kMaxRank];
  int64_t a, b;
};

Odometer start(const Combine& args, int64_t first) {
  Odometer at{};
  for (int64_t d = args.rank - 2; d >= 0; --d) {
    at.index[d] = first % args.sizes[d];
    first /= args.sizes[d];
    at.a += at.index[d] * args.a_strides[d];
    at.b += at.index[d] * args.b_strides[d];
  }
  return at;
}

THAW_INLINE void advance(const Combine& args, Odometer& at) {
  for (int64_t d = args.rank - 2; d >= 0; --d) {
    at.a += args.a_strides[d];
    at.b += args.b_strides[d];
    if (++at.index[d] < args.sizes[d]) return;
    at.a -= args.sizes[d] * args.a_strides[d];
    at.b -= args.sizes[d] * args.b_strides[d];
    at.index[d] = 0;
  }
}

template <bool vary_a, bool vary_b, class F>
void rows(const Combine& args, int64_t task, F f) {
  const int64_t first = task * args.rows_per_task;
  const int64_t last = first + args.rows_per_task < args.rows ? first + args.rows_per_task : args.rows;
  const int64_t n = args.sizes[args.rank - 1];
  Odometer at = start(args, first);
  for (int64_t r = first; r < last; ++r) {
    row<vary_a, vary_b>(args.a + at.a, args.b + at.b, args.y + r * n, n, f);
    advance(args, at);
  }
}

/// A space of one dimension is cut into chunks instead of rows.
template <class F>
void combine(const Combine& args, int64_t task, F f);

template <class F>
void combine_chunk(const Combine& args, int64_t task, F f) {
  Combine chunk = args;
  const int64_t begin = task * kChunk;
  chunk.a += begin * args.a_strides[0];
  chunk.b += begin * args.b_strides[0];
  chunk.y += begin;
  chunk.sizes[0] = args.sizes[0] - begin < kChunk ? args.sizes[0] - begin : kChunk;
  combine(chunk, 0, f);
}

template <class F>
void combine(const Combine& args, int64_t task, F f) {
  if (args.rank == 1 && args.sizes[0] > kChunk) return combine_chunk(args, task, f);
  const bool vary_a = args.a_strides[args.rank - 1] != 0, vary_b = args.b_strides[args.rank - 1] != 0;
  if (vary_a && vary_b) return rows<true, true>(args, task, f);
  if (vary_a) return rows<true, false>(args, task, f);
  return vary_b ? rows<false, true>(args, task, f) : rows<false, false>(args, task, f);
}

void sum(const Combine& args, int64_t task, void*) { combine(args, task, Add{}); }
void product(const Combine& args, int64_t task, void*) { combine(args, task, Multiply{}); }

void expand(const Combine& args, int64_t task, void*) {
  Combine with_factor = args;
  with_factor.b = &args.factor;
  for (int64_t d = 0; d < kMaxRank; ++d) with_factor.b_strides[d] = 0;
  combine(with_factor, task, Multiply{});
}

int64_t chunk_end(int64_t count, int64_t task) { return (task + 1) * kChunk < count ? (task + 1) * kChunk : count; }

void scale(const Scale& args, int64_t task, void*) {
  const V16 factor = broadcast(args.s == nullptr ? args.factor : args.factor * *args.s);
  const int64_t end = chunk_end(args.count, task);
  for (int64_t i = task * kChunk; i < end; i += kLanes) {
    const int64_t lanes = end - i < kLanes ? end - i : kLanes;
    store_n(args.y + i, mul(load_n(args.x + i, lanes), factor), lanes);
  }
}

void block(const Block& args, int64_t task, void*) {
  const int64_t left = args.channels - task * kLanes, lanes = left < kLanes ? left : kLanes;
  const float* x = args.x + task * kLanes * args.spatial;
  float* y = args.y + task * kLanes * args.spatial;
  for (int64_t s = 0; s < args.spatial; ++s) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      y[s * kLanes + lane] = lane < lanes ? x[lane * args.spatial + s] : 0.0f;
    }
  }
}

void fill(const Fill& args, int64_t task, void*) {
  const V16 value = broadcast(args.value);
  const int64_t end = chunk_end(args.count, task);
  for (int64_t i = task * kChunk; i < end; i += kLanes) store_n(args.y + i, value, end - i < kLanes ? end - i : kLanes);
}

}  // namespace

extern const ElementwiseKernels elementwise = {sum, product, expand, scale, block, fill};

}  // namespace THAW_ISA
}  // namespace thaw
