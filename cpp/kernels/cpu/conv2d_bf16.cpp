// Convolution in bf16, forward and backward-data alike; arguments in kernels/conv2d_bf16.h.
//   y[pixel][o] = bf16(activation(bias[o] + sum over input blocks, taps of tiles x × w, then the shortcut's + residual))
// The whole of K is summed in the tiles' registers: what a panel reads again for each two tiles, and the bands, lie in the
// second-level cache.
#include "kernels/conv2d_bf16.h"

#include "kernels/cpu/micro/conv2d_finish.h"
#include "kernels/cpu/micro/conv2d_pack_bf16.h"
#include "kernels/cpu/micro/conv2d_steps.h"

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
  const int64_t* shortcut_steps;
  Ahead* ahead;  // of the panel's weights, of the shortcut's
};

THAW_INLINE const char* panel_weights(const Conv2d& a, const Conv2dPanel& panel) {
  return reinterpret_cast<const char*>(reinterpret_cast<const uint16_t*>(a.weights) + panel.weights);
}

THAW_INLINE const char* shortcut_weights(const Conv2d& a, const Conv2dPanel& panel) {
  return reinterpret_cast<const char*>(a.shortcut.weights) + panel.out_block * a.shortcut.in_blocks * 2 * kTileBytes;
}

/// Tiles waiting to be computed together.
struct Pair {
  TileProduct product, shortcut;
  TileFinish finish[2];
  int count;
};

THAW_INLINE void look_ahead(Ahead& ahead, TileProduct& product) {
  product.ahead = ahead.at, product.ahead_lines = ahead.at < ahead.end ? ahead.lines : 0;
  ahead.at += product.ahead_lines * product.steps * 64;
}

// Most convolutions have no shortcut, and products of few steps: what they do not need is not in their way.
template <bool kShortcut>
THAW_INLINE void compute(const Sweep& s, Pair& pair) {
  if (pair.count == 0) return;
  if (pair.count == 1) pair.product.a[1] = nullptr;
  look_ahead(s.ahead[0], pair.product);
  if (kShortcut) {
    look_ahead(s.ahead[1], pair.shortcut);
    tile_product(pair.product, pair.shortcut);
  } else {
    tile_product(pair.product);
  }
  for (int i = 0; i < pair.count; ++i) with_activation(s.a.grid.activation, pair.finish[i]);
  pair.count = 0;
}

// One row of the grid: `x` its first point, `shortcut` what that reads there, `out` the place of its first pixel in y.
template <bool kShortcut>
THAW_INLINE void sweep_row(const Sweep& s, const char* x, const char* shortcut, int64_t out, int64_t width,
                           Pair& pair) {
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
    if (kShortcut) pair.shortcut.a[pair.count] = shortcut + begin * a.x_step;
    if (++pair.count == 2) compute<kShortcut>(s, pair);
  }
}

template <bool kShortcut>
void sweep_band(const Sweep& s, const Band& band, const float* shortcut, int64_t first_block) {
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
  if (kShortcut) {
    pair.shortcut.stride = a.x_step;
    pair.shortcut.b = shortcut_weights(a, s.panel);
    pair.shortcut.offsets = s.shortcut_steps;
    pair.shortcut.steps = a.shortcut.in_blocks;
  }
  for (int i = 0; i < 2; ++i) {
    pair.finish[i].sums = s.scratch.sums + i * kTileRows * 32;
    pair.finish[i].alpha = a.alpha;
    pair.finish[i].stream = a.stream;
  }
  const int64_t plane = (band.picture * (a.out_blocks + a.y_gap) + s.panel.out_block) * a.out_pixels + a.out_start;
  const char* x = reinterpret_cast<const char*>(band.x + (s.panel.in_block - first_block) * band.x_block);
  const char* other = kShortcut ? reinterpret_cast<const char*>(shortcut) : x;
  for (int64_t r = 0; r < band.rows; ++r) {
    const int64_t row = band.row + r, width = (row + 1 < a.rows ? a.cols : a.last_cols) * band.pictures;
    sweep_row<kShortcut>(s, x + r * a.row_pitch * band.pictures * 64, other + r * a.cols * band.pictures * 64,
                         (plane + row * a.out_row) * kLanes, width, pair);
  }
  compute<kShortcut>(s, pair);
}

