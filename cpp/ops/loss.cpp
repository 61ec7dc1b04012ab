#include "ops/loss.h"

#include <algorithm>

namespace thaw {

namespace {

Shape without_ones(const Shape& shape, bool at_end) {
  Shape result = shape;
  while (!result.empty() && (at_end ? result.back() : result.front()) == 1) {
    result.erase(at_end ? result.end() - 1 : result.begin());
  }
  return result;
}

bool is_trailing(const Shape& factors, const Shape& shape) {
  const Shape f = without_ones(factors, false);
  return f.size() <= shape.size() && std::equal(f.rbegin(), f.rend(), shape.rbegin());
}

bool is_leading(const Shape& factors, const Shape& shape) {
  const Shape f = without_ones(factors, true);
  return f.size() <= shape.size() && std::equal(f.begin(), f.end(), shape.begin());
}

}  // namespace

void expect_factors(const Infer& infer, size_t i, const Shape& shape, bool allow_bool) {
  if (!infer.has(i)) return;
  const DType dtype = infer.dtype(i);
  if (dtype != DType::f32 && !(allow_bool && dtype == DType::boolean)) {
    infer.fail(allow_bool ? "a mask of type bool or f32" : "weights of type f32", dtype_name(dtype));
  }
  if (!is_trailing(infer.shape(i), shape) && !is_leading(infer.shape(i), shape)) {
    infer.fail("operand " + std::to_string(i) + " with leading or trailing dimensions of " + to_string(shape),
               to_string(infer.shape(i)));
  }
}

Factors factors_of(const Lower& lower, size_t i, const Shape& shape, bool leading) {
  if (!lower.has(i)) return {nullptr, false, 1, 1};
  const Value& value = lower.in(i);
  const int64_t n = std::max<int64_t>(1, count(value.shape));
  const bool lead = is_leading(value.shape, shape) && (leading || !is_trailing(value.shape, shape));
  return {nullptr, value.dtype == DType::boolean, lead ? std::max<int64_t>(1, count(shape) / n) : 1, n};
}

bool is_mean(const Node& node) {
  const std::string reduction = node.attrs.get("reduction", "mean");
  if (reduction != "mean" && reduction != "sum") {
    fail_expected("ERR_ATTRIBUTE", "'mean' or 'sum'", "reduction of '" + node.name + "'", "'" + reduction + "'");
  }
  return reduction == "mean";
}

void lower_finish(Lower& lower, Buffer shares, int64_t tasks, size_t loss, size_t total) {
  const Buffer to_loss = lower.output(loss), to_total = lower.output(total);
  const bool mean = is_mean(lower.node());
  lower.launch(loss_kernels(lower.isa()).finish, 1, 0, [=](Run& run) {
    return FinishLoss{static_cast<const LossShare*>(run.at(shares)), tasks, mean, run.f32(to_loss), run.f32(to_total)};
  });
}

void refuse_gradient(const Gradient& g, size_t i, const char* operand) {
  if (g.input(i) == kNone || !g.needs(i)) return;
  fail_expected("ERR_GRADIENT", std::string(operand) + " that no trainable parameter changes",
                std::string(g.node().op->name) + " '" + g.node().name + "'",
                "one that depends on a trainable parameter");
}

}  // namespace thaw
