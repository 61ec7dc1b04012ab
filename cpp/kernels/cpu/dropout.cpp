// Dropout; what it computes is said in kernels/dropout.h.
#include "kernels/dropout.h"

#include "kernels/cpu/micro/bf16.h"

namespace thaw {
namespace THAW_ISA {
namespace {

// Counters that one call of `draw` takes together. Loops of up to 16 are unrolled before they could become vector code.
constexpr int64_t kQuads = 32;
constexpr int64_t kDraws = 4 * kQuads;

/// The factors (scale or 0) of the kDraws elements of a sample from 4*quad on. The loops over counters become vector code.
void draw(const Dropout& a, int64_t sample, int64_t quad, float* factor) {
  uint32_t c0[kQuads], c1[kQuads], c2[kQuads], c3[kQuads];
  for (int64_t i = 0; i < kQuads; ++i) {
    const PhiloxBlock c = sample_counter(a.epoch, sample, static_cast<uint64_t>(quad + i));
    c0[i] = c.word[0], c1[i] = c.word[1], c2[i] = c.word[2], c3[i] = c.word[3];
  }
  PhiloxKey k = a.key;
  for (int round = 0; round < 10; ++round) {
    for (int64_t i = 0; i < kQuads; ++i) {
      const PhiloxBlock c = philox_round({{c0[i], c1[i], c2[i], c3[i]}}, k);
      c0[i] = c.word[0], c1[i] = c.word[1], c2[i] = c.word[2], c3[i] = c.word[3];
    }
    k = philox_next(k);
  }
  for (int64_t i = 0; i < kQuads; ++i) {
    factor[4 * i] = c0[i] < a.threshold ? 0.0f : a.scale;
    factor[4 * i + 1] = c1[i] < a.threshold ? 0.0f : a.scale;
    factor[4 * i + 2] = c2[i] < a.threshold ? 0.0f : a.scale;
    factor[4 * i + 3] = c3[i] < a.threshold ? 0.0f : a.scale;
  }
}

int64_t sample_of(const Dropout& a, int64_t row) { return a.samples ? a.samples[row] : row; }

void plain(const Dropout& a, int64_t task, void*) {
  const int64_t chunks = (a.elements + kDropoutChunk - 1) / kDropoutChunk;
  const int64_t row = task / chunks, first = task % chunks * kDropoutChunk;
  const int64_t last = first + kDropoutChunk < a.elements ? first + kDropoutChunk : a.elements;
  const float* x = static_cast<const float*>(a.x) + row * a.elements;
  float* y = static_cast<float*>(a.y) + row * a.elements;
  float factor[kDraws];
  for (int64_t e = first; e < last; e += kDraws) {
    draw(a, sample_of(a, row), e / 4, factor);
    const int64_t n = last - e < kDraws ? last - e : kDraws;
    for (int64_t i = 0; i < n; ++i) y[e + i] = x[e + i] * factor[i];
  }
}

/// The factors of `n` neighbouring pixels of one channel: elements first … first+n-1, written `step` floats apart.
void draw_channel(const Dropout& a, int64_t sample, int64_t first, int64_t n, float* factors, int64_t step) {
  float factor[kDraws];
  for (int64_t quad = first / 4; quad * 4 < first + n; quad += kQuads) {
    draw(a, sample, quad, factor);
    for (int64_t i = 0; i < kDraws; ++i) {
      const int64_t pixel = quad * 4 + i - first;
      if (pixel >= 0 && pixel < n) factors[pixel * step] = factor[i];
    }
  }
}

THAW_INLINE void drop(const float* x, float* y, V16 factor) { store(y, mul(load(x), factor)); }
THAW_INLINE void drop(const uint16_t* x, uint16_t* y, V16 factor) { store_bf16(y, mul(load_bf16(x), factor)); }

/// A plane of lines of `width` channels.
template <class T, int64_t width>
void drop_plane(const Dropout& a, int64_t task) {
  constexpr int64_t kPixels = 128;
  const int64_t blocks = (a.channels + width - 1) / width;
  const int64_t row = task / blocks, block = task % blocks;
  const int64_t lanes = a.channels - block * width < width ? a.channels - block * width : width;
  float factors[kPixels * width];
  for (int64_t i = 0; i < kPixels * width; ++i) factors[i] = 0;  // the lanes of the padding stay dropped
  for (int64_t p = 0; p < a.pixels; p += kPixels) {
    const int64_t n = a.pixels - p < kPixels ? a.pixels - p : kPixels;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      draw_channel(a, sample_of(a, row), (block * width + lane) * a.pixels + p, n, factors + lane, width);
    }
    const int64_t offset = (task * a.pixels + p) * width;
    const T* x = static_cast<const T*>(a.x) + offset;
    T* y = static_cast<T*>(a.y) + offset;
    for (int64_t i = 0; i < n * width; i += kLanes) drop(x + i, y + i, loadu(factors + i));
  }
}

void blocked(const Dropout& a, int64_t task, void*) { drop_plane<float, 16>(a, task); }
void blocked_bf16(const Dropout& a, int64_t task, void*) { drop_plane<uint16_t, 32>(a, task); }

}  // namespace

extern const DropoutKernels dropout = {plain, blocked, blocked_bf16};

}  // namespace THAW_ISA
}  // namespace thaw
