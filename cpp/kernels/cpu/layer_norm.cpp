// Layer norm; statistics in double, where the sum of squares needs no shift.
#include "kernels/layer_norm.h"
#include "kernels/cpu/micro/vec.h"
#include "kernels/cpu/micro/wide.h"

namespace thaw {
namespace THAW_ISA {
namespace {

THAW_INLINE int64_t lanes_at(int64_t n, int64_t i) { return n - i < kLanes ? n - i : kLanes; }
THAW_INLINE V16 load_or_one(const float* p, int64_t i, int64_t lanes) {
  return p == nullptr ? broadcast(1.0f) : load_n(p + i, lanes);
}

void forward_row(const LayerNorm& args, int64_t row) {
  const float* x = args.x + row * args.n;
  W16 sum = wide_zero(), squares = wide_zero();
  for (int64_t i = 0; i < args.n; i += kLanes) {
    const W16 v = widen(load_n(x + i, lanes_at(args.n, i)));
    sum = wide_add(sum, v);
    squares = wide_fma(v, v, squares);
  }
  const double mean = wide_reduce(sum) / static_cast<double>(args.n);
  const double variance = wide_reduce(squares) / static_cast<double>(args.n) - mean * mean;
  const double invstd = 1.0 / __builtin_sqrt((variance > 0 ? variance : 0) + args.eps);
  args.mean[row] = static_cast<float>(mean);
  args.invstd[row] = static_cast<float>(invstd);
  const V16 shift = broadcast(static_cast<float>(mean)), scale = broadcast(static_cast<float>(invstd));
  for (int64_t i = 0; i < args.n; i += kLanes) {
    const int64_t lanes = lanes_at(args.n, i);
    const V16 xhat = mul(sub(load_n(x + i, lanes), shift), scale);
    const V16 bias = args.bias == nullptr ? zero() : load_n(args.bias + i, lanes);
    store_n(args.y + row * args.n + i, fma(xhat, load_or_one(args.weight, i, lanes), bias), lanes);
  }
}

void backward_row(const LayerNormBackward& args, int64_t row) {
  const float* dy = args.dy + row * args.n;
  const float* x = args.x + row * args.n;
  const V16 shift = broadcast(args.mean[row]), scale = broadcast(args.invstd[row]);
  W16 sum = wide_zero(), along = wide_zero();
  for (int64_t i = 0; i < args.n; i += kLanes) {
    const int64_t lanes = lanes_at(args.n, i);
    const V16 g = mul(load_n(dy + i, lanes), load_or_one(args.weight, i, lanes));  // zero beyond the row
    sum = wide_add(sum, widen(g));
    along = wide_fma(widen(g), widen(mul(sub(load_n(x + i, lanes), shift), scale)), along);
  }
  const double n = static_cast<double>(args.n);
  const V16 mean_g = broadcast(static_cast<float>(wide_reduce(sum) / n));
  const V16 slope = broadcast(static_cast<float>(wide_reduce(along) / n));
  for (int64_t i = 0; i < args.n; i += kLanes) {
    const int64_t lanes = lanes_at(args.n, i);
    const V16 g = mul(load_n(dy + i, lanes), load_or_one(args.weight, i, lanes));
    const V16 xhat = mul(sub(load_n(x + i, lanes), shift), scale);
    store_n(args.dx + row * args.n + i, mul(scale, fnma(xhat, slope, sub(g, mean_g))), lanes);
  }
}

void forward(const LayerNorm& args, int64_t task, void*) {
  const int64_t begin = task * args.rows_per_task, end = begin + args.rows_per_task;
  for (int64_t row = begin; row < end && row < args.rows; ++row) forward_row(args, row);
}

void backward(const LayerNormBackward& args, int64_t task, void*) {
  const int64_t begin = task * args.rows_per_task, end = begin + args.rows_per_task;
  for (int64_t row = begin; row < end && row < args.rows; ++row) backward_row(args, row);
}

void backward_weight(const LayerNormWeight& args, int64_t task, void*) {
  const int64_t begin = task * args.rows_per_part;
  const int64_t end = begin + args.rows_per_part < args.rows ? begin + args.rows_per_part : args.rows;
  for (int64_t i = 0; i < args.n; i += kLanes) {
    const int64_t lanes = lanes_at(args.n, i);
    W16 sum = wide_zero();
    for (int64_t row = begin; row < end; ++row) {
      const V16 centred = sub(load_n(args.x + row * args.n + i, lanes), broadcast(args.mean[row]));
      const V16 xhat = mul(centred, broadcast(args.invstd[row]));
      sum = wide_fma(widen(load_n(args.dy + row * args.n + i, lanes)), widen(xhat), sum);
    }
    store_n(args.partial + task * args.n + i, narrow(sum), lanes);
  }
}

}  // namespace

extern const LayerNormKernels layer_norm = {forward, backward, backward_weight};

}  // namespace THAW_ISA
}  // namespace thaw
