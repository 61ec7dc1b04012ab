#pragma once
// Batch normalisation over a blocked picture batch, or over a plain [N, C, L] one.
//
//   y = f((x - mean) * invstd * weight + bias + residual)
//   batch statistics: mean = sum(x) / M, var = sum((x - mean)^2) / M, invstd = 1 / sqrt(var + eps), M = N * L
//
// The backward pass takes dy and finds f' from x, of which it computes f's argument again: one tensor less to read.
//
// Channels are taken a line at a time (16, or 32 in bf16); pixels are cut into chunks by their number alone: of every
// picture, where pictures are large, or of the batch, picture after picture. Sums are made in f32 over a few lines, joined
// in double per chunk, and joined in the order of the chunks.
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/isa.h"

namespace thaw {

constexpr int64_t kBatchNormChunk = 2048;

/// Where the elements lie. Strides count four bytes; `lane` is the distance between neighbouring channels (f32 alone).
struct ChannelView {
  int64_t pictures, channels, pixels;              // N, C, L = H * W
  int64_t picture, block, pixel, lane;             // strides; `block` is that of a line's channels
  bool padded;                                     // lanes beyond C exist in memory (blocked)
  int64_t picture_chunks;                          // chunks of a picture; 0: chunks go on from picture to picture
};

static inline constexpr int64_t batch_norm_chunks(const ChannelView& v) {
  if (v.picture_chunks > 0) return v.pictures * v.picture_chunks;
  return (v.pictures * v.pixels + kBatchNormChunk - 1) / kBatchNormChunk;
}

/// Pixels of a chunk, counted through the batch.
struct BatchNormRange {
  int64_t first, last;
};
static inline constexpr BatchNormRange batch_norm_range(const ChannelView& v, int64_t chunk) {
  if (v.picture_chunks > 0) {
    const int64_t start = chunk / v.picture_chunks * v.pixels, i = chunk % v.picture_chunks;
    return {start + v.pixels * i / v.picture_chunks, start + v.pixels * (i + 1) / v.picture_chunks};
  }
  const int64_t first = chunk * kBatchNormChunk, all = v.pictures * v.pixels;
  return {first, first + kBatchNormChunk < all ? first + kBatchNormChunk : all};
}

/// The affine map of each channel, [C] all of them, and f.
struct BatchNormMap {
  const float* mean;
  const float* spread;    // invstd, or the variance where `variance` is set
  bool variance;
  float eps;
  const float* weight;    // or null
  const float* bias;      // or null
  Activation activation;  // f, `none` where the view is not padded
  float alpha;
};

/// Doubles [2][channels of a line], in the order of the line's vectors: of each chunk the mean and the sum of the squares
/// of what differs from it.
struct BatchNormSums {
  ChannelView view;
  const float* x;
  double* partial;        // [chunk][channel block] of these
};

struct BatchNormStatistics {
  ChannelView view;
  const double* partial;
  const float* running_mean;
  const float* running_var;
  float eps, momentum;
  float* mean;            // [C]
  float* invstd;          // [C]
  float* next_mean;       // [C] the running statistics after this batch
  float* next_var;
  const int64_t* tracked; // batches so far, or null
  int64_t* next_tracked;  // one more
};

struct BatchNormApply {
  ChannelView view;
  const float* x;
  BatchNormMap map;
  const float* residual;  // like x, or null; only where the view is padded
  float* y;
  bool stream;            // past the caches; only where the view is padded
  int64_t y_gap = 0;      // what a picture of y lies farther from the one before than one of x: not with a residual
};

/// Sums of dz and of dz * (x - mean), dz = dy * f', as doubles [2][channels of a line].
struct BatchNormBackwardSums {
  ChannelView view;
  const float* x;
  const float* dy;
  BatchNormMap map;
  double* partial;
};

/// Joins the sums of the backward pass: dbias = sum(dz), dweight = sum(dz * (x - mean)) * invstd.
struct BatchNormJoin {
  int64_t channels, chunks;
  double share;           // 1 / M
  const double* partial;
  const float* spread;
  bool variance;
  float eps;
  double* sums;           // [channel block]: sum(dz) / M, sum(dz * (x - mean)) * invstd^2 / M
  float* dweight;         // [C] or null
  float* dbias;           // [C] or null
};

/// dx = weight * invstd * (dz - sum(dz) / M - (x - mean) * invstd^2 * sum(dz * (x - mean)) / M)
/// Without `sums` (frozen statistics): dx = weight * invstd * dz.
struct BatchNormBackward {
  ChannelView view;
  const float* x;         // unread without sums and activation
  const float* y;         // where there is no x: f' follows from y
  const float* dy;
  BatchNormMap map;
  const double* sums;     // of the join
  float* dx;
  bool stream;            // as of BatchNormApply
};

/// Tasks: channel blocks * chunks, but for `statistics` and `join`: channel blocks.
struct BatchNormKernels {
  void (*sums)(const BatchNormSums&, int64_t task, void* scratch);
  void (*statistics)(const BatchNormStatistics&, int64_t task, void* scratch);
  void (*apply)(const BatchNormApply&, int64_t task, void* scratch);
  void (*backward_sums)(const BatchNormBackwardSums&, int64_t task, void* scratch);
  void (*join)(const BatchNormJoin&, int64_t task, void* scratch);
  void (*backward)(const BatchNormBackward&, int64_t task, void* scratch);
};

THAW_KERNELS(BatchNormKernels, batch_norm)
THAW_BF16_KERNELS(BatchNormKernels, batch_norm_bf16)

}  // namespace thaw
