// dropout(x[N,…]; p 0.5, stream): drops each element with probability p and scales the kept ones by 1 / (1 - p).
// Draws depend on (seed, epoch, sample, stream, index within the sample); `stream` is the name of the node unless the
// graph says otherwise. dropout_backward(dy; p, stream) makes the same draws again instead of keeping a mask.
// Inactive dropout is taken out of the graph before: the operator itself always drops.
#include <cmath>

#include "kernels/dropout.h"
#include "ops/op.h"

namespace thaw {

namespace {

void infer(Infer& infer) {
  infer.expect_f32(0);
  const double p = infer.attrs().get("p", 0.5);
  if (!(p >= 0 && p <= 1)) infer.fail("p in 0 … 1", infer.attrs().at("p").dump());
  infer.output(DType::f32, infer.shape(0));
}

void gradient(Gradient& g) {
  if (!g.needs(0) || g.grad(0) == kNone) return;
  Json attrs = Json::object();
  attrs.set("p", g.attrs().get("p", 0.5)).set("stream", g.attrs().get("stream", g.node().name.c_str()));
  g.add(0, g.emit1("dropout_backward", {g.grad(0)}, attrs));
}

/// What does not depend on the run.
Dropout arguments(const Value& x, const Json& attrs) {
  const double p = attrs.get("p", 0.5);
  Dropout a = {};
  a.threshold = static_cast<uint64_t>(std::llround(p * 4294967296.0));
  a.scale = p < 1 ? static_cast<float>(1 / (1 - p)) : 0.0f;
  a.rows = x.shape.empty() ? 1 : x.shape[0];
  a.elements = a.rows > 0 ? count(x.shape) / a.rows : 0;
  if (x.layout != Layout::plain) {
    a.channels = x.shape[1];
    a.pixels = x.shape[2] * x.shape[3];
  }
  return a;
}

void lower(Lower& low) {
  const Value& value = low.in(0);
  const Dropout args = arguments(value, low.attrs());
  const std::string stream = low.attrs().get("stream", low.node().name.c_str());
  const uint64_t hash = name_hash(stream.data(), stream.size());
  const bool plain = value.layout == Layout::plain, bf16 = value.layout == Layout::blocked_bf16;
  const int64_t block = bf16 ? kBlockBf16 : kBlock;
  const int64_t parts = plain ? (args.elements + kDropoutChunk - 1) / kDropoutChunk
                              : (args.channels + block - 1) / block;
  const DropoutKernels& kernels = dropout_kernels(low.isa());
  const auto kernel = plain ? kernels.plain : bf16 ? kernels.blocked_bf16 : kernels.blocked;
  const Buffer x = low.input(0), y = low.output(0);
  low.launch(kernel, args.rows * parts, 0, [=](Run& run) {
    const RandomState& random = run.random();
    Dropout a = args;
    a.x = run.at(x);
    a.y = run.at(y);
    a.key = stream_key(random.seed, hash);
    a.epoch = random.epoch;
    a.samples = static_cast<int64_t>(random.samples.size()) >= a.rows ? run.samples() : nullptr;
    return a;
  });
}

}  // namespace

const OpDef& op_dropout() {
  static const OpDef def{.name = "dropout", .infer = infer, .gradient = gradient, .layout = layout_follow,
                         .lower = lower, .bf16 = true, .random = true};
  return def;
}

const OpDef& op_dropout_backward() {
  static const OpDef def{.name = "dropout_backward", .infer = infer, .layout = layout_follow, .lower = lower,
                         .bf16 = true, .random = true};
  return def;
}

}  // namespace thaw
