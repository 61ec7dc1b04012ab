#pragma once
// Weights [K, C, taps] as lines of sixteen outputs.
#include "kernels/cpu/micro/transpose_dwords.h"

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int64_t kMostFilterTaps = 9;

/// The filters from 16 channels to 16 outputs. Line (t, c), sixteen outputs, lies at lines + t * tap + c * channel.
struct Filters {
  alignas(64) float lines[kLanes * kLanes * kMostFilterTaps];
  int64_t tap, channel;
};

// Sixteen rows of 16 * taps floats, `stride` floats apart, to lines: element i of every row becomes line i.
THAW_INLINE void rows_to_lines(const float* from, int64_t stride, int64_t taps, float* lines) {
  alignas(64) float rows[kLanes * kLanes * kMostFilterTaps];
  const int64_t row = taps * kLanes;
  for (int64_t i = 0; i < kLanes; ++i)
    for (int64_t j = 0; j < row; j += kLanes) store(rows + i * row + j, loadu(from + i * stride + j));
  for (int64_t j = 0; j < taps; ++j)
    transpose_dwords(rows + j * kLanes, row * sizeof(float), lines + j * kLanes * kLanes, kLanes * sizeof(float));
}

/// `weight` points to the first output's first channel; a row of it has `channels` channels.
THAW_NOINLINE void read_filters(const float* weight, int64_t channels, int64_t taps, Filters& f) {
  rows_to_lines(weight, channels * taps, taps, f.lines);
  f.tap = kLanes, f.channel = taps * kLanes;
}

/// The same where outputs and channels are exchanged: `weight` [channels, outputs, taps].
THAW_NOINLINE void read_transposed_filters(const float* weight, int64_t outputs, int64_t taps, Filters& f) {
  f.tap = kLanes * kLanes, f.channel = kLanes;
  if (taps == 1) {
    for (int64_t c = 0; c < kLanes; ++c) store(f.lines + c * kLanes, loadu(weight + c * outputs));
    return;
  }
  alignas(64) float lines[kLanes * kLanes * kMostFilterTaps];  // [output][tap][channel]
  rows_to_lines(weight, outputs * taps, taps, lines);
  for (int64_t t = 0; t < taps; ++t)
    transpose_dwords(lines + t * kLanes, taps * kLanes * sizeof(float), f.lines + t * f.tap, kLanes * sizeof(float));
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
