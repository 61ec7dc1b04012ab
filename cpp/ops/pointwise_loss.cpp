#include "ops/pointwise_loss.h"

#include <algorithm>

#include "kernels/activation.h"

namespace thaw {

namespace {

bool has(const Infer& infer, int32_t i) { return i != kNone && infer.has(static_cast<size_t>(i)); }

/// Equal but for dimensions of 1: scores [N, 1] take a target [N].
bool same_elements(const Shape& a, const Shape& b) {
  auto essential = [](Shape s) {
    s.erase(std::remove(s.begin(), s.end(), 1), s.end());
    return s;
  };
  return essential(a) == essential(b);
}

Factors factors(const Lower& lower, int32_t i, const Shape& shape, bool leading) {
  return i == kNone ? Factors{nullptr, false, 1, 1} : factors_of(lower, static_cast<size_t>(i), shape, leading);
}

Buffer buffer(const Lower& lower, int32_t i) { return i == kNone ? kNone : lower.input(static_cast<size_t>(i)); }

/// Makes the kernel's arguments when the plan runs.
struct Binding {
  Pointwise shape;
  Buffer scores, target, weights, mask;

  Binding(const Lower& lower, const PointwiseOperands& at, PointwiseLoss kind)
      : shape{}, scores(lower.input(at.scores)), target(lower.input(at.target)),
        weights(buffer(lower, at.weights)), mask(buffer(lower, at.mask)) {
    const Shape& elements = lower.in(at.scores).shape;
    shape.weights = factors(lower, at.weights, elements, false);
    shape.mask = factors(lower, at.mask, elements, true);
    shape.count = count(elements);
    shape.kind = kind;
  }

  Pointwise bind(const Run& run) const {
    Pointwise args = shape;
    args.scores = run.f32(scores);
    args.target = run.f32(target);
    args.weights = bound(shape.weights, run, weights);
    args.mask = bound(shape.mask, run, mask);
    return args;
  }
};

}  // namespace

void check_pointwise(const Infer& infer, const PointwiseOperands& at) {
  infer.expect_f32(at.scores);
  infer.expect_f32(at.target);
  const Shape& scores = infer.shape(at.scores);
  if (!same_elements(scores, infer.shape(at.target))) {
    infer.fail("a target of shape " + to_string(scores), to_string(infer.shape(at.target)));
  }
  if (has(infer, at.weights)) expect_factors(infer, static_cast<size_t>(at.weights), scores, false);
  if (has(infer, at.mask)) expect_factors(infer, static_cast<size_t>(at.mask), scores, true);
  is_mean(infer.node);
}

void infer_pointwise(Infer& infer, const PointwiseOperands& at) {
  check_pointwise(infer, at);
  infer.output(DType::f32, {});
  infer.output(DType::f32, {});
}

void lower_pointwise(Lower& lower, const PointwiseOperands& at, PointwiseLoss kind) {
  const Binding binding(lower, at, kind);
  const int64_t tasks = chunks(binding.shape.count);
  const Buffer shares = lower.workspace(sizeof(LossShare) * static_cast<size_t>(std::max<int64_t>(1, tasks)));
  lower.launch(loss_kernels(lower.isa()).pointwise, tasks, 0, [=](Run& run) {
    Pointwise args = binding.bind(run);
    args.shares = static_cast<LossShare*>(run.at(shares));
    return args;
  });
  lower_finish(lower, shares, tasks, 0, 1);
}

void lower_pointwise_backward(Lower& lower, const PointwiseOperands& at, PointwiseLoss kind, size_t total) {
  const Binding binding(lower, at, kind);
  const Buffer dloss = lower.input(0), sum = lower.input(total), dscores = lower.output(0);
  lower.launch(loss_kernels(lower.isa()).pointwise_backward, chunks(binding.shape.count), 0, [=](Run& run) {
    return PointwiseBackward{binding.bind(run), run.f32(dloss), run.f32(sum), run.f32(dscores)};
  });
}

}  // namespace thaw
