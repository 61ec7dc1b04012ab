// Parameter updates; formulas in kernels/optim.h. The last few elements go through the same operations as the others,
// so that an element's result does not depend on its place.
#include "kernels/optim.h"

#include "kernels/cpu/micro/wide.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// Calls body(offset, lanes) for each sixteen elements and for the rest.
template <class Body>
THAW_INLINE void each_line(int64_t count, const Body& body) {
  for (int64_t i = 0; i < count; i += 16) body(i, count - i < 16 ? count - i : 16);
}

THAW_INLINE V16 distance(V16 weight, const float* origin, int64_t i, int64_t n) {
  return origin ? sub(weight, load_n(origin + i, n)) : weight;
}

void sgd(const SgdUpdate& a) {
  const V16 scale = broadcast(a.scale), rate = broadcast(a.rate), decay = broadcast(a.decay);
  const V16 momentum = broadcast(a.momentum);
  each_line(a.count, [&](int64_t i, int64_t n) {
    const V16 w = load_n(a.weight + i, n);
    V16 g = mul(load_n(a.gradient + i, n), scale);
    if (a.decay != 0) g = fma(decay, distance(w, a.origin, i, n), g);
    if (a.momentum_sum) {
      const V16 b = fma(momentum, load_n(a.momentum_sum + i, n), g);
      store_n(a.momentum_sum + i, b, n);
      g = a.nesterov ? fma(momentum, b, g) : b;
    }
    store_n(a.weight + i, fnma(rate, g, w), n);
  });
}

void adam(const AdamUpdate& a) {
  const V16 scale = broadcast(a.scale), decay = broadcast(a.decay), shrink = broadcast(a.shrink);
  const V16 beta1 = broadcast(a.beta1), rest1 = broadcast(a.rest1), beta2 = broadcast(a.beta2);
  const V16 rest2 = broadcast(a.rest2), step = broadcast(a.step), root = broadcast(a.root), eps = broadcast(a.eps);
  each_line(a.count, [&](int64_t i, int64_t n) {
    V16 w = load_n(a.weight + i, n);
    V16 g = mul(load_n(a.gradient + i, n), scale);
    if (a.decay != 0) g = fma(decay, distance(w, a.origin, i, n), g);
    if (a.shrink != 0) w = fnma(shrink, distance(w, a.origin, i, n), w);
    const V16 m = fma(beta1, load_n(a.first + i, n), mul(rest1, g));
    const V16 v = fma(beta2, load_n(a.second + i, n), mul(mul(rest2, g), g));
    store_n(a.first + i, m, n);
    store_n(a.second + i, v, n);
    store_n(a.weight + i, fnma(step, div(m, add(div(sqrt(v), root), eps)), w), n);
  });
}

double square_sum(const Stretch& a) {
  W16 sum = wide_zero();
  each_line(a.count, [&](int64_t i, int64_t n) {
    const W16 x = widen(load_n(a.x + i, n));
    sum = wide_fma(x, x, sum);
  });
  return wide_reduce(sum);
}

void add_to(const Stretch& a) {
  each_line(a.count, [&](int64_t i, int64_t n) {
    store_n(a.y + i, add(load_n(a.y + i, n), load_n(a.x + i, n)), n);
  });
}

}  // namespace

extern const OptimKernels optim = {sgd, adam, square_sum, add_to};

}  // namespace THAW_ISA
}  // namespace thaw
