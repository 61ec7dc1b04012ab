#pragma once
// The inner loop of convolution: M pixels × NV vectors of 16 outputs in registers, one broadcast input and NV vectors
// of weights at a time. Pixels lie 64 bytes apart, so all loads are at constant displacements.
//
// y[pixel][o] = activation(start + sum over blocks, taps, channels of x * w + residual), in exactly this order for
// every pixel and every M: results do not depend on the tile that a pixel falls into. Each call sums from zero (or the
// bias) and then adds what y holds of earlier blocks: one chain through thousands of products would round off more.
#include "kernels/cpu/micro/activate.h"

namespace thaw {
namespace THAW_ISA {
namespace {

#if defined(THAW_ISA_avx512)
constexpr int kTilePixels = 14, kPanelVectors = 2;
#elif defined(THAW_ISA_avx2)
constexpr int kTilePixels = 6, kPanelVectors = 1;
#else
constexpr int kTilePixels = 2, kPanelVectors = 1;
#endif

struct Conv2dTile {
  const float* x;  // first pixel, first block
  const float* weights;
  float* y;
  const float* residual;   // like y, or null
  const float* gate;       // like y, or null
  const float* bias;       // 16 * NV floats; null: y holds the sum of earlier blocks
  const int64_t* offsets;  // floats from y to each pixel
  int64_t y_block;         // floats between blocks of the output
  int64_t x_block, blocks, tail;
  const int64_t* taps;
  int64_t tap_count;
  bool last;  // finish: residual, gate and activation
  Activation activation;
  float alpha;
  bool stream;  // y past the caches: only where the sum is one call's
};

struct ActivatePixels {
  float* y;
  const int64_t* offsets;
  int64_t pixels;
  float alpha;
  template <Activation kind>
  void run() const {
    for (int64_t i = 0; i < pixels; ++i) {
      float* p = y + offsets[i];
      store(p, activate_as<kind>(load(p), broadcast(alpha)));
    }
  }
};

// Apart from the tile, so that its registers stay free of what few convolutions need.
THAW_NOINLINE void activate_pixels(float* y, const int64_t* offsets, int64_t pixels, Activation kind, float alpha) {
  with_activation(kind, ActivatePixels{y, offsets, pixels, alpha});
}

template <int M, int NV>
THAW_INLINE void finish_tile(const Conv2dTile& t, V16 (&sum)[M][NV]) {
  if (!t.bias) {
    THAW_FOR (i, M)
      THAW_FOR (v, NV) sum[i][v] = add(load(t.y + t.offsets[i] + v * t.y_block), sum[i][v]);
  }
  if (t.last && t.residual) {
    THAW_FOR (i, M)
      THAW_FOR (v, NV) sum[i][v] = add(sum[i][v], load(t.residual + t.offsets[i] + v * t.y_block));
  }
  if (t.last && t.gate) {
    THAW_FOR (i, M)
      THAW_FOR (v, NV) sum[i][v] = select(less(zero(), load(t.gate + t.offsets[i] + v * t.y_block)), sum[i][v], zero());
  }
  if (t.last && t.activation == Activation::relu) {
    THAW_FOR (i, M)
      THAW_FOR (v, NV) sum[i][v] = maximum(zero(), sum[i][v]);
  }
  THAW_FOR (i, M)
    THAW_FOR (v, NV) store(t.y + t.offsets[i] + v * t.y_block, sum[i][v], t.stream);
  if (t.last && t.activation != Activation::none && t.activation != Activation::relu) {
    for (int v = 0; v < NV; ++v) activate_pixels(t.y + v * t.y_block, t.offsets, M, t.activation, t.alpha);
  }
}

template <int M, int NV>
THAW_NOINLINE void conv2d_tile(const Conv2dTile& t) {
  V16 sum[M][NV];
  if (t.bias) {
    THAW_FOR (i, M)
      THAW_FOR (v, NV) sum[i][v] = load(t.bias + v * kLanes);
  } else {
    THAW_FOR (i, M)
      THAW_FOR (v, NV) sum[i][v] = zero();
  }
  const float* w = t.weights;
  const float* x = t.x;
  for (int64_t b = 0; b < t.blocks; ++b, x += t.x_block) {
    const int64_t channels = b + 1 < t.blocks ? kLanes : t.tail;
    for (int64_t tap = 0; tap < t.tap_count; ++tap) {
      const float* p = x + t.taps[tap];
      const float* end = p + channels;
      for (; p < end; ++p, w += NV * kLanes) {
        V16 weight[NV];
        THAW_FOR (v, NV) weight[v] = load(w + v * kLanes);
        THAW_FOR (i, M) {
          const V16 input = broadcast(p[i * kLanes]);
          THAW_FOR (v, NV) sum[i][v] = fma(input, weight[v], sum[i][v]);
        }
      }
    }
  }
  finish_tile<M, NV>(t, sum);
}

using Conv2dTileFunction = void (*)(const Conv2dTile&);

// The instances by vectors - 1 and pixels - 1.
#define THAW_TILES_2(F, N) F<1, N>, F<2, N>
#define THAW_TILES_6(F, N) THAW_TILES_2(F, N), F<3, N>, F<4, N>, F<5, N>, F<6, N>
#define THAW_TILES_14(F, N) \
  THAW_TILES_6(F, N), F<7, N>, F<8, N>, F<9, N>, F<10, N>, F<11, N>, F<12, N>, F<13, N>, F<14, N>
#if defined(THAW_ISA_avx512)
#define THAW_TILES(F) {{THAW_TILES_14(F, 1)}, {THAW_TILES_14(F, 2)}}
#elif defined(THAW_ISA_avx2)
#define THAW_TILES(F) {{THAW_TILES_6(F, 1)}}
#else
#define THAW_TILES(F) {{THAW_TILES_2(F, 1)}}
#endif
static const Conv2dTileFunction conv2d_tiles[kPanelVectors][kTilePixels] = THAW_TILES(conv2d_tile);

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
