// Direct convolution on blocked pictures, forward and backward-data alike:
//   y[pixel][o] = activation(bias[o] + sum over input blocks, taps, channels of x * w + residual).
// A task takes some bands (rows of pictures) and some panels (outputs). It copies its bands into scratch with their
// borders filled by zeros, then runs panel by panel over them, so that the bands stay in the second-level cache and a
// panel's weights in the first.
#include "kernels/conv2d.h"

#include "kernels/cpu/micro/conv2d_tile.h"

namespace thaw {
namespace THAW_ISA {
namespace {

THAW_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
THAW_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

struct Band {
  int64_t picture, pictures;  // first, how many of them alternate
  int64_t row, rows;
  const float* x;  // grid point (row, 0), first block that the task reads
  int64_t x_block;
};

THAW_INLINE Band band_of(const Conv2d& a, int64_t index) {
  Band b;
  b.picture = index / a.bands * a.interleave;
  b.pictures = smaller(a.interleave, a.pictures - b.picture);
  b.row = index % a.bands * a.band_rows;
  b.rows = smaller(a.band_rows, a.rows - b.row);
  return b;
}

// One slot of one input row: pixels of one picture, `step` floats apart in the band.
THAW_INLINE void copy_row(const Conv2dCopyAxis& cols, int64_t phase, const float* row, int64_t width, float* to,
                          int64_t step) {
  const int64_t start = cols.start + phase;
  const int64_t first = start < 0 ? smaller((-start + cols.stride - 1) / cols.stride, cols.extent) : 0;
  const int64_t inside = start < width ? (width - start + cols.stride - 1) / cols.stride : 0;
  const int64_t end = larger(first, smaller(inside, cols.extent));
  int64_t i = 0;
  for (; i < first; ++i) store(to + i * step, zero());
  for (; i < end; ++i) store(to + i * step, load(row + (i * cols.stride + start) * kLanes));
  for (; i < cols.extent; ++i) store(to + i * step, zero());
}

THAW_INLINE void clear(float* to, int64_t pixels, int64_t step) {
  for (int64_t i = 0; i < pixels; ++i) store(to + i * step, zero());
}

// One block of one picture: [row slot][row][column slot][column][picture][16].
THAW_NOINLINE void copy_plane(const Conv2d& a, const Band& band, const float* plane, float* to) {
  const int64_t step = band.pictures * kLanes;
  const int64_t slot_floats = a.copy_cols.extent * step, row_floats = a.copy_cols.slots * slot_floats;
  const int64_t rows = band.rows + a.copy_rows.extent - a.band_rows;
  for (int64_t s = 0; s < a.copy_rows.slots; ++s) {
    for (int64_t j = 0; j < rows; ++j) {
      const int64_t y = (band.row + j) * a.copy_rows.stride + a.copy_rows.start + a.copy_rows.phase[s];
      float* out = to + (s * a.copy_rows.extent + j) * row_floats;
      if (y < 0 || y >= a.in_height) {
        clear(out, a.copy_cols.slots * a.copy_cols.extent, step);
        continue;
      }
      for (int64_t c = 0; c < a.copy_cols.slots; ++c)
        copy_row(a.copy_cols, a.copy_cols.phase[c], plane + y * a.in_width * kLanes, a.in_width, out + c * slot_floats,
                 step);
    }
  }
}

void copy_band(const Conv2d& a, Band& band, int64_t block, int64_t blocks, float* to) {
  const int64_t plane = a.in_height * a.in_width * kLanes;
  band.x = to;
  band.x_block =
      a.copy_rows.slots * a.copy_rows.extent * a.copy_cols.slots * a.copy_cols.extent * band.pictures * kLanes;
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t g = 0; g < band.pictures; ++g)
      copy_plane(a, band, a.x + ((band.picture + g) * a.in_blocks + block + b) * plane,
                 to + b * band.x_block + g * kLanes);
}

void locate_band(const Conv2d& a, Band& band, int64_t block) {
  band.x_block = a.in_height * a.in_width * kLanes;
  band.x = a.x + (band.picture * a.in_blocks + block) * band.x_block + band.row * a.row_pitch * kLanes;
}

// Floats from the first pixel of a grid row in y to each point of the row.
void fill_offsets(const Conv2d& a, int64_t pictures, int64_t* offsets) {
  for (int64_t c = 0; c < a.cols; ++c)
    for (int64_t g = 0; g < pictures; ++g)
      offsets[c * pictures + g] = (c * a.out_col + g * a.out_blocks * a.out_pixels) * kLanes;
}

struct Sweep {
  const Conv2d& a;
  const Conv2dPanel& panel;
  const float* bias;
  const int64_t* offsets[2];  // for full groups of pictures, and for the last
};

// All tiles of one band, for the input blocks [block, block + blocks) of the panel.
void sweep_band(const Sweep& s, const Band& band, int64_t first_block, int64_t block, int64_t blocks) {
  const Conv2d& a = s.a;
  const Conv2dPanel& panel = s.panel;
  const bool full = band.pictures == a.interleave;
  const int64_t* offsets = s.offsets[full ? 0 : 1];
  Conv2dTile t;
  t.weights = a.weights + panel.weights + block * a.taps * kLanes * panel.vectors * kLanes;
  t.bias = block == 0 ? s.bias : nullptr;
  t.y_block = a.out_pixels * kLanes;
  t.x_block = band.x_block;
  t.blocks = blocks;
  t.last = block + blocks == panel.in_blocks;
  t.tail = t.last ? panel.tail : kLanes;
  t.taps = a.tap_offsets + (full ? 0 : a.taps);
  t.tap_count = a.taps;
  t.activation = a.activation;
  t.alpha = a.alpha;
  const int64_t plane = (band.picture * a.out_blocks + panel.out_block) * a.out_pixels + a.out_start;
  const float* x = band.x + (panel.in_block - first_block + block) * band.x_block;
  for (int64_t r = 0; r < band.rows; ++r) {
    const int64_t row = band.row + r, width = (row + 1 < a.rows ? a.cols : a.last_cols) * band.pictures;
    const int64_t tiles = (width + kTilePixels - 1) / kTilePixels;
    const int64_t out = (plane + row * a.out_row) * kLanes;
    t.y = a.y + out;
    t.residual = a.residual ? a.residual + out : nullptr;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t begin = width * i / tiles, pixels = width * (i + 1) / tiles - begin;
      t.x = x + (r * a.row_pitch * band.pictures + begin) * kLanes;
      t.offsets = offsets + begin;
      conv2d_tiles[panel.vectors - 1][pixels - 1](t);
    }
  }
}

void load_bias(const Conv2d& a, const Conv2dPanel& panel, float* bias) {
  for (int64_t v = 0; v < panel.vectors; ++v) {
    const int64_t channel = (panel.out_block + v) * kLanes;
    store(bias + v * kLanes, a.bias ? load_n(a.bias + channel, smaller(kLanes, a.out_channels - channel)) : zero());
  }
}

// Scratch: the bands, then 64 floats of bias, then two tables of offsets.
void direct(const Conv2d& a, int64_t task, void* scratch) {
  constexpr int64_t kMaxBands = 32;
  Band bands[kMaxBands];
  const int64_t first = task % a.band_tasks * a.task_bands, groups = (a.pictures + a.interleave - 1) / a.interleave;
  const int64_t count = smaller(a.task_bands, groups * a.bands - first);
  const int64_t panel = task / a.band_tasks * a.chunk_panels,
                panel_end = smaller(panel + a.chunk_panels, a.panel_count);
  const int64_t block = a.panels[panel].in_block;
  const int64_t blocks = a.panels[panel_end - 1].in_block + a.panels[panel_end - 1].in_blocks - block;

  float* copies = static_cast<float*>(scratch);
  float* bias = copies + (a.copy ? a.task_bands * a.band_floats : 0);
  int64_t* offsets = reinterpret_cast<int64_t*>(bias + 64);
  for (int64_t b = 0; b < count; ++b) {
    bands[b] = band_of(a, first + b);
    if (a.copy) copy_band(a, bands[b], block, blocks, copies + b * a.band_floats);
    else locate_band(a, bands[b], block);
  }
  fill_offsets(a, a.interleave, offsets);
  int64_t* rest = offsets + a.cols * a.interleave;
  fill_offsets(a, bands[count - 1].pictures, rest);

  for (int64_t p = panel; p < panel_end; ++p) {
    const Sweep sweep{a, a.panels[p], bias, {offsets, rest}};
    load_bias(a, sweep.panel, bias);
    for (int64_t c = 0; c < sweep.panel.in_blocks; c += a.chunk_blocks)
      for (int64_t b = 0; b < count; ++b)
        sweep_band(sweep, bands[b], block, c, smaller(a.chunk_blocks, sweep.panel.in_blocks - c));
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

void pack(const Conv2dPack& a, int64_t task, void*) {
  const Conv2dPanel& panel = a.panels[task];
  float* to = a.packed + panel.weights;
  for (int64_t b = 0; b < panel.in_blocks; ++b)
    pack_block(a, panel, b, to + b * a.taps * kLanes * panel.vectors * kLanes);
}

}  // namespace

extern const Conv2dKernels conv2d = {kPanelVectors, kTilePixels, direct, pack};

}  // namespace THAW_ISA
}  // namespace thaw
