// The parts of a batch norm with the batch's statistics and of its gradient, so that what sees one picture at a time runs
// depth-first with its neighbours (compile/by_picture.cpp); the same kernels, sums and bits as the whole.
//
// batch_norm_sums(x[N,C,H,W]) → partial[N, …]
// batch_norm_statistics(partial, running_mean[C], running_var[C], num_batches_tracked?[] i64; eps, momentum,
//                       input_shape, layout) → mean, invstd, next_mean, next_var [C], next num_batches_tracked
//   The batch norm itself follows with mode 'given'.
//
// batch_norm_backward_sums(dy, x, weight?, mean, spread, bias?; mode, eps, activation, alpha, approximate) → partial
// batch_norm_backward_join(partial, spread; mode, eps, affine, input_shape, layout) → sums, dweight?[C], dbias?[C]
// batch_norm_backward_apply(dy, x, weight?, mean, spread, bias?, sums; as batch_norm_backward_sums) → dx
//
// `partial` and `sums` are doubles (kernels/batch_norm.h), seen as pairs of f32.
#include "ops/batch_norm.h"

namespace thaw {

namespace {

Shape input_shape(const Json& attrs) { return attrs.at("input_shape").as_ints(); }

Layout input_layout(const Json& attrs) {
  return attrs.at("layout").as_string() == layout_name(Layout::blocked_bf16) ? Layout::blocked_bf16 : Layout::blocked;
}

/// Of a node that reads sums, not pictures.
BatchNormForm form_of(const Json& attrs, Isa isa) { return batch_norm_form(input_shape(attrs), input_layout(attrs), isa); }

/// The sums of each picture of operand `i`.
void infer_partial(Infer& infer, size_t i) {
  infer.expect_f32(i, 4);
  const BatchNormForm form = batch_norm_form(infer.in(i), Isa::scalar);
  infer.output(DType::f32, {form.view.pictures, form.picture_words()});
}

void infer_sums(Infer& infer) { infer_partial(infer, 0); }
void infer_backward_sums(Infer& infer) { infer_partial(infer, 1); }

void infer_statistics(Infer& infer) {
  const Shape channels{input_shape(infer.attrs())[1]};
  for (int i = 0; i < 4; ++i) infer.output(DType::f32, channels);
  if (infer.has(3)) infer.output(DType::i64, infer.shape(3));
}

void infer_join(Infer& infer) {
  const BatchNormForm form = form_of(infer.attrs(), Isa::scalar);
  infer.output(DType::f32, {form.blocks() * 2 * form.line * 2});
  if (!infer.attrs().get("affine", true)) return;
  infer.output(DType::f32, {form.view.channels});
  infer.output(DType::f32, {form.view.channels});
}

void infer_apply(Infer& infer) { infer.output(DType::f32, infer.shape(0)); }

void lower_sums(Lower& low) {
  const BatchNormForm form = batch_norm_form(low.in(0), low.isa());
  const auto sums = batch_norm_sums(form, low.input(0), low.output(0));
  low.launch(sums.kernel, form.parts(), 0, sums.fill);
}

void lower_statistics(Lower& low) {
  const BatchNormForm form = form_of(low.attrs(), low.isa());
  const auto statistics = batch_norm_statistics(
      low, form, low.input(0), {low.input(1), low.input(2), low.input(3)},
      {low.output(0), low.output(1), low.output(2), low.output(3), low.has(3) ? low.output(4) : kNone});
  low.launch(statistics.kernel, form.blocks(), 0, statistics.fill);
}

BatchNormMapBuffers map_of(Lower& low) {
  return batch_norm_map(low, low.input(3), low.input(4), low.input(2), low.input(5));
}

void lower_backward_sums(Lower& low) {
  const BatchNormForm form = batch_norm_form(low.in(1), low.isa());
  const auto sums = batch_norm_backward_sums(form, map_of(low), low.input(0), low.input(1), low.output(0));
  low.launch(sums.kernel, form.parts(), 0, sums.fill);
}

void lower_join(Lower& low) {
  const BatchNormForm form = form_of(low.attrs(), low.isa());
  const bool affine = low.attrs().get("affine", true);
  const BatchNormMapBuffers map = batch_norm_map(low, kNone, low.input(1), kNone, kNone);
  const auto join = batch_norm_backward_join(form, map, low.input(0), low.output(0), affine ? low.output(1) : kNone,
                                             affine ? low.output(2) : kNone);
  low.launch(join.kernel, form.blocks(), 0, join.fill);
}

void lower_apply(Lower& low) {
  const BatchNormForm form = batch_norm_form(low.in(1), low.isa());
  const auto backward = batch_norm_backward(
      form, map_of(low), {low.input(0), low.input(1), kNone, low.input(6), low.output(0), low.streams(0)});
  low.launch(backward.kernel, form.parts(), 0, backward.fill);
}

}  // namespace

const OpDef& op_batch_norm_sums() {
  static const OpDef def{.name = "batch_norm_sums", .infer = infer_sums, .lower = lower_sums, .per_picture = true};
  return def;
}

const OpDef& op_batch_norm_statistics() {
  static const OpDef def{.name = "batch_norm_statistics", .infer = infer_statistics, .lower = lower_statistics};
  return def;
}

const OpDef& op_batch_norm_backward_sums() {
  static const OpDef def{
      .name = "batch_norm_backward_sums", .infer = infer_backward_sums, .lower = lower_backward_sums, .per_picture = true};
  return def;
}

const OpDef& op_batch_norm_backward_join() {
  static const OpDef def{.name = "batch_norm_backward_join", .infer = infer_join, .lower = lower_join};
  return def;
}

const OpDef& op_batch_norm_backward_apply() {
  static const OpDef def{
      .name = "batch_norm_backward_apply", .infer = infer_apply, .lower = lower_apply, .per_picture = true};
  return def;
}

}  // namespace thaw
