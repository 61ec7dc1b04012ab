// Convolution of f32 pictures by products of bf16 parts, forward and backward-data alike; arguments in
// kernels/conv2d_split.h.
//   y[pixel][o] = activation(bias[o] + sum over input blocks, taps of tiles x × w + residual)
#include "kernels/conv2d_split.h"

#include "kernels/cpu/micro/activate.h"
#include "kernels/cpu/micro/conv2d_steps.h"
#include "kernels/cpu/micro/tile_split.h"
#include "kernels/cpu/micro/weight_tiles.h"

namespace thaw {
namespace THAW_ISA {
namespace {

// ---- bands in parts --------------------------------------------------------------------------------------------

/// One slot of one row of a picture's two blocks of 16 channels; the second may not exist. As copy_row.
void split_row(const Conv2dCopyAxis& cols, int64_t phase, const float* low, const float* high, int64_t width,
               uint16_t* to, int64_t step, int64_t part) {
  const int64_t start = cols.start + phase;
  const int64_t first = start < 0 ? smaller((-start + cols.stride - 1) / cols.stride, cols.extent) : 0;
  const int64_t inside = start < width ? (width - start + cols.stride - 1) / cols.stride : 0;
  const int64_t end = larger(first, smaller(inside, cols.extent));
  for (int64_t i = 0; i < cols.extent; ++i, to += step) {
    const int64_t at = (i * cols.stride + start) * kLanes;
    const bool there = i >= first && i < end;
    store_parts(there ? load(low + at) : zero(), there && high ? load(high + at) : zero(), to, part);
  }
}

/// Block `block` of 32 channels of picture `picture`, into lines [part][row slot][row][column slot][column][picture].
void split_plane(const Conv2d& a, const Band& band, int64_t picture, int64_t block, uint16_t* to, int64_t part) {
  const int64_t pixels = a.in_height * a.in_width * kLanes, step = band.pictures * kLineLanes;
  const float* low = a.x + (picture * a.in_blocks + 2 * block) * pixels;
  const float* high = 2 * block + 1 < a.in_blocks ? low + pixels : nullptr;
  const int64_t slot = a.copy_cols.extent * step, rows = band.rows + a.copy_rows.extent - a.band_rows;
  for (int64_t s = 0; s < a.copy_rows.slots; ++s) {
    for (int64_t j = 0; j < rows; ++j) {
      const int64_t y = (band.row + j) * a.copy_rows.stride + a.copy_rows.start + a.copy_rows.phase[s];
      const bool there = y >= 0 && y < a.in_height;
      const int64_t at = there ? y * a.in_width * kLanes : 0;
      uint16_t* out = to + (s * a.copy_rows.extent + j) * a.copy_cols.slots * slot;
      for (int64_t c = 0; c < a.copy_cols.slots; ++c)
        split_row(a.copy_cols, a.copy_cols.phase[c], low + at, high ? high + at : nullptr, there ? a.in_width : 0,
                  out + c * slot, step, part);
    }
  }
}

void split_band(const Conv2d& a, Band& band, int64_t block, int64_t blocks, float* to) {
  const int64_t part = a.copy_rows.slots * a.copy_rows.extent * a.copy_cols.slots * a.copy_cols.extent * band.pictures;
  band.x = to;
  band.x_block = kSplitParts * part * kLanes;
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t g = 0; g < band.pictures; ++g)
      split_plane(a, band, band.picture + g, block + b,
                  reinterpret_cast<uint16_t*>(to + b * band.x_block) + g * kLineLanes, part * kLineLanes);
}

// ---- what follows a product -------------------------------------------------------------------------------------

/// Rows skip … rows-1 of a tile's sums; row r goes to the lines at offsets[r] of two blocks of channels, the second of which
/// may not exist.
struct SplitFinish {
  const float* sums;
  float* y;
  const float* residual;  // or null
  const float* gate;      // or null
  const int64_t* offsets;
  int64_t skip, rows, block;  // block: floats from one to the other, or 0
  float alpha;
  bool stream;

