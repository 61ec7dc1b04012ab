// batch_norm(x[N,C,…], weight?[C], bias?[C], running_mean[C], running_var[C], num_batches_tracked?[] i64;
//            mode 'frozen' (default) | 'statistics' | 'train', eps 1e-5, momentum 0.1)
//   frozen            → y by the running statistics
//   statistics, train → y by the batch's, mean[C], invstd[C], and the next running_mean, running_var and
//                       num_batches_tracked (where operand 5 is there); running_var takes the unbiased variance
//   'statistics' and 'train' compute the same; which of weight and bias train is the marks' business.
//
// batch_norm_backward(dy, x?, weight?[C], mean[C], spread[C]; mode, eps, data, affine)
//   spread is invstd, or the variance for mode 'frozen'. → dx where `data`, then dweight[C] and dbias[C] where
//   `affine`.
//   x is absent where nothing needs it: frozen statistics and no `affine`.
#include "kernels/batch_norm.h"

#include "ops/op.h"

namespace thaw {

namespace {

bool frozen(const Json& attrs) { return attrs.get("mode", "frozen") == "frozen"; }
float eps_of(const Json& attrs) { return static_cast<float>(attrs.get("eps", 1e-5)); }

/// Values per channel.
int64_t values_per_channel(const Shape& x) { return x[1] == 0 ? 0 : count(x) / x[1]; }

void check_operands(const Infer& infer) {
  infer.expect_f32(0);
  const Shape& x = infer.shape(0);
  if (x.size() < 2) infer.fail("operand 0 of shape [N,C,…]", to_string(x));
  const std::string mode = infer.attrs().get("mode", "frozen");
  if (mode != "frozen" && mode != "statistics" && mode != "train") {
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
  infer.output(DType::f32, x);
  if (frozen(infer.attrs())) return;
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

void infer_backward(Infer& infer) {
  infer.expect_f32(0);
  const Shape dy = infer.shape(0);
  if (infer.attrs().get("data", true)) infer.output(DType::f32, dy);
  if (!infer.attrs().get("affine", true)) return;
  infer.output(DType::f32, {dy[1]});
  infer.output(DType::f32, {dy[1]});
}

// ---- lower ------------------------------------------------------------------------------------------------------

ChannelView view_of(const Value& x) {
  ChannelView v = {};
  v.pictures = x.shape[0];
  v.channels = x.shape[1];
  v.pixels = count(Shape(x.shape.begin() + 2, x.shape.end()));
  v.padded = x.layout == Layout::blocked;
  v.block = v.pixels * kBlock;
  v.pixel = v.padded ? kBlock : 1;
  v.lane = v.padded ? 1 : v.pixels;
  v.picture = v.padded ? (v.channels + kBlock - 1) / kBlock * v.block : v.channels * v.pixels;
  return v;
}

int64_t channel_blocks(const ChannelView& v) { return (v.channels + kBlock - 1) / kBlock; }
int64_t pixel_chunks(const ChannelView& v) {
  return (v.pictures * v.pixels + kBatchNormChunk - 1) / kBatchNormChunk;
}
int64_t parts(const ChannelView& v) { return channel_blocks(v) * pixel_chunks(v); }
/// Bytes of two sums of sixteen doubles for each of `n` parts.
size_t sums_bytes(int64_t n) { return static_cast<size_t>(n) * 32 * sizeof(double); }

void lower_statistics(Lower& low, const ChannelView& view) {
  const BatchNormKernels& kernels = batch_norm_kernels(low.isa());
  const Buffer x = low.input(0), partial = low.workspace(sums_bytes(parts(view)));
  low.launch(kernels.sums, parts(view), 0, [=](Run& run) {
    return BatchNormSums{view, run.f32(x), nullptr, nullptr, static_cast<double*>(run.at(partial))};
  });
  const Buffer old_mean = low.input(3), old_var = low.input(4);
  const Buffer mean = low.output(1), invstd = low.output(2), next_mean = low.output(3), next_var = low.output(4);
  const float eps = eps_of(low.attrs()), momentum = static_cast<float>(low.attrs().get("momentum", 0.1));
  low.launch(kernels.statistics, channel_blocks(view), 0, [=](Run& run) {
    return BatchNormStatistics{view.channels, pixel_chunks(view), view.pictures * view.pixels,
                               static_cast<const double*>(run.at(partial)), view, run.f32(x), run.f32(old_mean),
                               run.f32(old_var), eps, momentum, run.f32(mean), run.f32(invstd), run.f32(next_mean),
                               run.f32(next_var)};
  });
  if (!low.has(5)) return;
  const Buffer tracked = low.input(5), next = low.output(5);
  low.add([=](Run& run) { *static_cast<int64_t*>(run.at(next)) = *static_cast<const int64_t*>(run.at(tracked)) + 1; });
}

void lower_batch_norm(Lower& low) {
  const ChannelView view = view_of(low.in(0));
  const bool fixed = frozen(low.attrs());
  if (!fixed) lower_statistics(low, view);
  const Buffer x = low.input(0), weight = low.input(1), bias = low.input(2), y = low.output(0);
  const Buffer mean = fixed ? low.input(3) : low.output(1), spread = fixed ? low.input(4) : low.output(2);
  const float eps = eps_of(low.attrs());
  low.launch(batch_norm_kernels(low.isa()).apply, parts(view), 0, [=](Run& run) {
    return BatchNormApply{view, run.f32(x), run.f32(mean), run.f32(spread), fixed, eps, run.f32(weight),
                          run.f32(bias), run.f32(y)};
  });
}

/// Sums over the batch, into `sums` and into the affine gradients where they are wanted.
void lower_backward_sums(Lower& low, const ChannelView& view, Buffer sums) {
  const BatchNormKernels& kernels = batch_norm_kernels(low.isa());
  const bool fixed = frozen(low.attrs()), data = low.attrs().get("data", true);
  const float eps = eps_of(low.attrs());
  const Buffer dy = low.input(0), x = low.input(1), mean = low.input(3), spread = low.input(4);
  const Buffer partial = low.workspace(sums_bytes(parts(view)));
  low.launch(kernels.backward_sums, parts(view), 0, [=](Run& run) {
    return BatchNormSums{view, run.f32(x), run.f32(dy), run.f32(mean), static_cast<double*>(run.at(partial))};
  });
  const bool affine = low.attrs().get("affine", true);
  const Buffer dweight = affine ? low.output(data) : kNone, dbias = affine ? low.output(data + 1) : kNone;
  low.launch(kernels.join, channel_blocks(view), 0, [=](Run& run) {
    return BatchNormJoin{view.channels, pixel_chunks(view), static_cast<const double*>(run.at(partial)),
                         run.f32(spread), fixed, eps, static_cast<double*>(run.at(sums)), run.f32(dweight),
                         run.f32(dbias)};
  });
}

void lower_backward(Lower& low) {
  const ChannelView view = view_of(low.in(0));
  const bool fixed = frozen(low.attrs());
  const bool summed = !fixed || low.attrs().get("affine", true);
  const Buffer sums = summed ? low.workspace(sums_bytes(channel_blocks(view))) : kNone;
  if (summed) lower_backward_sums(low, view, sums);
  if (!low.attrs().get("data", true)) return;
  const Buffer dy = low.input(0), x = low.input(1), weight = low.input(2), mean = low.input(3), spread = low.input(4);
  const Buffer dx = low.output(0), used = fixed ? kNone : sums;
  const float eps = eps_of(low.attrs());
  low.launch(batch_norm_kernels(low.isa()).backward, parts(view), 0, [=](Run& run) {
    return BatchNormBackward{view, run.f32(x), run.f32(dy), run.f32(mean), run.f32(spread), fixed, eps,
                             run.f32(weight), static_cast<const double*>(run.at(used)), run.f32(dx)};
  });
}

}  // namespace

const OpDef& op_batch_norm() {
  static const OpDef def{.name = "batch_norm", .infer = infer_batch_norm, .gradient = gradient,
                         .layout = layout_images, .lower = lower_batch_norm, .per_picture = true, .states = {{3, 3}, {4, 4}, {5, 5}}};
  return def;
}

const OpDef& op_batch_norm_backward() {
  static const OpDef def{.name = "batch_norm_backward", .infer = infer_backward, .layout = layout_images,
                         .lower = lower_backward};
  return def;
}

}  // namespace thaw