int64_t panel_steps(const Conv2d& a, int64_t panel) { return a.panels[panel].in_blocks * a.taps; }

/// `steps` at `weights` spread over as many products as the task has of a panel, `now` steps each.
THAW_INLINE Ahead spread(const char* weights, int64_t steps, int64_t products, int64_t now) {
  const int64_t lines = steps * 2 * kTileBytes / 64, over = products * larger(1, now);
  return {weights, weights + lines * 64, (lines + over - 1) / over};
}

void look_at_next(const Conv2dBf16& args, const TaskBands& t, int64_t panel, int64_t end, Ahead (&ahead)[2]) {
  const Conv2d& a = args.grid;
  ahead[0] = ahead[1] = {nullptr, nullptr, 0};
  if (panel + 1 >= end) return;
  int64_t tiles = 0;
  for (int64_t b = 0; b < t.count; ++b)
    tiles += t.bands[b].rows * ((a.cols * t.bands[b].pictures + args.tile_rows - 1) / args.tile_rows);
  const int64_t products = larger(1, tiles / 2);
  const Conv2dPanel& next = a.panels[panel + 1];
  ahead[0] = spread(panel_weights(a, next), panel_steps(a, panel + 1), products, panel_steps(a, panel));
  if (a.shortcut.x)
    ahead[1] = spread(shortcut_weights(a, next), a.shortcut.in_blocks, products, a.shortcut.in_blocks);
}

void direct(const Conv2dBf16& args, int64_t task, void* memory) {
  const Conv2d& a = args.grid;
  const int64_t panel = task / a.band_tasks * a.chunk_panels,
                panel_end = smaller(panel + a.chunk_panels, a.panel_count);
  const int64_t block = a.panels[panel].in_block;
  const int64_t blocks = a.panels[panel_end - 1].in_block + a.panels[panel_end - 1].in_blocks - block;

  float* copies = static_cast<float*>(memory);
  const Scratch scratch = scratch_after(copies + bands_floats(a));
  TaskBands t;
  read_bands(a, task, block, blocks, copies, scratch.tables, t);
  int64_t* steps = scratch.tables + 2 * a.cols * a.interleave;
  const Band& last = t.bands[t.count - 1];
  fill_steps(a, a.tap_offsets, t.bands[0].x_block, args.steps, steps);
  fill_steps(a, a.tap_offsets + a.taps, last.x_block, args.steps, steps + args.steps);
  int64_t* shortcut_steps = steps + 2 * args.steps;
  for (int64_t k = 0; a.shortcut.x && k < a.shortcut.in_blocks; ++k)
    shortcut_steps[k] = k * a.shortcut.x_block * static_cast<int64_t>(sizeof(float));

  tile_configure(static_cast<int>(args.tile_rows));
  for (int64_t p = panel; p < panel_end; ++p) {
    load_bias(a, a.panels[p], scratch.bias);
    Ahead ahead[2];
    look_at_next(args, t, p, panel_end, ahead);
    for (int64_t b = 0; b < t.count; ++b) {
      const int rest = t.bands[b].pictures == a.interleave ? 0 : 1;
      const Sweep sweep{args, a.panels[p], scratch, t.offsets[rest], steps + rest * args.steps, shortcut_steps, ahead};
      if (a.shortcut.x) sweep_band<true>(sweep, t.bands[b], t.shortcut[b], block);
      else sweep_band<false>(sweep, t.bands[b], nullptr, block);
    }
  }
  tile_release();
}

}  // namespace

extern const Conv2dBf16Kernels conv2d_bf16 = {direct, pack_tiles};

}  // namespace THAW_ISA
}  // namespace thaw
