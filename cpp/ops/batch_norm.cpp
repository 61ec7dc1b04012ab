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
#include "kernels/batch_norm.h"

#include "ops/op.h"
#include "ops/product.h"
#include "ops/two_passes.h"

namespace thaw {

namespace {

bool frozen(const Json& attrs) { return attrs.get("mode", "frozen") == "frozen"; }
bool of_batch(const Json& attrs) { return !frozen(attrs) && attrs.get("mode", "frozen") != "given"; }
float eps_of(const Json& attrs) { return static_cast<float>(attrs.get("eps", 1e-5)); }

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
  if (!of_batch(infer.attrs())) return;
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
  const bool fixed = frozen(g.attrs());
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
  return (operand == kResult || operand == 0) && frozen(node.attrs) && !residual;
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

/// How one node's pictures lie, and the kernels for that.
struct Form {
  const BatchNormKernels& kernels;
  ChannelView view;
  int64_t channels;  // of a line

  int64_t blocks() const { return (view.channels + channels - 1) / channels; }
  int64_t chunks() const { return (view.pictures * view.pixels + kBatchNormChunk - 1) / kBatchNormChunk; }
  int64_t parts() const { return blocks() * chunks(); }
  /// Bytes of two sums for each channel of `n` lines.
  size_t sums_bytes(int64_t n) const { return static_cast<size_t>(n * 2 * channels) * sizeof(double); }
};

/// `gap`: blocks of others between two pictures.
Form form_of(const Value& x, Isa isa, int64_t gap = 0) {
  const bool bf16 = x.layout == Layout::blocked_bf16;
  Form form{bf16 ? batch_norm_bf16_kernels(isa) : batch_norm_kernels(isa), {}, bf16 ? kBlockBf16 : kBlock};
  ChannelView& v = form.view;
  v.pictures = x.shape[0];
  v.channels = x.shape[1];
  v.pixels = count(Shape(x.shape.begin() + 2, x.shape.end()));
  v.padded = x.layout != Layout::plain;
  v.block = v.pixels * kBlock;
  v.pixel = v.padded ? kBlock : 1;
  v.lane = v.padded ? 1 : v.pixels;
  v.picture = v.padded ? (form.blocks() + gap) * v.block : v.channels * v.pixels;
  return form;
}

/// Operands of a BatchNormMap.
struct MapBuffers {
  Buffer mean, spread, weight, bias;
  bool variance;
  float eps, alpha;
  Activation activation;

