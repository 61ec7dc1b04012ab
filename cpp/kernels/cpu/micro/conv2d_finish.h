#pragma once
// What follows the product of tiles: residual, gate and activation in f32, one rounding to bf16, lines to their pixels.
#include "kernels/cpu/micro/activate.h"
#include "kernels/cpu/micro/tile.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// Rows skip … rows-1 of a tile's sums; row r goes to the line at offsets[r] (counted in four bytes).
struct TileFinish {
  const float* sums;
  float* y;
  const float* residual;  // or null
  const float* gate;      // or null
  const int64_t* offsets;
  int64_t skip, rows;
  float alpha;
  bool stream;            // y past the caches

  template <Activation kind>
  void run() const {
    const V16 slope = broadcast(alpha);
    for (int64_t r = skip; r < rows; ++r) {
      V16 low = loadu(sums + r * 32), high = loadu(sums + r * 32 + 16);
      if (residual) {
        const uint16_t* line = reinterpret_cast<const uint16_t*>(residual + offsets[r]);
        low = add(low, load_bf16(line));
        high = add(high, load_bf16(line + 16));
      }
      if (gate) {
        const uint16_t* line = reinterpret_cast<const uint16_t*>(gate + offsets[r]);
        low = select(less(zero(), load_bf16(line)), low, zero());
        high = select(less(zero(), load_bf16(line + 16)), high, zero());
      }
      store_line(reinterpret_cast<uint16_t*>(y + offsets[r]), activate_as<kind>(low, slope),
                 activate_as<kind>(high, slope), stream);
    }
  }
};

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
