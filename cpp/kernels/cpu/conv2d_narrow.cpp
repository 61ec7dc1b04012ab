// Convolution of a few channels on plain pictures; see kernels/conv2d_narrow.h.
#include "kernels/conv2d_narrow.h"

#include "kernels/cpu/micro/conv2d_tile.h"

namespace thaw {
namespace THAW_ISA {
namespace {

THAW_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Every `step`-th number. Strides that networks have are constants, for which compilers use permutations.
THAW_INLINE void pick(const float* from, int64_t step, int64_t count, float* to) {
  if (step == 1) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
  } else if (step == 2) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[2 * i];
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = from[step * i];
  }
}

// One row of a picture, or null beyond it, by phases of the stride.
void copy_row(const NarrowConv2d& a, const float* row, float* to) {
  for (int64_t phase = 0; phase < a.stride_x; ++phase, to += a.phase_cols) {
    const int64_t start = a.start_x + phase;  // of the column at index 0
    int64_t begin = start < 0 ? (-start + a.stride_x - 1) / a.stride_x : 0;
    int64_t end = start < a.in_width ? (a.in_width - start + a.stride_x - 1) / a.stride_x : 0;
    end = row ? smaller(end, a.phase_cols) : 0;
    begin = smaller(begin, end);
    for (int64_t i = 0; i < begin; ++i) to[i] = 0.0f;
    if (begin < end) pick(row + start + begin * a.stride_x, a.stride_x, end - begin, to + begin);
    for (int64_t i = end; i < a.phase_cols; ++i) to[i] = 0.0f;
  }
}

void copy_band(const NarrowConv2d& a, int64_t picture, int64_t first_row, int64_t rows, float* copy) {
  const int64_t top = first_row * a.stride_y + a.start_y, pitch = a.stride_x * a.phase_cols;
  for (int64_t c = 0; c < a.channels; ++c) {
    const float* plane = a.x + (picture * a.channels + c) * a.in_height * a.in_width;
    for (int64_t r = 0; r < rows; ++r) {
      const bool inside = top + r >= 0 && top + r < a.in_height;
      copy_row(a, inside ? plane + (top + r) * a.in_width : nullptr, copy + (c * a.copy_rows + r) * pitch);
    }
  }
}

// As conv2d_tile, with one offset for each product and pixels that lie side by side.
template <int M, int NV>
THAW_NOINLINE void narrow_tile(const Conv2dTile& t) {
  V16 sum[M][NV];
  THAW_FOR (i, M)
    THAW_FOR (v, NV) sum[i][v] = load(t.bias + v * kLanes);
  const float* w = t.weights;
  for (int64_t k = 0; k < t.tap_count; ++k, w += NV * kLanes) {
    const float* p = t.x + t.taps[k];
    V16 weight[NV];
    THAW_FOR (v, NV) weight[v] = load(w + v * kLanes);
    THAW_FOR (i, M) {
      const V16 input = broadcast(p[i]);
      THAW_FOR (v, NV) sum[i][v] = fma(input, weight[v], sum[i][v]);
    }
  }
  finish_tile<M, NV>(t, sum);
}

static const Conv2dTileFunction narrow_tiles[kPanelVectors][kTilePixels] = THAW_TILES(narrow_tile);

// All outputs of one panel from a band, whose first output row is `row`.
void sweep_panel(const NarrowConv2d& a, const Conv2dPanel& panel, int64_t picture, int64_t row, int64_t rows,
                 const float* copy) {
  alignas(64) float bias[kPanelVectors * kLanes];
  int64_t offsets[kTilePixels];
  for (int64_t i = 0; i < kTilePixels; ++i) offsets[i] = i * kLanes;
  for (int64_t v = 0; v < panel.vectors; ++v) {
    const int64_t channel = (panel.out_block + v) * kLanes;
    store(bias + v * kLanes, a.bias ? load_n(a.bias + channel, smaller(kLanes, a.out_channels - channel)) : zero());
  }
  Conv2dTile t{};
  t.weights = a.weights + panel.weights;
  t.bias = bias;
  t.offsets = offsets;
  t.y_block = a.out_height * a.out_width * kLanes;
  t.taps = a.offsets;
  t.tap_count = a.products;
  t.last = true;
  t.activation = a.activation;
  t.alpha = a.alpha;
  const int64_t tiles = (a.out_width + kTilePixels - 1) / kTilePixels;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t line = ((picture * a.out_blocks + panel.out_block) * a.out_height + row + r) * a.out_width;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t begin = a.out_width * i / tiles, pixels = a.out_width * (i + 1) / tiles - begin;
      t.x = copy + r * a.stride_y * a.stride_x * a.phase_cols + begin;
      t.y = a.y + (line + begin) * kLanes;
      t.residual = a.residual ? a.residual + (line + begin) * kLanes : nullptr;
      narrow_tiles[panel.vectors - 1][pixels - 1](t);
    }
  }
}

void direct(const NarrowConv2d& a, int64_t task, void* scratch) {
  float* copy = static_cast<float*>(scratch);
  const int64_t picture = task / a.bands, row = task % a.bands * a.band_rows;
  const int64_t rows = smaller(a.band_rows, a.out_height - row);
  copy_band(a, picture, row, a.copy_rows - (a.band_rows - rows) * a.stride_y, copy);
  for (int64_t p = 0; p < a.panel_count; ++p) sweep_panel(a, a.panels[p], picture, row, rows, copy);
}

}  // namespace

extern const NarrowConv2dKernels conv2d_narrow = {direct};

}  // namespace THAW_ISA
}  // namespace thaw