  BatchNormMap at(Run& run) const {
    return {run.f32(mean), run.f32(spread), variance, eps, run.f32(weight), run.f32(bias), activation, alpha};
  }
};

MapBuffers map_of(Lower& low, Buffer mean, Buffer spread, Buffer weight, Buffer bias) {
  return {mean, spread, weight, bias, frozen(low.attrs()),
          eps_of(low.attrs()), static_cast<float>(low.attrs().get("alpha", 0.01)), fused_activation(low.attrs())};
}

TwoPasses passes_of(const Lower& low, const Form& form, int64_t tensors) {
  return {form.blocks(), form.chunks(), tensors * form.view.pictures * form.view.pixels * 64, low.threads()};
}

/// The mean and so on of the batch, from its sums.
auto statistics_of(Lower& low, const Form& form, Buffer partial) {
  const ChannelView view = form.view;
  const int64_t chunks = form.chunks();
  const Buffer x = low.input(0), old_mean = low.input(3), old_var = low.input(4), tracked = low.input(5);
  const Buffer mean = low.output(1), invstd = low.output(2), next_mean = low.output(3), next_var = low.output(4);
  const Buffer next = low.has(5) ? low.output(5) : kNone;
  const float eps = eps_of(low.attrs()), momentum = static_cast<float>(low.attrs().get("momentum", 0.1));
  return [=](Run& run) {
    return BatchNormStatistics{view.channels, chunks, view.pictures * view.pixels,
                               static_cast<const double*>(run.at(partial)), view, run.f32(x), run.f32(old_mean),
                               run.f32(old_var), eps, momentum, run.f32(mean), run.f32(invstd), run.f32(next_mean),
                               run.f32(next_var), static_cast<const int64_t*>(run.at(tracked)),
                               static_cast<int64_t*>(run.at(next))};
  };
}

void lower_batch_norm(Lower& low) {
  const Form form = form_of(low.in(0), low.isa(), low.gap_in(0));
  const bool batch = of_batch(low.attrs());
  const MapBuffers map = map_of(low, batch ? low.output(1) : low.input(3), batch ? low.output(2) : low.input(4),
                                low.input(1), low.input(2));
  const ChannelView view = form.view;
  const Buffer x = low.input(0), residual = low.input(6), y = low.output(0);
  const bool stream = view.padded && low.streams(0);
  const int64_t y_gap = (low.gap_out(0) - low.gap_in(0)) * view.block;
  const auto apply = [=](Run& run) {
    return BatchNormApply{view, run.f32(x), map.at(run), run.f32(residual), run.f32(y), stream, y_gap};
  };
  if (!batch) return low.launch(form.kernels.apply, form.parts(), 0, apply);
  const Buffer partial = low.workspace(form.sums_bytes(form.parts()));
  const auto sums = [=](Run& run) {
    return BatchNormSums{view, run.f32(x), static_cast<double*>(run.at(partial))};
  };
  launch_two_passes(low, passes_of(low, form, 1), Pass{form.kernels.sums, sums},
                    Pass{form.kernels.statistics, statistics_of(low, form, partial)}, Pass{form.kernels.apply, apply});
}

void lower_backward(Lower& low) {
  const Form form = form_of(low.in(0), low.isa());
  const ChannelView view = form.view;
  const bool fixed = frozen(low.attrs());
  const bool affine = low.attrs().get("affine", true), data = low.attrs().get("data", true), summed = !fixed || affine;
  const MapBuffers map = map_of(low, low.input(3), low.input(4), low.input(2), low.input(5));
  const Buffer partial = summed ? low.workspace(form.sums_bytes(form.parts())) : kNone;
  const Buffer sums = summed ? low.workspace(form.sums_bytes(form.blocks())) : kNone;
  const Buffer dy = low.input(0), x = low.input(1), y = low.input(6), used = fixed ? kNone : sums;
  const Buffer dx = data ? low.output(0) : kNone;
  const bool stream = data && view.padded && low.streams(0);
  const auto apply = [=](Run& run) {
    return BatchNormBackward{view, run.f32(x), run.f32(y), run.f32(dy), map.at(run),
                             static_cast<const double*>(run.at(used)), run.f32(dx), stream};
  };
  if (!summed) {
    if (data) low.launch(form.kernels.backward, form.parts(), 0, apply);
    return;
  }
  const auto add_up = [=](Run& run) {
    return BatchNormBackwardSums{view, run.f32(x), run.f32(dy), map.at(run), static_cast<double*>(run.at(partial))};
  };
  const Buffer dweight = affine ? low.output(data) : kNone, dbias = affine ? low.output(data + 1) : kNone;
  const int64_t chunks = form.chunks();
  const auto join = [=](Run& run) {
    return BatchNormJoin{view.channels, chunks, static_cast<const double*>(run.at(partial)), run.f32(map.spread),
                         map.variance, map.eps, static_cast<double*>(run.at(sums)), run.f32(dweight), run.f32(dbias)};
  };
  if (data) {
    return launch_two_passes(low, passes_of(low, form, 2), Pass{form.kernels.backward_sums, add_up},
                             Pass{form.kernels.join, join}, Pass{form.kernels.backward, apply});
  }
  low.launch(form.kernels.backward_sums, form.parts(), 0, add_up);
  low.launch(form.kernels.join, form.blocks(), 0, join);
}

}  // namespace

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
