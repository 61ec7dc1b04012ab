#pragma once
// What the batch norm, its gradient and their parts share: how pictures lie, and the arguments of the kernels.
#include "kernels/batch_norm.h"
#include "ops/op.h"
#include "ops/product.h"
#include "ops/two_passes.h"

namespace thaw {

/// Statistics fixed: 'frozen'. Of the batch: 'train', 'statistics'. Made by another node: 'given'.
inline bool has_frozen_statistics(const Json& attrs) { return attrs.get("mode", "frozen") == "frozen"; }
inline bool has_batch_statistics(const Json& attrs) {
  return !has_frozen_statistics(attrs) && attrs.get("mode", "frozen") != "given";
}
inline float batch_norm_eps(const Json& attrs) { return static_cast<float>(attrs.get("eps", 1e-5)); }

/// How pictures lie, and the kernels for that.
struct BatchNormForm {
  const BatchNormKernels& kernels;
  ChannelView view;
  int64_t line;  // channels

  int64_t blocks() const { return (view.channels + line - 1) / line; }
  int64_t parts() const { return blocks() * batch_norm_chunks(view); }
  /// Bytes of two sums for each channel of `n` lines.
  size_t sums_bytes(int64_t n) const { return static_cast<size_t>(n * 2 * line) * sizeof(double); }
  /// f32 values of one picture's sums; 0 where chunks go on from picture to picture.
  int64_t picture_words() const { return view.picture_chunks * blocks() * 2 * line * 2; }
};

/// `gap`: blocks of others between two pictures.
BatchNormForm batch_norm_form(const Shape& x, Layout layout, Isa isa, int64_t gap = 0);
inline BatchNormForm batch_norm_form(const Value& x, Isa isa, int64_t gap = 0) {
  return batch_norm_form(x.shape, x.layout, isa, gap);
}

/// Operands of a BatchNormMap.
struct BatchNormMapBuffers {
  Buffer mean, spread, weight, bias;
  bool variance;
  float eps, alpha;
  Activation activation;

  BatchNormMap at(Run& run) const {
    return {run.f32(mean), run.f32(spread), variance, eps, run.f32(weight), run.f32(bias), activation, alpha};
  }
};
BatchNormMapBuffers batch_norm_map(Lower& low, Buffer mean, Buffer spread, Buffer weight, Buffer bias);

// ---- passes -----------------------------------------------------------------------------------------------------

inline auto batch_norm_sums(const BatchNormForm& form, Buffer x, Buffer partial) {
  return Pass{form.kernels.sums, [=, view = form.view](Run& run) {
                return BatchNormSums{view, run.f32(x), static_cast<double*>(run.at(partial))};
              }};
}

/// `old`: running mean and variance, batches so far. `made`: mean, invstd and the next of `old`.
struct BatchNormOld {
  Buffer mean, variance, tracked;
};
struct BatchNormMade {
  Buffer mean, invstd, next_mean, next_variance, next_tracked;
};
inline auto batch_norm_statistics(const Lower& low, const BatchNormForm& form, Buffer partial, BatchNormOld old,
                                  BatchNormMade made) {
  const float eps = batch_norm_eps(low.attrs()), momentum = static_cast<float>(low.attrs().get("momentum", 0.1));
  return Pass{form.kernels.statistics, [=, view = form.view](Run& run) {
                return BatchNormStatistics{view, static_cast<const double*>(run.at(partial)), run.f32(old.mean),
                                           run.f32(old.variance), eps, momentum, run.f32(made.mean), run.f32(made.invstd),
                                           run.f32(made.next_mean), run.f32(made.next_variance),
                                           static_cast<const int64_t*>(run.at(old.tracked)),
                                           static_cast<int64_t*>(run.at(made.next_tracked))};
              }};
}

inline auto batch_norm_backward_sums(const BatchNormForm& form, const BatchNormMapBuffers& map, Buffer dy, Buffer x,
                                     Buffer partial) {
  return Pass{form.kernels.backward_sums, [=, view = form.view](Run& run) {
                return BatchNormBackwardSums{view, run.f32(x), run.f32(dy), map.at(run),
                                             static_cast<double*>(run.at(partial))};
              }};
}

inline auto batch_norm_backward_join(const BatchNormForm& form, const BatchNormMapBuffers& map, Buffer partial, Buffer sums,
                                     Buffer dweight, Buffer dbias) {
  const int64_t channels = form.view.channels, chunks = batch_norm_chunks(form.view);
  const double share = 1.0 / static_cast<double>(form.view.pictures * form.view.pixels);
  return Pass{form.kernels.join, [=](Run& run) {
                return BatchNormJoin{channels, chunks, share, static_cast<const double*>(run.at(partial)),
                                     run.f32(map.spread), map.variance, map.eps, static_cast<double*>(run.at(sums)),
                                     run.f32(dweight), run.f32(dbias)};
              }};
}

/// `y` and `sums` may be kNone.
struct BatchNormGradient {
  Buffer dy, x, y, sums, dx;
  bool stream;
};
inline auto batch_norm_backward(const BatchNormForm& form, const BatchNormMapBuffers& map, BatchNormGradient of) {
  return Pass{form.kernels.backward, [=, view = form.view](Run& run) {
                return BatchNormBackward{view, run.f32(of.x), run.f32(of.y), run.f32(of.dy), map.at(run),
                                         static_cast<const double*>(run.at(of.sums)), run.f32(of.dx), of.stream};
              }};
}

}  // namespace thaw
