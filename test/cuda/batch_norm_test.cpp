// Batch norm on the GPU against the CPU's scalar kernels, entry by entry, each given what the CPU's entry before it made.
// Sums are of other runs of f32, so they may differ by 2^-20 of their number of terms, which are about 1 each; what
// follows from equal sums differs in the last places, since the scalar kernels round products, and in bf16 by its rounding.
#include "kernels/batch_norm.h"

#include "compare.h"

using namespace thaw;
using gpu::Array;
using gpu::expect_close;

namespace {

enum class Form { plain, blocked, bf16 };

struct Problem {
  int64_t pictures, channels, pixels;
  Form form;
  Activation activation = Activation::none;
  bool residual = false, affine = true, variance = false;

  std::string text() const {
    const char* names[] = {" plain", " blocked", " bf16"};
    return std::to_string(pictures) + "x" + std::to_string(channels) + "x" + std::to_string(pixels) +
           names[static_cast<int>(form)] + " f" + std::to_string(static_cast<int>(activation)) +
           (residual ? " residual" : "") + (affine ? "" : " bare") + (variance ? " variance" : "");
  }
  int64_t line() const { return form == Form::bf16 ? 32 : 16; }
  int64_t blocks() const { return (channels + line() - 1) / line(); }
  int64_t chunks() const { return (pictures * pixels + kBatchNormChunk - 1) / kBatchNormChunk; }
  /// Four-byte words of a picture batch.
  int64_t words() const { return form == Form::plain ? pictures * channels * pixels : pictures * blocks() * pixels * 16; }
  ChannelView view() const {
    const bool padded = form != Form::plain;
    return {pictures, channels, pixels, padded ? blocks() * pixels * 16 : channels * pixels, pixels * 16,
            padded ? 16 : 1, padded ? 1 : pixels, padded, 0};
  }
};

/// Pictures as they lie: in bf16 two numbers a word.
std::vector<float> pictures(const Problem& p, uint64_t seed) {
  if (p.form != Form::bf16) return gpu::floats(p.words(), seed);
  std::vector<uint16_t> bits;
  for (const float x : gpu::floats(2 * p.words(), seed)) bits.push_back(harness::bf16_bits(x));
  std::vector<float> words(static_cast<size_t>(p.words()));
  std::memcpy(words.data(), bits.data(), words.size() * 4);
  return words;
}

void expect_pictures(const Problem& p, const std::vector<float>& got, const std::vector<float>& want, double tolerance,
                     const std::string& what) {
  if (p.form != Form::bf16) return expect_close(got, want, tolerance, what);
  std::vector<uint16_t> g(got.size() * 2), w(want.size() * 2);
  std::memcpy(g.data(), got.data(), got.size() * 4);
  std::memcpy(w.data(), want.data(), want.size() * 4);
  expect_close(g, w, 0x1p-8, what);
}

std::vector<float> positive(std::vector<float> values) {
  for (float& x : values) x = 0.5f + std::abs(x);
  return values;
}

struct Case {
  const Problem p;
  const BatchNormKernels& cpu = p.form == Form::bf16 ? scalar::batch_norm_bf16 : scalar::batch_norm;
  const BatchNormKernels& gpu = p.form == Form::bf16 ? cuda::batch_norm_bf16 : cuda::batch_norm;
  const ChannelView view = p.view();
  const int64_t parts = p.blocks() * p.chunks();
  const size_t c = static_cast<size_t>(p.channels), sums = static_cast<size_t>(2 * p.line());
  const std::vector<float> x = pictures(p, 1), residual = pictures(p, 2), dy = pictures(p, 3);
  const std::vector<float> weight = gpu::floats(p.channels, 4), bias = gpu::floats(p.channels, 5);
  const std::vector<float> running_mean = gpu::floats(p.channels, 6), running_var = positive(gpu::floats(p.channels, 7));
  const Array<float> on_x{x}, on_residual{residual}, on_dy{dy}, on_weight{weight}, on_bias{bias};
  const Array<float> on_running_mean{running_mean}, on_running_var{running_var};

