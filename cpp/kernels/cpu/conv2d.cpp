// Direct convolution on blocked pictures, forward and backward-data alike:
//   y[pixel][o] = activation(bias[o] + sum over input blocks, taps, channels of x * w, then the shortcut's + residual).
// A task takes some bands (rows of pictures) and some panels (outputs). It copies its bands into scratch with their
// borders filled by zeros, then runs panel by panel over them, so that the bands stay in the second-level cache and a
// panel's weights in the first.
#include "kernels/conv2d.h"

#include "kernels/cpu/micro/conv2d_band.h"
#include "kernels/cpu/micro/conv2d_tile.h"
#include "kernels/cpu/micro/filters.h"

namespace thaw {
namespace THAW_ISA {
namespace {

struct Sweep {
  const Conv2d& a;
  const Conv2dPanel& panel;
  const float* bias;
  const int64_t* offsets[2];  // for full groups of pictures, and for the last
};

// All tiles of one band, for the blocks and taps that `t` has. `x` is the first point's, rows are `pitch` lines apart.
void sweep_tiles(const Sweep& s, const Band& band, Conv2dTile& t, const float* x, int64_t pitch) {
  const Conv2d& a = s.a;
  const Conv2dPanel& panel = s.panel;
  const int64_t* offsets = s.offsets[band.pictures == a.interleave ? 0 : 1];
  t.y_block = a.out_pixels * kLanes;
  t.activation = a.activation;
  t.alpha = a.alpha;
  t.stream = a.stream && t.bias && t.last && (a.activation == Activation::none || a.activation == Activation::relu);
  const int64_t plane = (band.picture * (a.out_blocks + a.y_gap) + panel.out_block) * a.out_pixels + a.out_start;
  for (int64_t r = 0; r < band.rows; ++r) {
    const int64_t row = band.row + r, width = (row + 1 < a.rows ? a.cols : a.last_cols) * band.pictures;
    const int64_t tiles = (width + kTilePixels - 1) / kTilePixels;
    const int64_t out = (plane + row * a.out_row) * kLanes;
    t.y = a.y + out;
    t.residual = a.residual ? a.residual + out : nullptr;
    t.gate = a.gate ? a.gate + out : nullptr;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t begin = width * i / tiles, pixels = width * (i + 1) / tiles - begin;
      t.x = x + (r * pitch + begin) * kLanes;
      t.offsets = offsets + begin;
      conv2d_tiles[panel.vectors - 1][pixels - 1](t);
    }
  }
}

// Input blocks [block, block + blocks) of the panel.
void sweep_band(const Sweep& s, const Band& band, int64_t first_block, int64_t block, int64_t blocks) {
  const Conv2d& a = s.a;
  const Conv2dPanel& panel = s.panel;
  Conv2dTile t;
  t.weights = a.weights + panel.weights + block * a.taps * kLanes * panel.vectors * kLanes;
  t.bias = block == 0 ? s.bias : nullptr;
  t.x_block = band.x_block;
  t.blocks = blocks;
  const bool end = block + blocks == panel.in_blocks;
  t.last = end && !a.shortcut.x;
  t.tail = end ? panel.tail : kLanes;
  t.taps = a.tap_offsets + (band.pictures == a.interleave ? 0 : a.taps);
  t.tap_count = a.taps;
  sweep_tiles(s, band, t, band.x + (panel.in_block - first_block + block) * band.x_block,
              a.row_pitch * band.pictures);
}

// Blocks [block, block + blocks) of the shortcut.
void sweep_shortcut(const Sweep& s, const Band& band, const float* x, int64_t block, int64_t blocks) {
  const Conv2d& a = s.a;
  const Conv2dShortcut& from = a.shortcut;
  static const int64_t tap = 0;
  Conv2dTile t;
  t.weights = from.weights + (s.panel.out_block * from.channels + block * kLanes * s.panel.vectors) * kLanes;
  t.bias = nullptr;
  t.x_block = from.x_block;
  t.blocks = blocks;
  t.last = block + blocks == from.in_blocks;
  t.tail = t.last ? from.channels - (from.in_blocks - 1) * kLanes : kLanes;
  t.taps = &tap;
  t.tap_count = 1;
  sweep_tiles(s, band, t, x + block * from.x_block, a.cols * band.pictures);
}

void load_bias(const Conv2d& a, const Conv2dPanel& panel, float* bias) {
  for (int64_t v = 0; v < panel.vectors; ++v) {
    const int64_t channel = (panel.out_block + v) * kLanes;
    store(bias + v * kLanes, load_bias_line(a, channel, smaller(kLanes, a.out_channels - channel)));
  }
}

// Scratch: the bands, then 64 floats of bias, then two tables of offsets.
void direct(const Conv2d& a, int64_t task, void* scratch) {
  const int64_t panel = task / a.band_tasks * a.chunk_panels,
                panel_end = smaller(panel + a.chunk_panels, a.panel_count);
  const int64_t block = a.panels[panel].in_block;
  const int64_t blocks = a.panels[panel_end - 1].in_block + a.panels[panel_end - 1].in_blocks - block;

  float* copies = static_cast<float*>(scratch);
  float* bias = copies + bands_floats(a);
  TaskBands t;
  read_bands(a, task, block, blocks, copies, reinterpret_cast<int64_t*>(bias + 64), t);

  for (int64_t p = panel; p < panel_end; ++p) {
    const Sweep sweep{a, a.panels[p], bias, {t.offsets[0], t.offsets[1]}};
    load_bias(a, sweep.panel, bias);
    for (int64_t c = 0; c < sweep.panel.in_blocks; c += a.chunk_blocks)
      for (int64_t b = 0; b < t.count; ++b)
        sweep_band(sweep, t.bands[b], block, c, smaller(a.chunk_blocks, sweep.panel.in_blocks - c));
    const Conv2dShortcut& from = a.shortcut;
    for (int64_t c = 0; from.x && c < from.in_blocks; c += from.chunk_blocks)
      for (int64_t b = 0; b < t.count; ++b)
        sweep_shortcut(sweep, t.bands[b], t.shortcut[b], c, smaller(from.chunk_blocks, from.in_blocks - c));
  }
}

void pack_block(const Conv2dPack& a, const Conv2dPanel& panel, int64_t b, float* to) {
  const int64_t channels = b + 1 < panel.in_blocks ? kLanes : panel.tail, lanes = panel.vectors * kLanes;
  const int64_t group_in = a.in_channels / a.groups, group_out = a.out_channels / a.groups;
  for (int64_t o = 0; o < lanes; ++o) {
    const int64_t out = panel.out_block * kLanes + o;
    const int64_t group = out / group_out, lane = out - group * group_out;
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t in = (panel.in_block + b) * kLanes + c, within = in - group * group_in;
      // Small groups share a panel: what connects two groups is zero.
      const bool linked = out < a.out_channels && within >= 0 && within < group_in;
      const int64_t row = a.transposed ? in * group_out + lane : out * group_in + within;
      const float* from = a.weight + (linked ? row : 0) * a.kernel_taps;
      for (int64_t t = 0; t < a.taps; ++t) to[(t * channels + c) * lanes + o] = linked ? from[a.tap[t]] : 0.0f;
    }
  }
}

// The same for whole blocks that all connect.
void pack_filters(const Conv2dPack& a, const Conv2dPanel& panel, int64_t b, float* to) {
  Filters filters;
  const int64_t lanes = panel.vectors * kLanes, channel = (panel.in_block + b) * kLanes;
  for (int64_t v = 0; v < panel.vectors; ++v) {
    const int64_t out = (panel.out_block + v) * kLanes;
    if (a.transposed)
      read_transposed_filters(a.weight + (channel * a.out_channels + out) * a.kernel_taps, a.out_channels,
                              a.kernel_taps, filters);
    else
      read_filters(a.weight + (out * a.in_channels + channel) * a.kernel_taps, a.in_channels, a.kernel_taps, filters);
    for (int64_t t = 0; t < a.taps; ++t)
      for (int64_t c = 0; c < kLanes; ++c)
        store(to + (t * kLanes + c) * lanes + v * kLanes,
              load(filters.lines + a.tap[t] * filters.tap + c * filters.channel));
  }
}

void pack(const Conv2dPack& a, int64_t task, void*) {
  const Conv2dPanel& panel = a.panels[task];
  float* to = a.packed + panel.weights;
  const bool whole = a.groups == 1 && a.kernel_taps <= kMostFilterTaps &&
                     (panel.out_block + panel.vectors) * kLanes <= a.out_channels;
  for (int64_t b = 0; b < panel.in_blocks; ++b) {
    float* block = to + b * a.taps * kLanes * panel.vectors * kLanes;
    if (whole && (b + 1 < panel.in_blocks || panel.tail == kLanes)) pack_filters(a, panel, b, block);
    else pack_block(a, panel, b, block);
  }
}

}  // namespace

extern const Conv2dKernels conv2d = {kPanelVectors, kTilePixels, direct, pack};

}  // namespace THAW_ISA
}  // namespace thaw
