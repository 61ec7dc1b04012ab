#pragma once
// What convolutions by products of tiles share: panels of 32 outputs, steps of 32 channels.
#include "kernels/cpu/micro/conv2d_band.h"
#include "kernels/cpu/micro/tile.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// Bytes from a grid point to what step k reads; of parts, to the first.
THAW_INLINE void fill_steps(const Conv2d& a, const int64_t* taps, int64_t x_block, int64_t steps, int64_t* table) {
  for (int64_t k = 0; k < steps; ++k)
    table[k] = (k / a.taps * x_block + taps[k % a.taps]) * static_cast<int64_t>(sizeof(float));
}

/// Of a panel's 32 outputs, the shortcut's added.
THAW_INLINE void load_bias(const Conv2d& a, const Conv2dPanel& panel, float* bias) {
  for (int64_t v = 0; v < 2; ++v) {
    const int64_t channel = panel.out_block * kLineLanes + v * kLanes, left = a.out_channels - channel;
    store(bias + v * kLanes, left > 0 ? load_bias_line(a, channel, smaller(kLanes, left)) : zero());
  }
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