  void statistics();
  void apply();
  void backward();
  BatchNormMap map(bool device) const {
    const auto pick = [&](const std::vector<float>& host, const Array<float>& other) {
      return device ? other.data() : host.data();
    };
    return {pick(running_mean, on_running_mean), pick(running_var, on_running_var), p.variance, 1e-5f,
            p.affine ? pick(weight, on_weight) : nullptr, p.affine ? pick(bias, on_bias) : nullptr, p.activation, 0.1f};
  }
};

void Case::statistics() {
  std::vector<double> partial(sums * static_cast<size_t>(parts));
  gpu::run_tasks(cpu.sums, {view, x.data(), partial.data()}, parts);
  const Array<double> on_partial(partial.size());
  gpu.sums({view, on_x, on_partial}, parts, nullptr);
  FINISH();
  const double terms = static_cast<double>(std::min(kBatchNormChunk, p.pictures * p.pixels));
  expect_close(on_partial.read(), partial, 0x1p-20, "moments " + p.text(), 4 * terms);

  if (p.pictures * p.pixels < 2) return;
  std::vector<float> result[4];
  for (auto& r : result) r.resize(c);
  const int64_t tracked = 41;
  int64_t next = 0;
  gpu::run_tasks(cpu.statistics, {view, partial.data(), running_mean.data(), running_var.data(), 1e-5f, 0.1f,
                                  result[0].data(), result[1].data(), result[2].data(), result[3].data(), &tracked, &next},
                 p.blocks());
  const Array<double> joined(partial);
  const Array<float> mean(c), invstd(c), next_mean(c), next_var(c);
  const Array<int64_t> on_tracked(std::vector<int64_t>{tracked}), on_next(1);
  gpu.statistics({view, joined, on_running_mean, on_running_var, 1e-5f, 0.1f, mean, invstd, next_mean, next_var, on_tracked,
                  on_next}, p.blocks(), nullptr);
  FINISH();
  expect_close(mean.read(), result[0], 0x1p-22, "mean " + p.text());
  expect_close(invstd.read(), result[1], 0x1p-22, "invstd " + p.text());
  expect_close(next_mean.read(), result[2], 0x1p-22, "next mean " + p.text());
  expect_close(next_var.read(), result[3], 0x1p-22, "next variance " + p.text());
  CHECK(next == 42 && on_next.read()[0] == 42);
}

void Case::apply() {
  std::vector<float> y(x.size());
  gpu::run_tasks(cpu.apply, {view, x.data(), map(false), p.residual ? residual.data() : nullptr, y.data(), true}, parts);
  const Array<float> on_y(y.size());
  gpu.apply({view, on_x, map(true), p.residual ? on_residual.data() : nullptr, on_y, true}, parts, nullptr);
  FINISH();
  expect_pictures(p, on_y.read(), y, 0x1p-20, "apply " + p.text());
}

void Case::backward() {
  std::vector<double> partial(sums * static_cast<size_t>(parts)), joined(sums * static_cast<size_t>(p.blocks()));
  gpu::run_tasks(cpu.backward_sums, {view, x.data(), dy.data(), map(false), partial.data()}, parts);
  const Array<double> on_partial(partial.size());
  gpu.backward_sums({view, on_x, on_dy, map(true), on_partial}, parts, nullptr);
  FINISH();
  const double terms = static_cast<double>(std::min(kBatchNormChunk, p.pictures * p.pixels));
  expect_close(on_partial.read(), partial, 0x1p-19, "backward sums " + p.text(), 4 * terms);

  std::vector<float> dweight(c), dbias(c);
  const BatchNormMap m = map(false), on_m = map(true);
  const double share = 1.0 / static_cast<double>(p.pictures * p.pixels);
  gpu::run_tasks(cpu.join, {p.channels, p.chunks(), share, partial.data(), m.spread, m.variance, m.eps, joined.data(),
                            dweight.data(), dbias.data()}, p.blocks());
  const Array<double> from(partial), on_joined(joined.size());
  const Array<float> on_dweight(c), on_dbias(c);
  gpu.join({p.channels, p.chunks(), share, from, on_m.spread, on_m.variance, on_m.eps, on_joined, on_dweight, on_dbias},
           p.blocks(), nullptr);
  FINISH();
  expect_close(on_joined.read(), joined, 0x1p-40, "joined sums " + p.text());
  expect_close(on_dweight.read(), dweight, 0x1p-22, "dweight " + p.text());
  expect_close(on_dbias.read(), dbias, 0x1p-22, "dbias " + p.text());

  const Array<double> same(joined);
  for (const int way : {0, 1, 2}) {  // through statistics; frozen, from x; frozen, from y
    const bool reads_x = way < 2;
    std::vector<float> dx(x.size());
    gpu::run_tasks(cpu.backward, {view, reads_x ? x.data() : nullptr, reads_x ? nullptr : x.data(), dy.data(), m,
                                  way == 0 ? joined.data() : nullptr, dx.data(), true}, parts);
    const Array<float> on_dx(dx.size());
    gpu.backward({view, reads_x ? on_x.data() : nullptr, reads_x ? nullptr : on_x.data(), on_dy, on_m,
                  way == 0 ? same.data() : nullptr, on_dx, true}, parts, nullptr);
    FINISH();
    expect_pictures(p, on_dx.read(), dx, 0x1p-20, "dx " + std::to_string(way) + " " + p.text());
  }
}

void verify(const Problem& p) {
  Case c{p};
  c.statistics();
  c.apply();
  c.backward();
}

}  // namespace

int main() {
  const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 1}, {2, 33, 15}, {3, 18, 49}, {3, 70, 715}, {2, 16, 64}};
  for (const auto& s : shapes)
    for (const Form form : {Form::plain, Form::blocked, Form::bf16}) verify({s[0], s[1], s[2], form});
  for (const Form form : {Form::blocked, Form::bf16})
    for (int kind = 0; kind <= static_cast<int>(Activation::gelu_tanh); ++kind) {
      const Activation activation = static_cast<Activation>(kind);
      verify({2, 35, 54, form, activation, true, true, true});
      verify({2, 35, 54, form, activation, false, false, false});
    }
  return check::result();
}
