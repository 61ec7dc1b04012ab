// Convolution in bf16, forward and backward-data alike; arguments in kernels/conv2d_bf16.h.
//   y[pixel][o] = bf16(activation(bias[o] + sum over input blocks, taps of tiles x × w + residual))
// The whole of K is summed in the tiles' registers: what a panel reads again for each two tiles, and the bands, lie in the
// second-level cache.
#include "kernels/conv2d_bf16.h"

#include "kernels/cpu/micro/conv2d_band.h"
#include "kernels/cpu/micro/conv2d_finish.h"
#include "kernels/cpu/micro/conv2d_pack_bf16.h"

namespace thaw {
namespace THAW_ISA {
namespace {

struct Scratch {
  float* bias;      // 64
  float* sums;      // [2][16][32]
  int64_t* tables;  // of offsets, then of steps
};

THAW_INLINE Scratch scratch_after(void* memory) {
  float* bias = static_cast<float*>(memory);
  return {bias, bias + 64, reinterpret_cast<int64_t*>(bias + 64 + 2 * 32 * 32)};
}

// Bytes from a grid point to what step k reads.
void fill_steps(const Conv2d& a, const int64_t* taps, int64_t x_block, int64_t steps, int64_t* table) {
  for (int64_t k = 0; k < steps; ++k)
    table[k] = (k / a.taps * x_block + taps[k % a.taps]) * static_cast<int64_t>(sizeof(float));
}

/// The weights of the next panel, which the products of this one bring nearer: in small maps they come from far away for
/// few uses.
struct Ahead {
  const char *at, *end;
  int64_t lines;  // of a step
};

struct Sweep {
  const Conv2dBf16& a;
  const Conv2dPanel& panel;
  Scratch scratch;
  const int64_t* offsets;  // of a row's points in y
  const int64_t* steps;
  Ahead* ahead;
};

THAW_INLINE const char* panel_weights(const Conv2d& a, const Conv2dPanel& panel) {
  return reinterpret_cast<const char*>(reinterpret_cast<const uint16_t*>(a.weights) + panel.weights);
}

/// Tiles waiting to be computed together.
struct Pair {
  TileProduct product;
  TileFinish finish[2];
  int count;
};

THAW_INLINE void compute(const Sweep& s, Pair& pair) {
  if (pair.count == 0) return;
  if (pair.count == 1) pair.product.a[1] = nullptr;
  Ahead& ahead = *s.ahead;
  pair.product.ahead = ahead.at, pair.product.ahead_lines = ahead.at < ahead.end ? ahead.lines : 0;
  tile_product(pair.product);
  ahead.at += pair.product.ahead_lines * pair.product.steps * 64;
  for (int i = 0; i < pair.count; ++i) with_activation(s.a.grid.activation, pair.finish[i]);
  pair.count = 0;
}

// One row of the grid: `x` its first point, `out` the place of its first pixel in y.
THAW_INLINE void sweep_row(const Sweep& s, const char* x, int64_t out, int64_t width, Pair& pair) {
  const Conv2d& a = s.a.grid;
  const int64_t rows = s.a.tile_rows;
  for (int64_t at = 0; at < width; at += rows) {
    // The last tile moves back to end with the row. Where the row is shorter than a tile, what lies behind it is read
    // and dropped: in a copy that is scratch, in place the row before.
    int64_t begin = at + rows <= width ? at : width - rows;
    if (begin < 0 && a.copy) begin = 0;
    TileFinish& f = pair.finish[pair.count];
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

void sweep_band(const Sweep& s, const Band& band, int64_t first_block) {
  const Conv2d& a = s.a.grid;
  Pair pair;
  pair.count = 0;
  pair.product.stride = a.x_step;
  pair.product.b = panel_weights(a, s.panel);
  pair.product.offsets = s.steps;
  pair.product.steps = s.panel.in_blocks * a.taps;
  pair.product.bias = s.scratch.bias;
  pair.product.sums = s.scratch.sums;
  pair.product.rows = static_cast<int>(s.a.tile_rows);
  for (int i = 0; i < 2; ++i) {
    pair.finish[i].sums = s.scratch.sums + i * kTileRows * 32;
    pair.finish[i].alpha = a.alpha;
    pair.finish[i].stream = a.stream;
  }
  const int64_t plane = (band.picture * a.out_blocks + s.panel.out_block) * a.out_pixels + a.out_start;
  const char* x = reinterpret_cast<const char*>(band.x + (s.panel.in_block - first_block) * band.x_block);
  for (int64_t r = 0; r < band.rows; ++r) {
    const int64_t row = band.row + r, width = (row + 1 < a.rows ? a.cols : a.last_cols) * band.pictures;
    sweep_row(s, x + r * a.row_pitch * band.pictures * 64, (plane + row * a.out_row) * kLanes, width, pair);
  }
  compute(s, pair);
}

void load_bias(const Conv2d& a, const Conv2dPanel& panel, float* bias) {
  for (int64_t v = 0; v < 2; ++v) {
    const int64_t channel = panel.out_block * kLineLanes + v * kLanes, left = a.out_channels - channel;
    store(bias + v * kLanes, a.bias && left > 0 ? load_n(a.bias + channel, smaller(kLanes, left)) : zero());
  }
}

int64_t panel_steps(const Conv2d& a, int64_t panel) { return a.panels[panel].in_blocks * a.taps; }

Ahead ahead_of(const Conv2dBf16& args, const TaskBands& t, int64_t panel, int64_t end) {
  const Conv2d& a = args.grid;
  if (panel + 1 >= end) return {nullptr, nullptr, 0};
  int64_t tiles = 0;
  for (int64_t b = 0; b < t.count; ++b)
    tiles += t.bands[b].rows * ((a.cols * t.bands[b].pictures + args.tile_rows - 1) / args.tile_rows);
  const int64_t lines = panel_steps(a, panel + 1) * 2 * kTileBytes / 64;
  const int64_t steps = larger(1, tiles / 2) * larger(1, panel_steps(a, panel));
  const char* at = panel_weights(a, a.panels[panel + 1]);
  return {at, at + lines * 64, (lines + steps - 1) / steps};
}

void direct(const Conv2dBf16& args, int64_t task, void* memory) {
  const Conv2d& a = args.grid;
  const int64_t panel = task / a.band_tasks * a.chunk_panels,
                panel_end = smaller(panel + a.chunk_panels, a.panel_count);
  const int64_t block = a.panels[panel].in_block;
  const int64_t blocks = a.panels[panel_end - 1].in_block + a.panels[panel_end - 1].in_blocks - block;

  float* copies = static_cast<float*>(memory);
  const Scratch scratch = scratch_after(copies + (a.copy ? a.task_bands * a.band_floats : 0));
  TaskBands t;
  read_bands(a, task, block, blocks, copies, scratch.tables, t);
  int64_t* steps = scratch.tables + 2 * a.cols * a.interleave;
  const Band& last = t.bands[t.count - 1];
  fill_steps(a, a.tap_offsets, t.bands[0].x_block, args.steps, steps);
  fill_steps(a, a.tap_offsets + a.taps, last.x_block, args.steps, steps + args.steps);

  tile_configure(static_cast<int>(args.tile_rows));
  for (int64_t p = panel; p < panel_end; ++p) {
    load_bias(a, a.panels[p], scratch.bias);
    Ahead ahead = ahead_of(args, t, p, panel_end);
    for (int64_t b = 0; b < t.count; ++b) {
      const int rest = t.bands[b].pictures == a.interleave ? 0 : 1;
      sweep_band({args, a.panels[p], scratch, t.offsets[rest], steps + rest * args.steps, &ahead}, t.bands[b], block);
    }
  }
  tile_release();
}

}  // namespace

extern const Conv2dBf16Kernels conv2d_bf16 = {direct, pack};

}  // namespace THAW_ISA
}  // namespace thaw
