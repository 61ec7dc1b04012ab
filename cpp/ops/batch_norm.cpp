// batch_norm(x[N,C,…], weight?[C], bias?[C], running_mean[C], running_var[C], num_batches_tracked?[] i64,
//            residual?[N,C,H,W]; mode 'frozen' (default) | 'statistics' | 'train' | 'given', eps 1e-5, momentum 0.1;
//            set by passes: residual, activation "none", alpha, approximate)
//   frozen            → y = activation(normalised + residual) by the running statistics
//   statistics, train → y by the batch's, mean[C], invstd[C], and the next running_mean, running_var and
//                       num_batches_tracked (where operand 5 is there); running_var takes the unbiased variance
//   given              → y with operands 3 and 4 for mean and invstd; set by passes
//   'statistics' and 'train' compute the same; which of weight and bias train is the marks' business.
//
// batch_norm_backward(dy, x?, weight?[C], mean[C], spread[C], bias?[C], y?; mode, eps, data, affine;
//                     set by passes: bias, y, activation, alpha, approximate)
//   spread is invstd, or the variance for mode 'frozen'. → dx where `data`, then dweight[C] and dbias[C] where
//   `affine`.
//   x is absent where nothing needs it: frozen statistics and no `affine`. An activation's derivative follows from x, or
//   from y where there is no x.
#include "ops/batch_norm.h"

