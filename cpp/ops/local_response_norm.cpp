// local_response_norm(x[N,C,H,W]; size, alpha 1e-4, beta 0.75, k 1), PyTorch's meaning: the sum of squares is divided
// by `size`. local_response_norm_backward(x, dy; the same attributes) → dx.
#include "kernels/local_response_norm.h"

#include "ops/op.h"

namespace thaw {

namespace {

void infer(Infer& infer) {
  infer.expect_f32(0, 4);
  const int64_t size = infer.attrs().at("size").as_int();
  if (size < 1) infer.fail("size of at least 1", std::to_string(size));
  infer.output(DType::f32, infer.shape(0));
}

void gradient(Gradient& g) {
  if (!g.needs(0) || g.grad(0) == kNone) return;
  g.add(0, g.emit1("local_response_norm_backward", {g.input(0), g.grad(0)}, g.attrs()));
}

template <bool Backward>
void lower(Lower& low) {
  const Shape& s = low.in(0).shape;
  const Json& attrs = low.attrs();
  const LocalResponseNorm args = {nullptr, nullptr, nullptr, s[0], s[1], s[2] * s[3], attrs.at("size").as_int(),
                                  static_cast<float>(attrs.get("alpha", 1e-4)),
                                  static_cast<float>(attrs.get("beta", 0.75)), static_cast<float>(attrs.get("k", 1.0))};
  const int64_t tasks = args.pictures * ((args.pixels + kResponsePixels - 1) / kResponsePixels);
  const LocalResponseNormKernels& kernels = local_response_norm_kernels(low.isa());
  const Buffer x = low.input(0), dy = Backward ? low.input(1) : kNone, y = low.output(0);
  const size_t scratch = static_cast<size_t>(response_scratch(args.channels, args.size));
  low.launch(Backward ? kernels.backward : kernels.forward, tasks, scratch, [=](Run& run) {
    LocalResponseNorm a = args;
    a.x = run.f32(x);
    a.dy = run.f32(dy);
    a.y = run.f32(y);
    return a;
  });
}

}  // namespace

const OpDef& op_local_response_norm() {
  static const OpDef def{.name = "local_response_norm", .infer = infer, .gradient = gradient, .layout = layout_images,
                         .lower = lower<false>, .per_picture = true, .rows = same_row};
  return def;
}

const OpDef& op_local_response_norm_backward() {
  static const OpDef def{.name = "local_response_norm_backward", .infer = infer, .layout = layout_images,
                         .lower = lower<true>};
  return def;
}

}  // namespace thaw
