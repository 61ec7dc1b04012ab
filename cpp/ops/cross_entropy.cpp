// cross_entropy(scores[N,C,…], target, class_weights?[C], mask?[N,…]; label_smoothing 0, ignore_index -100,
// reduction 'mean'|'sum') → loss [], log_sum [N,…], total []. The target is class numbers (i32, i64) [N,…], or
// probabilities (f32) [N,C,…]. PyTorch's weighted mean; the mask (bool or f32) multiplies and counts. Where every
// position is ignored the loss and its gradients are 0. A class number outside 0 … C-1 is ERR_TARGET at run time.
// cross_entropy_backward(dloss, scores, target, class_weights?, mask?, log_sum, total; the same) → dscores.
#include "kernels/activation.h"
#include "ops/loss.h"
#include "ops/units.h"
#include "ops/whole_numbers.h"

namespace thaw {

namespace {

/// Scores without the class dimension.
Shape positions_of(const Shape& scores) {
  Shape positions = scores;
  positions.erase(positions.begin() + 1);
  return positions;
}

/// Operands scores, target, class weights, mask, from number `first` on.
void check(const Infer& infer, size_t first) {
  infer.expect_f32(first);
  const Shape& scores = infer.shape(first);
  if (scores.size() < 2 || scores[1] < 1) infer.fail("scores of shape [N, C, ...]", to_string(scores));
  const DType kind = infer.dtype(first + 1);
  if (kind == DType::f32) {
    infer.expect_shape(first + 1, scores);
  } else if (kind == DType::i32 || kind == DType::i64) {
    infer.expect_shape(first + 1, positions_of(scores));
  } else {
    infer.fail("a target of type i32, i64 or f32", dtype_name(kind));
  }
  if (infer.has(first + 2)) infer.expect_f32(first + 2), infer.expect_shape(first + 2, {scores[1]});
  expect_factors(infer, first + 3, positions_of(scores), true);
  const double smoothing = infer.attrs().get("label_smoothing", 0.0);
  if (!(smoothing >= 0 && smoothing <= 1)) infer.fail("a label_smoothing from 0 to 1", std::to_string(smoothing));
  is_mean(infer.node);
}

void infer(Infer& infer) {
  check(infer, 0);
  infer.output(DType::f32, {});
  infer.output(DType::f32, positions_of(infer.shape(0)));
  infer.output(DType::f32, {});
}

void differentiate(Gradient& g) {
  refuse_gradient(g, 1, "a target");
  refuse_gradient(g, 2, "class weights");
  refuse_gradient(g, 3, "a mask");
  if (!g.needs(0) || g.grad(0) == kNone) return;
  const std::vector<ValueId> operands = {g.grad(0),  g.input(0),  g.input(1), g.input(2),
                                         g.input(3), g.output(1), g.output(2)};
  g.add(0, g.emit1("cross_entropy_backward", operands, g.attrs()));
}

/// The kernel's arguments but for pointers; operands from number `first` on.
CrossEntropy shape_of(const Lower& lower, size_t first, const Units& units) {
  CrossEntropy args{};
  args.outer = units.outer, args.n = units.n, args.inner = units.inner;
  args.units_per_task = units.per_task;
  args.mask = factors_of(lower, first + 3, positions_of(lower.in(first).shape), true);
  args.ignore_index = lower.attrs().get("ignore_index", -100);
  args.smoothing = static_cast<float>(lower.attrs().get("label_smoothing", 0.0));
  const DType kind = lower.in(first + 1).dtype;
  args.kind = kind == DType::f32 ? TargetKind::probabilities : kind == DType::i64 ? TargetKind::i64 : TargetKind::i32;
  return args;
}

struct Operands {
  Buffer scores, target, weights, mask, log_sum;

  CrossEntropy bind(CrossEntropy args, const Run& run) const {
    args.scores = run.f32(scores);
    args.target = run.at(target);
    args.class_weights = run.f32(weights);
    args.mask = bound(args.mask, run, mask);
    args.log_sum = run.f32(log_sum);
    return args;
  }
};

void lower(Lower& lower) {
  const Units units = units_along(lower.in(0).shape, 1);
  const CrossEntropy shape = shape_of(lower, 0, units);
  const Operands operands{lower.input(0), lower.input(1), lower.input(2), lower.input(3), lower.output(1)};
  const size_t tasks = static_cast<size_t>(units.tasks);
  const Buffer shares = lower.workspace(sizeof(LossShare) * std::max<size_t>(1, tasks));
  const Buffer wrong = lower.workspace(sizeof(int64_t) * std::max<size_t>(1, tasks));
  lower.launch(loss_kernels(lower.isa()).cross_entropy, units.tasks, 0, [=](Run& run) {
    CrossEntropy args = operands.bind(shape, run);
    args.shares = static_cast<LossShare*>(run.at(shares));
    args.wrong = static_cast<int64_t*>(run.at(wrong));
    return args;
  });
  check_numbers(lower, operands.target, shape.kind == TargetKind::i64, wrong, units.tasks,
                {"ERR_TARGET", "class indices from 0 to " + std::to_string(shape.n - 1),
                 "the target of '" + lower.node().name + "'"});
  lower_finish(lower, shares, units.tasks, 0, 2);
}

void infer_backward(Infer& infer) {
  infer.expect_f32(0);
  check(infer, 1);
  infer.output(DType::f32, infer.shape(1));
}

void lower_backward(Lower& lower) {
  const Units units = units_along(lower.in(1).shape, 1);
  const CrossEntropy shape = shape_of(lower, 1, units);
  const Operands operands{lower.input(1), lower.input(2), lower.input(3), lower.input(4), lower.input(5)};
  const Buffer dloss = lower.input(0), total = lower.input(6), dscores = lower.output(0);
  lower.launch(loss_kernels(lower.isa()).cross_entropy_backward, units.tasks, 0, [=](Run& run) {
    return CrossEntropyBackward{operands.bind(shape, run), run.f32(dloss), run.f32(total), run.f32(dscores)};
  });
}

}  // namespace

const OpDef& op_cross_entropy() {
  static const OpDef def{.name = "cross_entropy", .infer = infer, .gradient = differentiate, .lower = lower};
  return def;
}

const OpDef& op_cross_entropy_backward() {
  static const OpDef def{.name = "cross_entropy_backward", .infer = infer_backward, .lower = lower_backward};
  return def;
}

}  // namespace thaw