namespace thaw {

namespace {

/// Values per channel.
int64_t values_per_channel(const Shape& x) { return x[1] == 0 ? 0 : count(x) / x[1]; }

void check_operands(const Infer& infer) {
  infer.expect_f32(0);
  const Shape& x = infer.shape(0);
  if (x.size() < 2) infer.fail("operand 0 of shape [N,C,…]", to_string(x));
  const std::string mode = infer.attrs().get("mode", "frozen");
  if (mode != "frozen" && mode != "statistics" && mode != "train" && mode != "given") {
    infer.fail("mode 'frozen', 'statistics' or 'train'", "'" + mode + "'");
  }
  for (size_t i = 1; i <= 4; ++i) {
    if (i <= 2 && !infer.has(i)) continue;
    infer.expect_f32(i, 1);
    infer.expect_shape(i, {x[1]});
  }
}

void infer_batch_norm(Infer& infer) {
  check_operands(infer);
  const Shape x = infer.shape(0);
  if (infer.has(6)) infer.expect_f32(6, 4), infer.expect_shape(6, x);
  infer.output(DType::f32, x);
  if (!has_batch_statistics(infer.attrs())) return;
  if (values_per_channel(x) < 2) {
    fail_expected("ERR_BATCH_NORM", "more than one value per channel",
                  "batch_norm '" + infer.node.name + "' with the batch's statistics", to_string(x));
  }
  for (int i = 0; i < 4; ++i) infer.output(DType::f32, {x[1]});
  if (!infer.has(5)) return;
  if (infer.dtype(5) != DType::i64) infer.fail("operand 5 of type i64", dtype_name(infer.dtype(5)));
  infer.output(DType::i64, infer.shape(5));
}

void gradient(Gradient& g) {
  if (g.grad(0) == kNone) return;
  const bool data = g.needs(0), affine = g.needs(1) || g.needs(2);
  if (!data && !affine) return;
  const bool fixed = has_frozen_statistics(g.attrs());
  Json attrs = Json::object();
  attrs.set("mode", g.attrs().get("mode", "frozen")).set("eps", g.attrs().get("eps", 1e-5));
  attrs.set("data", data).set("affine", affine);
  const ValueId x = fixed && !affine ? kNone : g.input(0);
  const auto out = g.emit("batch_norm_backward", {g.grad(0), x, g.input(1), fixed ? g.input(3) : g.output(1),
                                                  fixed ? g.input(4) : g.output(2)}, attrs);
  if (data) g.add(0, out[0]);
  if (g.needs(1)) g.add(1, out[data]);
  if (g.needs(2)) g.add(2, out[data + 1]);
}

bool takes_part(const Graph&, const Node& node, int operand) {
  const bool residual = node.inputs.size() > 6 && node.inputs[6] != kNone;
  return (operand == kResult || operand == 0) && has_frozen_statistics(node.attrs) && !residual;
}

void infer_backward(Infer& infer) {
  infer.expect_f32(0);
  const Shape dy = infer.shape(0);
  if (infer.attrs().get("data", true)) infer.output(DType::f32, dy);
  if (!infer.attrs().get("affine", true)) return;
  infer.output(DType::f32, {dy[1]});
  infer.output(DType::f32, {dy[1]});
}

// ---- lower ------------------------------------------------------------------------------------------------------

TwoPasses passes_of(const Lower& low, const BatchNormForm& form, int64_t tensors) {
  const int64_t bytes = tensors * form.view.pictures * form.view.pixels * 64;
  return {form.blocks(), batch_norm_chunks(form.view), bytes, low.threads()};
}

void lower_batch_norm(Lower& low) {
  const BatchNormForm form = batch_norm_form(low.in(0), low.isa(), low.gap_in(0));
  const bool batch = has_batch_statistics(low.attrs());
  const BatchNormMapBuffers map = batch_norm_map(low, batch ? low.output(1) : low.input(3),
                                                 batch ? low.output(2) : low.input(4), low.input(1), low.input(2));
  const ChannelView view = form.view;
  const Buffer x = low.input(0), residual = low.input(6), y = low.output(0);
  const bool stream = view.padded && low.streams(0);
  const int64_t y_gap = (low.gap_out(0) - low.gap_in(0)) * view.block;
  const auto apply = [=](Run& run) {
    return BatchNormApply{view, run.f32(x), map.at(run), run.f32(residual), run.f32(y), stream, y_gap};
  };
  if (!batch) return low.launch(form.kernels.apply, form.parts(), 0, apply);
  const Buffer partial = low.workspace(form.sums_bytes(form.parts()));
  const BatchNormMade made{low.output(1), low.output(2), low.output(3), low.output(4), low.has(5) ? low.output(5) : kNone};
  launch_two_passes(low, passes_of(low, form, 1), batch_norm_sums(form, x, partial),
                    batch_norm_statistics(low, form, partial, {low.input(3), low.input(4), low.input(5)}, made),
                    Pass{form.kernels.apply, apply});
}

void lower_backward(Lower& low) {
  const BatchNormForm form = batch_norm_form(low.in(0), low.isa());
  const bool fixed = has_frozen_statistics(low.attrs());
  const bool affine = low.attrs().get("affine", true), data = low.attrs().get("data", true), summed = !fixed || affine;
  const BatchNormMapBuffers map = batch_norm_map(low, low.input(3), low.input(4), low.input(2), low.input(5));
  const Buffer partial = summed ? low.workspace(form.sums_bytes(form.parts())) : kNone;
  const Buffer sums = summed ? low.workspace(form.sums_bytes(form.blocks())) : kNone;
  const Buffer dy = low.input(0), x = low.input(1);
  const bool stream = data && form.view.padded && low.streams(0);
  const auto backward = batch_norm_backward(
      form, map, {dy, x, low.input(6), fixed ? kNone : sums, data ? low.output(0) : kNone, stream});
  if (!summed) {
    if (data) low.launch(backward.kernel, form.parts(), 0, backward.fill);
    return;
  }
  const auto add_up = batch_norm_backward_sums(form, map, dy, x, partial);
  const auto join = batch_norm_backward_join(form, map, partial, sums, affine ? low.output(data) : kNone,
                                             affine ? low.output(data + 1) : kNone);
  if (data) return launch_two_passes(low, passes_of(low, form, 2), add_up, join, backward);
  low.launch(add_up.kernel, form.parts(), 0, add_up.fill);
  low.launch(join.kernel, form.blocks(), 0, join.fill);
}

}  // namespace

BatchNormForm batch_norm_form(const Shape& x, Layout layout, Isa isa, int64_t gap) {
  constexpr int64_t kOwnChunks = 256;  // pixels of a picture that has chunks of its own
  const bool bf16 = layout == Layout::blocked_bf16;
  BatchNormForm form{bf16 ? batch_norm_bf16_kernels(isa) : batch_norm_kernels(isa), {}, bf16 ? kBlockBf16 : kBlock};
  ChannelView& v = form.view;
  v.pictures = x[0];
  v.channels = x[1];
  v.pixels = count(Shape(x.begin() + 2, x.end()));
  v.padded = layout != Layout::plain;
  v.block = v.pixels * kBlock;
  v.pixel = v.padded ? kBlock : 1;
  v.lane = v.padded ? 1 : v.pixels;
  v.picture = v.padded ? (form.blocks() + gap) * v.block : v.channels * v.pixels;
  // A GPU's chunks all have one size.
  const bool own = v.padded && isa != Isa::cuda && v.pixels >= kOwnChunks;
  v.picture_chunks = own ? (v.pixels + kBatchNormChunk - 1) / kBatchNormChunk : 0;
  return form;
}

BatchNormMapBuffers batch_norm_map(Lower& low, Buffer mean, Buffer spread, Buffer weight, Buffer bias) {
  const Json& attrs = low.attrs();
  return {mean, spread, weight, bias, has_frozen_statistics(attrs), batch_norm_eps(attrs),
          static_cast<float>(attrs.get("alpha", 0.01)), fused_activation(attrs)};
}

const OpDef& op_batch_norm() {
  static const OpDef def{.name = "batch_norm", .infer = infer_batch_norm, .gradient = gradient,
                         .layout = layout_images, .lower = lower_batch_norm, .bf16 = true, .per_picture = true,
                         .parts = takes_part, .rows = same_row, .states = {{3, 3}, {4, 4}, {5, 5}}};
  return def;
}

const OpDef& op_batch_norm_backward() {
  static const OpDef def{.name = "batch_norm_backward", .infer = infer_backward, .layout = layout_images,
                         .lower = lower_backward, .bf16 = true};
  return def;
}

}  // namespace thaw