  template <Activation kind>
  void run() const {
    const V16 slope = broadcast(alpha);
    for (int64_t half = 0; half < (block ? 2 : 1); ++half) {
      const int64_t at = half * block;
      for (int64_t r = skip; r < rows; ++r) {
        V16 sum = loadu(sums + r * 32 + half * kLanes);
        if (residual) sum = add(sum, load(residual + at + offsets[r]));
        if (gate) sum = select(less(zero(), load(gate + at + offsets[r])), sum, zero());
        store(y + at + offsets[r], activate_as<kind>(sum, slope), stream);
      }
    }
  }
};

struct Sweep {
  const Conv2dBf16& a;
  const Conv2dPanel& panel;
  const int64_t* offsets;  // of a row's points in y
};

struct Pair {
  SplitProduct product;
  SplitFinish finish[2];
  int count;
};

void compute(const Sweep& s, Pair& pair) {
  if (pair.count == 0) return;
  if (pair.count == 1) pair.product.a[1] = nullptr;
  split_product(pair.product);
  for (int i = 0; i < pair.count; ++i) with_activation(s.a.grid.activation, pair.finish[i]);
  pair.count = 0;
}

// One row of the grid: `x` its first point, `out` the place of its first pixel in y.
void sweep_row(const Sweep& s, const char* x, int64_t out, int64_t width, Pair& pair) {
  const Conv2d& a = s.a.grid;
  const int64_t rows = s.a.tile_rows;
  for (int64_t at = 0; at < width; at += rows) {
    // The last tile moves back to end with the row; where the row is shorter than a tile, what lies behind it is dropped.
    const int64_t begin = larger(0, at + rows <= width ? at : width - rows);
    SplitFinish& f = pair.finish[pair.count];
    f.y = a.y + out;
    f.residual = a.residual ? a.residual + out : nullptr;
    f.gate = a.gate ? a.gate + out : nullptr;
    f.offsets = s.offsets + begin;
    f.skip = at - begin;
    f.rows = smaller(rows, width - begin);
    pair.product.a[pair.count] = x + begin * a.x_step;
    if (++pair.count == 2) compute(s, pair);
  }
}

void sweep_band(const Sweep& s, const Band& band, int64_t first_block, const int64_t* steps, const float* bias,
                float* sums) {
  const Conv2d& a = s.a.grid;
  Pair pair;
  pair.count = 0;
  pair.product.stride = a.x_step;
  pair.product.part = band.x_block / kSplitParts * static_cast<int64_t>(sizeof(float));
  pair.product.b = reinterpret_cast<const char*>(a.weights) + s.panel.weights * 2 * kSplitParts;
  pair.product.offsets = steps;
  pair.product.steps = s.panel.in_blocks * a.taps;
  pair.product.bias = bias;
  pair.product.sums = sums;
  pair.product.rows = static_cast<int>(s.a.tile_rows);
  for (int i = 0; i < 2; ++i) {
    pair.finish[i].sums = sums + i * kTileRows * 32;
    pair.finish[i].block = 2 * s.panel.out_block + 1 < a.out_blocks ? a.out_pixels * kLanes : 0;
    pair.finish[i].alpha = a.alpha;
    pair.finish[i].stream = a.stream;
  }
  const int64_t plane = (band.picture * (a.out_blocks + a.y_gap) + 2 * s.panel.out_block) * a.out_pixels + a.out_start;
  const char* x = reinterpret_cast<const char*>(band.x + (s.panel.in_block - first_block) * band.x_block);
  for (int64_t r = 0; r < band.rows; ++r) {
    const int64_t row = band.row + r, width = (row + 1 < a.rows ? a.cols : a.last_cols) * band.pictures;
    sweep_row(s, x + r * a.row_pitch * band.pictures * 64, (plane + row * a.out_row) * kLanes, width, pair);
  }
  compute(s, pair);
}

void direct(const Conv2dBf16& args, int64_t task, void* memory) {
  const Conv2d& a = args.grid;
  const int64_t panel = task / a.band_tasks * a.chunk_panels,
                panel_end = smaller(panel + a.chunk_panels, a.panel_count);
  const int64_t block = a.panels[panel].in_block;
  const int64_t blocks = a.panels[panel_end - 1].in_block + a.panels[panel_end - 1].in_blocks - block;
  const int64_t first = task % a.band_tasks * a.task_bands, points = a.cols * a.interleave;
  const int64_t count = smaller(a.task_bands, (a.pictures + a.interleave - 1) / a.interleave * a.bands - first);

  float* copies = static_cast<float*>(memory);
  float* bias = copies + bands_floats(a);
  float* sums = bias + 64;
  int64_t* offsets = reinterpret_cast<int64_t*>(sums + 2 * 32 * 32);
  int64_t* steps = offsets + 2 * points;
  Band bands[TaskBands::kMost];
  for (int64_t b = 0; b < count; ++b) {
    bands[b] = band_of(a, first + b);
    split_band(a, bands[b], block, blocks, copies + b * a.band_floats);
  }
  const Band& last = bands[count - 1];
  fill_offsets(a, a.interleave, offsets);
  fill_offsets(a, last.pictures, offsets + points);
  fill_steps(a, a.tap_offsets, bands[0].x_block, args.steps, steps);
  fill_steps(a, a.tap_offsets + (last.pictures == a.interleave ? 0 : a.taps), last.x_block, args.steps,
             steps + args.steps);

  tile_configure(static_cast<int>(args.tile_rows));
  for (int64_t p = panel; p < panel_end; ++p) {
    load_bias(a, a.panels[p], bias);
    for (int64_t b = 0; b < count; ++b) {
      const int rest = bands[b].pictures == a.interleave ? 0 : 1;
      sweep_band({args, a.panels[p], offsets + rest * points}, bands[b], block, steps + rest * args.steps, bias, sums);
    }
  }
  tile_release();
}

// ---- packing ----------------------------------------------------------------------------------------------------

/// Row `row` of what the weights have first, outputs or, transposed, inputs: 32 of its columns at one tap.
void gather_row(const Conv2dPack& a, int64_t row, int64_t column, int64_t tap, V16& low, V16& high) {
  const int64_t rows = a.transposed ? a.in_channels : a.out_channels;
  const int64_t columns = a.transposed ? a.out_channels : a.in_channels, left = smaller(kLineLanes, columns - column);
  low = high = zero();
  if (row >= rows || left <= 0) return;
  const float* from = a.weight + (row * columns + column) * a.kernel_taps + tap;
  alignas(64) float line[kLineLanes] = {};
  if (a.kernel_taps > 1) {
    for (int64_t i = 0; i < left; ++i) line[i] = from[i * a.kernel_taps];
    from = line;
  }
  low = load_n(from, smaller(kLanes, left));
  if (left > kLanes) high = load_n(from + kLanes, left - kLanes);
}

void pack(const Conv2dPack& a, int64_t task, void*) {
  const Conv2dPanel& panel = a.panels[task];
  alignas(64) uint16_t parts[kSplitParts * 1024];
  uint16_t* to = reinterpret_cast<uint16_t*>(a.packed) + panel.weights * kSplitParts;
  for (int64_t b = 0; b < panel.in_blocks; ++b)
    for (int64_t tap = 0; tap < a.taps; ++tap) {
      const int64_t out = panel.out_block * kLineLanes, in = (panel.in_block + b) * kLineLanes;
      for (int64_t row = 0; row < kLineLanes; ++row) {
        V16 low, high;
        gather_row(a, (a.transposed ? in : out) + row, a.transposed ? out : in, a.tap[tap], low, high);
        store_parts(low, high, parts + row * kLineLanes, 1024);
      }
      for (int64_t p = 0; p < kSplitParts; ++p, to += 1024) store_tiles(parts + p * 1024, a.transposed, to);
    }
}

}  // namespace

extern const Conv2dBf16Kernels conv2d_split_bf16 = {direct, pack};

}  // namespace THAW_ISA
}  // namespace thaw
