#pragma once
// Batch normalisation over a blocked picture batch, or over a plain [N, C, L] one.
//
//   y = (x - mean) * invstd * weight + bias
//   batch statistics: mean = sum(x) / M, var = sum((x - mean)^2) / M, invstd = 1 / sqrt(var + eps), M = N * L
//
// Channels are taken sixteen at a time; the pixels of the batch (picture after picture) are cut into chunks of
// kBatchNormChunk, so that tasks follow from the shape. Sums are made in double, per chunk, and joined in the order of
// the chunks.
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

constexpr int64_t kBatchNormChunk = 2048;

/// Where the elements lie. Strides count elements; `lane` is the distance between neighbouring channels.
struct ChannelView {
  int64_t pictures, channels, pixels;              // N, C, L = H * W
  int64_t picture, block, pixel, lane;             // strides; `block` is that of sixteen channels
  bool padded;                                     // lanes beyond C exist in memory (blocked)
};

struct BatchNormSums {
  ChannelView view;
  const float* x;
  const float* dy;        // backward only
  const float* mean;      // backward only
  double* partial;        // [chunk][channel block][2][16]
};

struct BatchNormStatistics {
  int64_t channels, chunks, count;                 // count = M
  const double* partial;
  ChannelView view;
  const float* x;                                  // the shift of the sums: the first value of each channel
  const float* running_mean;
  const float* running_var;
  float eps, momentum;
  float* mean;            // [C]
  float* invstd;          // [C]
  float* next_mean;       // [C] the running statistics after this batch
  float* next_var;
};

struct BatchNormApply {
  ChannelView view;
  const float* x;
  const float* mean;      // [C]
  const float* spread;    // [C] invstd, or the variance where `variance` is set
  bool variance;
  float eps;
  const float* weight;    // [C] or null
  const float* bias;      // [C] or null
  float* y;
};

/// Joins the sums of the backward pass: dbias = sum(dy), dweight = sum(dy * (x - mean)) * invstd.
struct BatchNormJoin {
  int64_t channels, chunks;
  const double* partial;
  const float* spread;
  bool variance;
  float eps;
  double* sums;           // [channel block][2][16]
  float* dweight;         // [C] or null
  float* dbias;           // [C] or null
};

/// dx = weight * invstd * (dy - sum(dy) / M - (x - mean) * invstd^2 * sum(dy * (x - mean)) / M)
/// Without `sums` (frozen statistics): dx = weight * invstd * dy.
struct BatchNormBackward {
  ChannelView view;
  const float* x;         // unread without sums
  const float* dy;
  const float* mean;
  const float* spread;
  bool variance;
  float eps;
  const float* weight;
  const double* sums;
  float* dx;
};

/// Tasks: channel blocks * chunks, but for `statistics` and `join`: channel blocks.
struct BatchNormKernels {
  void (*sums)(const BatchNormSums&, int64_t task, void* scratch);
  void (*statistics)(const BatchNormStatistics&, int64_t task, void* scratch);
  void (*apply)(const BatchNormApply&, int64_t task, void* scratch);
  void (*backward_sums)(const BatchNormSums&, int64_t task, void* scratch);
  void (*join)(const BatchNormJoin&, int64_t task, void* scratch);
  void (*backward)(const BatchNormBackward&, int64_t task, void* scratch);
};

THAW_KERNELS(BatchNormKernels, batch_norm)

}  // namespace thaw
