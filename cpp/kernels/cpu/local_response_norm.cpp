// Local response normalisation; formulas in kernels/local_response_norm.h. One pixel at a time: its channels are laid
// out in a row with zeros at both ends, so that a window is a few unaligned loads.
#include "kernels/local_response_norm.h"

#include "kernels/cpu/micro/math.h"

namespace thaw {
namespace THAW_ISA {
namespace {

struct Task {
  int64_t blocks, first, last, picture;  // picture: offset of its first element
};

Task task_of(const LocalResponseNorm& a, int64_t task) {
  const int64_t blocks = (a.channels + 15) / 16, parts = (a.pixels + kResponsePixels - 1) / kResponsePixels;
  const int64_t first = task % parts * kResponsePixels, last = first + kResponsePixels;
  return {blocks, first, last < a.pixels ? last : a.pixels, task / parts * blocks * a.pixels * 16};
}

/// A row of channels with `before` zeros ahead of it and enough behind.
struct Row {
  float* start;
  int64_t before;

  Row(void* memory, int64_t index, const LocalResponseNorm& a, int64_t margin)
      : start(static_cast<float*>(memory) + index * (a.channels + 32 + 2 * a.size)), before(margin) {
    for (int64_t i = 0; i < a.channels + 32 + 2 * a.size; ++i) start[i] = 0;
  }
  /// Writes a block's channels; lanes beyond C stay zero.
  void put(int64_t block, V16 value, int64_t channels) const {
    const int64_t lanes = channels - block * 16;
    store_n(start + before + block * 16, value, lanes < 16 ? lanes : 16);
  }
  V16 window(int64_t block, int64_t size) const {
    V16 sum = zero();
    for (int64_t i = 0; i < size; ++i) sum = add(sum, loadu(start + block * 16 + i));
    return sum;
  }
};

/// s^-beta. Roots are exact to half a unit, so the customary beta takes them.
V16 power(V16 s, float beta) {
  if (beta == 0.75f) {
    const V16 root = sqrt(s);
    return div(broadcast(1), mul(root, sqrt(root)));
  }
  if (beta == 0.5f) return div(broadcast(1), sqrt(s));
  if (beta == 1.0f) return div(broadcast(1), s);
  return exp(mul(broadcast(-beta), log(s)));
}

V16 spread(const LocalResponseNorm& a, const Row& squares, int64_t block) {
  return fma(broadcast(a.alpha / static_cast<float>(a.size)), squares.window(block, a.size), broadcast(a.k));
}

/// Lanes beyond C are written as 0: with k = 0 their power need not be finite.
void write(const LocalResponseNorm& a, float* y, int64_t block, V16 value) {
  const int64_t lanes = a.channels - block * 16;
  if (lanes < 16) store(y, zero());
  store_n(y, value, lanes < 16 ? lanes : 16);
}

void put_squares(const LocalResponseNorm& a, const float* x, int64_t blocks, const Row& squares) {
  for (int64_t b = 0; b < blocks; ++b) {
    const V16 value = load(x + b * a.pixels * 16);
    squares.put(b, mul(value, value), a.channels);
  }
}

void forward(const LocalResponseNorm& a, int64_t index, void* scratch) {
  const Task task = task_of(a, index);
  const Row squares(scratch, 0, a, a.size / 2);
  for (int64_t p = task.first; p < task.last; ++p) {
    const float* x = a.x + task.picture + p * 16;
    float* y = a.y + task.picture + p * 16;
    put_squares(a, x, task.blocks, squares);
    for (int64_t b = 0; b < task.blocks; ++b) {
      const int64_t at = b * a.pixels * 16;
      write(a, y + at, b, mul(load(x + at), power(spread(a, squares, b), a.beta)));
    }
  }
}

void backward(const LocalResponseNorm& a, int64_t index, void* scratch) {
  const Task task = task_of(a, index);
  const Row squares(scratch, 0, a, a.size / 2), seen(scratch, 1, a, (a.size - 1) / 2), powers(scratch, 2, a, 0);
  const V16 factor = broadcast(-2 * a.alpha * a.beta / static_cast<float>(a.size));
  for (int64_t p = task.first; p < task.last; ++p) {
    const float* x = a.x + task.picture + p * 16;
    const float* dy = a.dy + task.picture + p * 16;
    float* dx = a.y + task.picture + p * 16;
    put_squares(a, x, task.blocks, squares);
    for (int64_t b = 0; b < task.blocks; ++b) {
      const int64_t at = b * a.pixels * 16;
      const V16 s = spread(a, squares, b), scale = power(s, a.beta);
      powers.put(b, scale, a.channels);
      seen.put(b, mul(mul(load(dy + at), load(x + at)), div(scale, s)), a.channels);
    }
    for (int64_t b = 0; b < task.blocks; ++b) {
      const int64_t at = b * a.pixels * 16;
      const V16 through = mul(load(dy + at), loadu(powers.start + b * 16));
      write(a, dx + at, b, fma(mul(factor, load(x + at)), seen.window(b, a.size), through));
    }
  }
}

}  // namespace

extern const LocalResponseNormKernels local_response_norm = {forward, backward};

}  // namespace THAW_ISA
}  // namespace thaw
