// Losses and their gradients; formulas in kernels/loss.h.
#include "kernels/loss.h"
#include "kernels/activation.h"
#include "kernels/cpu/micro/lines.h"
#include "kernels/cpu/micro/math.h"

namespace thaw {
namespace THAW_ISA {
namespace {

THAW_INLINE float factor_at(const Factors& f, int64_t i) {
  const int64_t at = i / f.divide % f.modulo;
  if (f.bytes) return static_cast<const uint8_t*>(f.data)[at] != 0 ? 1.0f : 0.0f;
  return static_cast<const float*>(f.data)[at];
}

/// 1 in the first lanes, 0 in the others.
THAW_INLINE V16 first_lanes_one(int64_t lanes) {
  return select(less(load(kLaneNumbers), broadcast(static_cast<float>(lanes))), broadcast(1.0f), zero());
}

/// Factors of the elements i … i + lanes - 1; zero beyond.
THAW_INLINE V16 factors(const Factors& f, int64_t i, int64_t lanes) {
  if (f.data == nullptr) return first_lanes_one(lanes);
  alignas(64) float values[kLanes] = {};
  for (int64_t lane = 0; lane < lanes; ++lane) values[lane] = factor_at(f, i + lane);
  return load(values);
}

/// The targets of one unit: class numbers in lanes, and the factor of each position (0 where it is ignored or masked).
struct Targets {
  V16 index;
  V16 mask;
};

THAW_INLINE int64_t target_at(const CrossEntropy& args, int64_t position) {
  return args.kind == TargetKind::i64 ? static_cast<const int64_t*>(args.target)[position]
                                      : static_cast<const int32_t*>(args.target)[position];
}

template <class L>
Targets targets_of(const CrossEntropy& args, const L& line, int64_t& wrong) {
  alignas(64) float index[kLanes] = {}, mask[kLanes] = {};
  const int64_t positions = L::along ? 1 : line.lines;
  for (int64_t p = 0; p < positions; ++p) {
    mask[p] = args.mask.data == nullptr ? 1.0f : factor_at(args.mask, line.first + p);
    if (args.kind == TargetKind::probabilities) continue;
    const int64_t target = target_at(args, line.first + p);
    if (target == args.ignore_index) {
      mask[p] = 0.0f;
    } else if (target < 0 || target >= args.n) {
      if (wrong < 0) wrong = line.first + p;
      mask[p] = 0.0f;
    } else {
      index[p] = static_cast<float>(target);
    }
  }
  if (L::along) return {broadcast(index[0]), broadcast(mask[0])};
  return {load(index), load(mask)};
}

/// Weights of the classes in the lanes of step i; zero beyond the last class.
template <class L>
THAW_INLINE V16 class_weights(const CrossEntropy& args, const L& line, int64_t i) {
  if (args.class_weights != nullptr) {
    if constexpr (L::along) return load_n(args.class_weights + i * kLanes, line.lanes(i));
    return broadcast(args.class_weights[i]);
  }
  if constexpr (L::along) {
    return first_lanes_one(line.lanes(i));
  }
  return broadcast(1.0f);
}

/// q of step i.
template <class L>
THAW_INLINE V16 coefficients(const CrossEntropy& args, const L& line, const Targets& targets, int64_t i) {
  const V16 target = args.kind == TargetKind::probabilities
                         ? load_n(static_cast<const float*>(args.target) + line.at(i), line.lanes(i))
                         : select(equal(line.numbers(i), targets.index), broadcast(1.0f), zero());
  const V16 even = broadcast(args.smoothing / static_cast<float>(args.n));
  return mul(class_weights(args, line, i), fma(target, broadcast(1.0f - args.smoothing), even));
}

/// What a position counts in a mean: the weight of its class, 1 for probabilities.
template <class L>
V16 position_weight(const CrossEntropy& args, const L& line, const Targets& targets) {
  if (args.kind == TargetKind::probabilities || args.class_weights == nullptr) return broadcast(1.0f);
  alignas(64) float index[kLanes], weight[kLanes] = {};
  store(index, targets.index);
  const int64_t positions = L::along ? 1 : line.lines;
  for (int64_t p = 0; p < positions; ++p) weight[p] = args.class_weights[static_cast<int64_t>(index[p])];
  return L::along ? broadcast(weight[0]) : load(weight);
}

template <class L>
V16 log_sum_of(const CrossEntropy& args, const L& line) {
  const float lowest = -__builtin_inff();
  V16 max = broadcast(lowest);
  for (int64_t i = 0; i < line.steps(); ++i) {
    max = larger(max, load_or(args.scores + line.at(i), line.lanes(i), lowest));
  }
  max = line.joined_max(max);
  W16 total = wide_zero();
  for (int64_t i = 0; i < line.steps(); ++i) {
    total = wide_add(total, widen(exp(sub(load_or(args.scores + line.at(i), line.lanes(i), lowest), max))));
  }
  return add(max, log(line.joined_sum(total)));
}

/// Sum over the lanes that stand for positions: lane 0 where one line fills the vector.
template <class L>
double sum_positions(const L& line, V16 value) {
  alignas(64) float lane[kLanes];
  store(lane, value);
  double sum = 0;
  const int64_t positions = L::along ? 1 : line.lines;
  for (int64_t p = 0; p < positions; ++p) sum += lane[p];
  return sum;
}

template <class L>
void cross_entropy_unit(const CrossEntropy& args, const L& line, LossShare& share, int64_t& wrong) {
  const V16 log_sum = log_sum_of(args, line);
  store_n(args.log_sum + line.first, log_sum, L::along ? 1 : line.lines);
  const Targets targets = targets_of(args, line, wrong);
  W16 total = wide_zero();
  for (int64_t i = 0; i < line.steps(); ++i) {
    const V16 q = coefficients(args, line, targets, i);
    const V16 distance = sub(log_sum, load_n(args.scores + line.at(i), line.lanes(i)));
    // A class that does not count must not bring in an infinite score.
    total = wide_fma(widen(q), widen(select(equal(q, zero()), zero(), distance)), total);
  }
  const V16 used = targets.mask;
  const V16 loss = mul(line.joined_sum(total), used);
  share.loss += sum_positions(line, select(equal(used, zero()), zero(), loss));
  share.weight += sum_positions(line, mul(position_weight(args, line, targets), used));
}

void cross_entropy(const CrossEntropy& args, int64_t task, void*) {
  LossShare share = {0, 0};
  int64_t wrong = -1;
  for_units(args.outer, args.n, args.inner, args.units_per_task, task,
            [&](const auto& line) { cross_entropy_unit(args, line, share, wrong); });
  args.shares[task] = share;
  args.wrong[task] = wrong;
}

template <class L>
void cross_entropy_backward_unit(const CrossEntropyBackward& args, const L& line, V16 scale) {
  const CrossEntropy& loss = args.loss;
  int64_t wrong = -1;
  const Targets targets = targets_of(loss, line, wrong);
  const V16 log_sum = line.per_line(loss.log_sum), factor = mul(scale, targets.mask);
  const M16 unused = equal(targets.mask, zero());
  W16 coefficient_sum = wide_zero(), probability_sum = wide_zero();
  for (int64_t i = 0; i < line.steps(); ++i) {
    coefficient_sum = wide_add(coefficient_sum, widen(coefficients(loss, line, targets, i)));
    const V16 score = load_or(loss.scores + line.at(i), line.lanes(i), -__builtin_inff());
    const V16 probability = exp(sub(score, log_sum));
    probability_sum = wide_add(probability_sum, widen(probability));
    store_n(args.dscores + line.at(i), probability, line.lanes(i));
  }
  // Divided by their sum, the probabilities lose the error that the rounding of log_sum gave to all of them.
  const V16 weight = div(line.joined_sum(coefficient_sum), line.joined_sum(probability_sum));
  for (int64_t i = 0; i < line.steps(); ++i) {
    const V16 probability = load_n(args.dscores + line.at(i), line.lanes(i));
    const V16 slope = sub(mul(weight, probability), coefficients(loss, line, targets, i));
    store_n(args.dscores + line.at(i), select(unused, zero(), mul(factor, slope)), line.lanes(i));
  }
}

/// dloss / total; 0 where a mean was over nothing.
V16 scale_of(const float* dloss, const float* total) { return broadcast(*total == 0.0f ? 0.0f : *dloss / *total); }

void cross_entropy_backward(const CrossEntropyBackward& args, int64_t task, void*) {
  const V16 scale = scale_of(args.dloss, args.total);
  for_units(args.loss.outer, args.loss.n, args.loss.inner, args.loss.units_per_task, task,
            [&](const auto& line) { cross_entropy_backward_unit(args, line, scale); });
}

/// log(1 + e) for 0 <= e <= 1 without losing small e: what rounding took from 1 + e is made good by e / ((1 + e) - 1).
THAW_INLINE V16 log_one_plus(V16 e) {
  const V16 one = broadcast(1.0f), u = add(one, e), rounded = sub(u, one);
  return select(equal(rounded, zero()), e, mul(log(u), div(e, rounded)));
}

THAW_INLINE V16 element_loss(PointwiseLoss kind, V16 x, V16 t) {
  if (kind == PointwiseLoss::squared_error) return mul(sub(x, t), sub(x, t));
  // max(x, 0) - x t + log(1 + e^-|x|)
  return add(fnma(x, t, maximum(zero(), x)), log_one_plus(exp(neg(abs(x)))));
}

THAW_INLINE V16 element_slope(PointwiseLoss kind, V16 x, V16 t) {
  if (kind == PointwiseLoss::squared_error) return mul(broadcast(2.0f), sub(x, t));
  return sub(sigmoid(x), t);
}

int64_t chunk_end(int64_t count, int64_t task) { return (task + 1) * kChunk < count ? (task + 1) * kChunk : count; }

void pointwise(const Pointwise& args, int64_t task, void*) {
  W16 loss = wide_zero(), weight = wide_zero();
  const int64_t end = chunk_end(args.count, task);
  for (int64_t i = task * kChunk; i < end; i += kLanes) {
    const int64_t lanes = end - i < kLanes ? end - i : kLanes;
    const V16 mask = factors(args.mask, i, lanes);
    const V16 value = element_loss(args.kind, load_n(args.scores + i, lanes), load_n(args.target + i, lanes));
    const V16 used = select(equal(mask, zero()), zero(), mul(value, factors(args.weights, i, lanes)));
    loss = wide_fma(widen(used), widen(mask), loss);
    weight = wide_add(weight, widen(mask));
  }
  args.shares[task] = {wide_reduce(loss), wide_reduce(weight)};
}

void pointwise_backward(const PointwiseBackward& args, int64_t task, void*) {
  const Pointwise& loss = args.loss;
  const V16 scale = scale_of(args.dloss, args.total);
  const int64_t end = chunk_end(loss.count, task);
  for (int64_t i = task * kChunk; i < end; i += kLanes) {
    const int64_t lanes = end - i < kLanes ? end - i : kLanes;
    const V16 mask = factors(loss.mask, i, lanes);
    const V16 slope = element_slope(loss.kind, load_n(loss.scores + i, lanes), load_n(loss.target + i, lanes));
    const V16 factor = mul(scale, mul(mask, factors(loss.weights, i, lanes)));
    store_n(args.dscores + i, select(equal(mask, zero()), zero(), mul(slope, factor)), lanes);
  }
}

void finish(const FinishLoss& args, int64_t, void*) {
  double loss = 0, weight = 0;
  for (int64_t i = 0; i < args.count; ++i) {
    loss += args.shares[i].loss;
    weight += args.shares[i].weight;
  }
  const double total = args.mean ? weight : 1.0;
  *args.total = static_cast<float>(total);
  *args.loss = total == 0 ? 0.0f : static_cast<float>(loss / total);
}

}  // namespace

extern const LossKernels loss = {cross_entropy, cross_entropy_backward, pointwise, pointwise_backward, finish};

}  // namespace THAW_ISA
}  // namespace thaw
