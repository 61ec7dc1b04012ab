#pragma once
// One pixel of one block of channels: a line of 64 bytes, sixteen channels in f32 or thirty-two in bf16. What is written
// on lines of V vectors serves both, V = 1 being f32 and V = 2 bf16; pointers and distances count four bytes in either.
// The vectors of a bf16 line are its even channels and its odd ones: a shift and a mask expand them.
#include "kernels/cpu/micro/bf16.h"
#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// The channel of a block that lies in lane i of vector v.
template <int V>
THAW_INLINE int64_t channel_of(int v, int64_t i) {
  return i * V + v;
}

THAW_INLINE void load_line(const float* p, V16 (&line)[1]) { line[0] = load(p); }
THAW_INLINE void load_line(const float* p, V16 (&line)[2]) {
  const uint16_t* bits = reinterpret_cast<const uint16_t*>(p);
  line[0] = load_even(bits);
  line[1] = load_odd(bits);
}

THAW_INLINE void store_line(float* p, const V16 (&line)[1], bool stream = false) { store(p, line[0], stream); }
THAW_INLINE void store_line(float* p, const V16 (&line)[2], bool stream = false) {
  store_even_odd(reinterpret_cast<uint16_t*>(p), line[0], line[1], stream);
}

/// A block of a per-channel tensor [channels]: `otherwise` beyond its end, or where there is no tensor.
template <int V>
THAW_INLINE void load_channels(const float* p, int64_t block, int64_t channels, float otherwise, V16 (&line)[V]) {
  for (int v = 0; v < V; ++v) {
    float lane[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      const int64_t channel = block * V * kLanes + channel_of<V>(v, i);
      lane[i] = p && channel < channels ? p[channel] : otherwise;
    }
    line[v] = loadu(lane);
  }
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
