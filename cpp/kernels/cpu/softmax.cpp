// Softmax: maximum, exponentials and their sum (in double), quotient.
#include "kernels/softmax.h"
#include "kernels/cpu/micro/lines.h"
#include "kernels/cpu/micro/math.h"

namespace thaw {
namespace THAW_ISA {
namespace {

template <class L>
void forward_lines(const Softmax& args, const L& line) {
  const float lowest = -__builtin_inff();
  V16 max = broadcast(lowest);
  for (int64_t i = 0; i < line.steps(); ++i) max = larger(max, load_or(args.x + line.at(i), line.lanes(i), lowest));
  max = line.joined_max(max);
  W16 total = wide_zero();
  for (int64_t i = 0; i < line.steps(); ++i) {
    const V16 e = exp(sub(load_or(args.x + line.at(i), line.lanes(i), lowest), max));
    total = wide_add(total, widen(e));
    store_n(args.y + line.at(i), e, line.lanes(i));
  }
  const V16 sum = line.joined_sum(total);
  for (int64_t i = 0; i < line.steps(); ++i) {
    float* y = args.y + line.at(i);
    store_n(y, div(load_n(y, line.lanes(i)), sum), line.lanes(i));
  }
}

template <class L>
void backward_lines(const SoftmaxBackward& args, const L& line) {
  W16 total = wide_zero();
  for (int64_t i = 0; i < line.steps(); ++i) {
    const V16 dy = load_n(args.dy + line.at(i), line.lanes(i)), y = load_n(args.y + line.at(i), line.lanes(i));
    total = wide_fma(widen(dy), widen(y), total);
  }
  const V16 sum = line.joined_sum(total);
  for (int64_t i = 0; i < line.steps(); ++i) {
    const V16 dy = load_n(args.dy + line.at(i), line.lanes(i)), y = load_n(args.y + line.at(i), line.lanes(i));
    store_n(args.dx + line.at(i), mul(y, sub(dy, sum)), line.lanes(i));
  }
}

void forward(const Softmax& args, int64_t task, void*) {
  for_units(args.outer, args.n, args.inner, args.units_per_task, task,
            [&](const auto& line) { forward_lines(args, line); });
}

void backward(const SoftmaxBackward& args, int64_t task, void*) {
  for_units(args.outer, args.n, args.inner, args.units_per_task, task,
            [&](const auto& line) { backward_lines(args, line); });
}

}  // namespace

extern const SoftmaxKernels softmax = {forward, backward};

}  // namespace THAW_ISA
}  // namespace thaw
