// A frozen batch norm behind a layer as that layer's own weight and bias, with s = gamma / sqrt(variance + eps) per
// output:
//   fold_batch_norm_weight(weight [K,…], gamma? [K], mean [K], variance [K]; eps 1e-5) → weight * s
//   fold_batch_norm_bias(bias? [K], gamma? [K], beta? [K], mean [K], variance [K]; eps 1e-5) → (bias - mean) s + beta
// Computed in double: each result is rounded once.
#include "kernels/fold.h"

#include "ops/op.h"

namespace thaw {

namespace {

void expect_channels(Infer& infer, size_t first, size_t last, int64_t channels) {
  for (size_t i = first; i <= last; ++i)
    if (infer.has(i)) infer.expect_f32(i), infer.expect_shape(i, {channels});
}

void infer_weight(Infer& infer) {
  infer.expect_f32(0);
  if (infer.shape(0).empty()) infer.fail("a weight with output channels first", to_string(infer.shape(0)));
  expect_channels(infer, 1, 3, infer.shape(0)[0]);
  infer.output(DType::f32, infer.shape(0));
}

void infer_bias(Infer& infer) {
  infer.expect_f32(4, 1);
  expect_channels(infer, 0, 4, infer.shape(4)[0]);
  infer.output(DType::f32, infer.shape(4));
}

void lower_weight(Lower& lower) {
  const Shape& shape = lower.in(0).shape;
  const int64_t outputs = shape[0], each = outputs ? count(shape) / outputs : 0;
  const double eps = lower.attrs().get("eps", 1e-5);
  const Buffer weight = lower.input(0), gamma = lower.input(1), variance = lower.input(3), result = lower.output(0);
  lower.launch(fold_kernels(lower.isa()).weight, outputs, 0, [=](Run& run) {
    return FoldWeight{run.f32(weight), run.f32(gamma), run.f32(variance), run.f32(result), outputs, each, eps};
  });
}

void lower_bias(Lower& lower) {
  const int64_t outputs = lower.in(4).shape[0];
  const double eps = lower.attrs().get("eps", 1e-5);
  const Buffer bias = lower.input(0), gamma = lower.input(1), beta = lower.input(2), mean = lower.input(3),
               variance = lower.input(4), result = lower.output(0);
  lower.launch(fold_kernels(lower.isa()).bias, 1, 0, [=](Run& run) {
    return FoldBias{run.f32(bias), run.f32(gamma),    run.f32(beta),   run.f32(mean),
                    run.f32(variance), run.f32(result), outputs, eps};
  });
}

}  // namespace

const OpDef& op_fold_batch_norm_weight() {
  static const OpDef def{.name = "fold_batch_norm_weight", .infer = infer_weight, .lower = lower_weight};
  return def;
}

const OpDef& op_fold_batch_norm_bias() {
  static const OpDef def{.name = "fold_batch_norm_bias", .infer = infer_bias, .lower = lower_bias};
  return def;
}

}  // namespace thaw
