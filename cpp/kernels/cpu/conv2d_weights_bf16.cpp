// Gradients of a convolution's weights in bf16; arguments in kernels/conv2d_weights_bf16.h.
// A task packs x and dy of one unit after the other for its tile of channels and outputs, and adds their product to the
// tile's sums. Rows of x stay in the first cache while all panels of dy pass.
#include "kernels/conv2d_weights_bf16.h"

#include "kernels/cpu/micro/tile_split.h"
#include "kernels/cpu/micro/tile_sums.h"
#include "kernels/cpu/micro/transpose_bf16.h"
#include "kernels/cpu/micro/weights_order.h"

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int64_t kLineBytes = 64, kStep = 32;  // positions of a step

THAW_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
THAW_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

struct Scratch {
  char* zeros;
  int64_t* x_table;   // bytes from a block's first line in a unit; -1: no pixel
  int64_t* dy_table;
  int64_t* step_table;  // bytes from a row's first position to those of a step
  uint16_t* stage;      // [part][32 pixels][32 channels]
  char* x;            // [part][block][32 channels] rows of x_stride bytes
  uint16_t* narrow;   // [part][channel] rows of positions, then [part] one row of a picture
  char* dy;           // [panel][step][part] pairs of tiles
  float* sums;
};

Scratch scratch_of(const Conv2dWeightsBf16& a, void* memory) {
  const int64_t positions = conv2d_weights_bf16_positions(a);
  Scratch s;
  s.zeros = static_cast<char*>(memory);
  s.x_table = reinterpret_cast<int64_t*>(s.zeros + kLineBytes);
  s.dy_table = s.x_table + positions;
  s.step_table = s.dy_table + a.steps * kStep;
  s.stage = reinterpret_cast<uint16_t*>(s.step_table + a.steps * 8);
  s.x = reinterpret_cast<char*>(s.stage + a.parts * 1024);
  s.narrow = reinterpret_cast<uint16_t*>(s.x + a.parts * a.most_blocks * 32 * a.x_stride);
  s.dy = reinterpret_cast<char*>(s.narrow);
  s.dy += conv2d_weights_bf16_narrow(a);
  s.sums = reinterpret_cast<float*>(s.dy + a.parts * a.most_panels * a.steps * 2 * kTileBytes);
  store(reinterpret_cast<float*>(s.zeros), zero());
  for (int64_t k = 0; k < a.steps; ++k) s.step_table[k] = k * kLineBytes;
  return s;
}

struct Unit {
  int64_t picture, pictures, row, rows;
  int64_t steps, x_steps;
};

Unit unit_of(const Conv2dWeightsBf16& a, int64_t index) {
  Unit u;
  if (a.unit_pictures > 1) {
    u.picture = index * a.unit_pictures, u.pictures = smaller(a.unit_pictures, a.pictures - u.picture);
    u.row = 0, u.rows = a.out_height;
  } else {
    const int64_t each = (a.out_height + a.unit_rows - 1) / a.unit_rows;
    u.picture = index / each, u.pictures = 1;
    u.row = index % each * a.unit_rows, u.rows = smaller(a.unit_rows, a.out_height - u.row);
  }
  const int64_t positions = (u.pictures - 1) * a.picture_pitch + (u.rows - 1) * a.pitch + a.out_width;
  u.steps = (positions + kStep - 1) / kStep;
  u.x_steps = a.narrow ? u.steps : (a.reach + u.steps * kStep + kStep - 1) / kStep;
  return u;
}

// ---- where positions lie ----------------------------------------------------------------------------------------

THAW_INLINE void fill(int64_t* to, int64_t count, int64_t value, int64_t step) {
  for (int64_t i = 0; i < count; ++i) to[i] = value + i * step;
}

/// One row of one phase: columns [first, end) hold pixels `at`, `at` + step, ….
struct PhaseRow {
  int64_t picture, y;  // of the unit's; in x
  int64_t position;    // of column 0
  int64_t first, end, at, step;
};

/// f(PhaseRow) for all rows of x that exist.
template <class F>
THAW_INLINE void for_phase_rows(const Conv2dWeightsBf16& a, const Unit& u, const F& f) {
  const int64_t row_count = u.rows + a.rows.extent - a.unit_rows;
  for (int64_t slot = 0; slot < a.rows.slots * a.cols.slots; ++slot) {
    const int64_t start = a.cols.start + a.cols.phase[slot % a.cols.slots], step = a.cols.stride;
    PhaseRow r;
    r.step = step;
    r.first = start < 0 ? smaller((-start + step - 1) / step, a.cols.extent) : 0;
    const int64_t inside = start < a.in_width ? (a.in_width - start + step - 1) / step : 0;
    r.end = larger(r.first, smaller(inside, a.cols.extent));
    r.at = start + r.first * step;
    for (r.picture = 0; r.picture < u.pictures; ++r.picture) {
      for (int64_t j = 0; j < row_count; ++j) {
        r.y = (u.row + j) * a.rows.stride + a.rows.start + a.rows.phase[slot / a.cols.slots];
        if (r.y < 0 || r.y >= a.in_height) continue;
        r.position = slot * a.slot_positions + r.picture * a.picture_pitch + j * a.pitch;
        f(r);
      }
    }
  }
}

void fill_x_table(const Conv2dWeightsBf16& a, const Unit& u, int64_t* table) {
  fill(table, conv2d_weights_bf16_positions(a), -1, 0);
  const int64_t plane = a.in_height * a.in_width;
  for_phase_rows(a, u, [&](const PhaseRow& r) {
    const int64_t line = r.picture * a.in_blocks * plane + r.y * a.in_width + r.at;
    fill(table + r.position + r.first, r.end - r.first, line * kLineBytes, r.step * kLineBytes);
  });
}

void fill_dy_table(const Conv2dWeightsBf16& a, const Unit& u, int64_t* table) {
  fill(table, u.steps * kStep, -1, 0);
  for (int64_t g = 0; g < u.pictures; ++g) {
    for (int64_t r = 0; r < u.rows; ++r) {
      const int64_t line = (g * a.out_blocks * a.out_height + u.row + r) * a.out_width;
      fill(table + g * a.picture_pitch + r * a.pitch, a.out_width, line * kLineBytes, kLineBytes);
    }
  }
}

/// The lines of one step.
struct Pixels {
  const char* line[kStep];
};

THAW_INLINE void locate(const int64_t* table, const char* base, const char* zeros, Pixels& pixels) {
  THAW_FOR (i, kStep) pixels.line[i] = table[i] < 0 ? zeros : base + table[i];
}

// ---- packing ----------------------------------------------------------------------------------------------------

/// The lines of a step, in as many parts as are wanted.
struct Lines {
  const Conv2dWeightsBf16& a;
  const int64_t* table;
  const Scratch& s;
  const char *low, *high;  // a block's first line in a unit; in parts: those of its two blocks of f32, or null

  Lines(const Conv2dWeightsBf16& args, const int64_t* positions, const Scratch& scratch, const void* pictures, int64_t plane,
        int64_t first, int64_t blocks, int64_t block)
      : a(args), table(positions), s(scratch) {
    const int64_t each = a.parts > 1 ? 2 : 1;
    low = static_cast<const char*>(pictures) + (first + block * each) * plane;
    high = a.parts > 1 && 2 * block + 1 < blocks ? low + plane : nullptr;
  }

  /// f(part, lines of its 32 pixels)
  template <class F>
  void step(int64_t k, const F& f) const {
    Pixels pixels;
    locate(table + k * kStep, low, s.zeros, pixels);
    if (a.parts == 1) return f(0, pixels);
    const int64_t up = high ? high - low : 0;
    for (int64_t i = 0; i < kStep; ++i) {
      const float* line = reinterpret_cast<const float*>(pixels.line[i]);
      const bool both = up > 0 && pixels.line[i] != s.zeros;
      store_parts(load(line), both ? load(reinterpret_cast<const float*>(pixels.line[i] + up)) : zero(),
                  s.stage + i * kLineLanes, 1024);
    }
    for (int64_t p = 0; p < kSplitParts; ++p) {
      THAW_FOR (i, kStep) pixels.line[i] = reinterpret_cast<const char*>(s.stage + p * 1024 + i * kLineLanes);
      f(p, pixels);
    }
  }
};

void pack_x(const Conv2dWeightsBf16& a, const Conv2dWeightsTile& tile, const Unit& u, const Scratch& s) {
  const int64_t plane = a.in_height * a.in_width * kLineBytes, first = a.panels[tile.panel].in_block + tile.block;
  fill_x_table(a, u, s.x_table);
  for (int64_t b = 0; b < tile.blocks; ++b) {
    const Lines lines(a, s.x_table, s, a.x, plane, u.picture * a.in_blocks, a.in_blocks, first + b);
    char* to = s.x + b * 32 * a.x_stride;
    for (int64_t k = 0; k < u.x_steps; ++k)
      lines.step(k, [&](int64_t p, const Pixels& pixels) THAW_LAMBDA {
        transpose_lines(pixels.line, to + p * a.most_blocks * 32 * a.x_stride + k * kLineBytes, a.x_stride);
      });
  }
}

void pack_dy(const Conv2dWeightsBf16& a, const Conv2dWeightsTile& tile, const Unit& u, const Scratch& s) {
  const int64_t plane = a.out_height * a.out_width * kLineBytes;
  fill_dy_table(a, u, s.dy_table);
  for (int64_t i = 0; i < tile.panels; ++i) {
    const int64_t block = a.panels[tile.panel + i].out_block;
    const Lines lines(a, s.dy_table, s, a.dy, plane, u.picture * a.out_blocks, a.out_blocks, block);
    char* to = s.dy + i * a.steps * a.parts * 2 * kTileBytes;
    for (int64_t k = 0; k < u.steps; ++k)
      lines.step(k, [&](int64_t p, const Pixels& pixels) THAW_LAMBDA {
        pair_lines(pixels.line, to + (k * a.parts + p) * 2 * kTileBytes);
      });
  }
}

template <int Step>
THAW_INLINE void copy_every(const uint16_t* from, uint16_t* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i * Step];
}

/// A row of a plain picture, rounded, and in parts what that leaves.
THAW_INLINE void round_row(const Conv2dWeightsBf16& a, const float* x, uint16_t* row, int64_t part) {
  for (int64_t i = 0; i < a.in_width; i += kLanes) {
    V16 left = load_n(x + i, smaller(kLanes, a.in_width - i));
    for (int64_t p = 0; p < a.parts; ++p) {
      uint16_t* to = row + p * part + i;
      store_bf16(to, left);
      if (p + 1 < a.parts) left = sub(left, load_bf16(to));
    }
  }
}

THAW_INLINE void copy_phase(const PhaseRow& r, const uint16_t* row, uint16_t* to) {
  const int64_t count = r.end - r.first;
  if (r.step == 1) copy_every<1>(row + r.at, to, count);
  else if (r.step == 2) copy_every<2>(row + r.at, to, count);
  else for (int64_t i = 0; i < count; ++i) to[i] = row[r.at + i * r.step];
}

// Rows of positions of plain pictures.
void pack_planes(const Conv2dWeightsBf16& a, const Unit& u, uint16_t* planes) {
  const int64_t positions = conv2d_weights_bf16_positions(a), channels = a.in_channels / a.kernel_taps;
  const int64_t part = channels * positions, width = conv2d_weights_bf16_row(a);
  uint16_t* row = planes + a.parts * part;
  for (int64_t i = 0; i < a.parts * part; i += 32) store(reinterpret_cast<float*>(planes + i), zero());
  for (int64_t c = 0; c < channels; ++c, planes += positions)
    for_phase_rows(a, u, [&](const PhaseRow& r) {
      round_row(a, static_cast<const float*>(a.x) +
                       (((u.picture + r.picture) * channels + c) * a.in_height + r.y) * a.in_width, row, width);
      for (int64_t p = 0; p < a.parts; ++p)
        copy_phase(r, row + p * width, planes + p * part + r.position + r.first);
    });
}

// A row for each channel and tap of the tile.
void pack_narrow(const Conv2dWeightsBf16& a, const Conv2dWeightsTile& tile, const Unit& u, const Scratch& s) {
  pack_planes(a, u, s.narrow);
  const int64_t positions = conv2d_weights_bf16_positions(a), part = a.in_channels / a.kernel_taps * positions;
  for (int64_t i = 0; i < a.parts * tile.blocks * 32; ++i) {
    const int64_t p = i / (tile.blocks * 32), pair = tile.block * 32 + i % (tile.blocks * 32);
    float* to = reinterpret_cast<float*>(s.x + (p * a.most_blocks * 32 + i % (tile.blocks * 32)) * a.x_stride);
    if (pair >= a.in_channels) {
      for (int64_t k = 0; k < u.steps; ++k) store(to + k * kLanes, zero());
      continue;
    }
    const uint16_t* from =
        s.narrow + p * part + pair / a.kernel_taps * positions + a.tap_offsets[pair % a.kernel_taps];
    for (int64_t k = 0; k < u.steps; ++k)
      store(to + k * kLanes, loadu(reinterpret_cast<const float*>(from + k * kStep)));
  }
}

// ---- products ---------------------------------------------------------------------------------------------------

/// Half blocks of a tile that hold channels.
int64_t halves_of(const Conv2dWeightsBf16& a, const Conv2dWeightsTile& tile) {
  const Conv2dPanel& panel = a.panels[tile.panel];
  const bool last = tile.block + tile.blocks == panel.in_blocks;
  return 2 * tile.blocks - (last && panel.tail <= 16 ? 1 : 0);
}

/// The product of some tiles of rows of x with a panel of dy, added to `sums`.
THAW_INLINE void add_product(const Conv2dWeightsBf16& a, const Unit& u, const Scratch& s, const char* const* x,
                             const char* dy, float* const* sums, int64_t count, bool first) {
  if (a.parts > 1) {
    SplitProduct t;
    t.a[0] = x[0], t.a[1] = x[1], t.stride = a.x_stride, t.part = a.most_blocks * 32 * a.x_stride;
    t.b = dy, t.offsets = s.step_table, t.steps = u.steps;
    return split_add(t, sums, static_cast<int>(count), first);
  }
  TileSums t;
  t.a[0] = x[0], t.a[1] = x[1], t.stride = a.x_stride;
  t.b = dy, t.steps = u.steps, t.first = first;
  t.sums[0] = sums[0], t.sums[1] = sums[1];
  tile_add(t, static_cast<int>(count));
}

void multiply(const Conv2dWeightsBf16& a, const Conv2dWeightsTile& tile, const Unit& u, const Scratch& s, bool first,
              float* sums) {
  constexpr int64_t group = 2;
  const int64_t rows = halves_of(a, tile) * a.taps, resident = 2 * a.taps;  // tiles of rows: [half block][tap]
  for (int64_t begin = 0; begin < rows; begin += resident) {
    const int64_t end = smaller(begin + resident, rows);
    for (int64_t p = 0; p < tile.panels; ++p) {
      float* panel = sums + p * tile.blocks * a.taps * 1024;
      for (int64_t row = begin; row < end; row += group) {
        const int64_t count = smaller(group, end - row);
        const char* x[group] = {};
        float* to[group] = {};
        for (int64_t i = 0; i < count; ++i) {
          const int64_t half = (row + i) / a.taps, tap = (row + i) % a.taps;
          x[i] = s.x + half * 16 * a.x_stride + (a.narrow ? 0 : a.tap_offsets[tap] * 2);
          to[i] = panel + (half / 2 * a.taps + tap) * 1024 + half % 2 * 512;
        }
        add_product(a, u, s, x, s.dy + p * a.steps * a.parts * 2 * kTileBytes, to, count, first);
      }
    }
  }
}

// ---- sums into PyTorch's order ------------------------------------------------------------------------------------

// A block all of whose channels belong to all outputs.
void write_whole_block(const Conv2dWeightsBf16& a, const WeightsOrder& order, int64_t out, int64_t channel,
                       const float* sums) {
  alignas(64) float rows[kMostTaps * kTapRows];
  for (int first = 0; first < 32; first += 16) {
    transpose_columns(sums + first, a.taps, rows);
    for (int64_t o = 0; o < smaller(32, a.out_channels - out); ++o) {
      const int column = column_of(static_cast<int>(o)) - first;
      if (column >= 0 && column < 16)
        order.row(rows + column * 32, a.dweight + ((out + o) * a.in_channels + channel) * a.taps);
    }
  }
}

// One block of input channels of a panel, sums [tap][32 channels][32 columns]; of each output only its own group's
// channels.
void write_block(const Conv2dWeightsBf16& a, const WeightsOrder& order, const Conv2dPanel& panel, int64_t b,
                 const float* sums) {
  const int64_t group_in = a.in_channels / a.groups, group_out = a.out_channels / a.groups;
  const int64_t channel = (panel.in_block + b) * 32, channels = b + 1 < panel.in_blocks ? 32 : panel.tail;
  if (a.groups == 1 && channels == 32 && WeightsOrder::fits(a.taps))
    return write_whole_block(a, order, panel.out_block * 32, channel, sums);
  for (int64_t o = 0; o < smaller(32, a.out_channels - panel.out_block * 32); ++o) {
    const int64_t out = panel.out_block * 32 + o, first = out / group_out * group_in;
    const int64_t begin = larger(first, channel), end = smaller(first + group_in, channel + channels);
    float* to = a.dweight + (out * group_in + begin - first) * a.taps;
    const float* column = sums + column_of(static_cast<int>(o));
    for (int64_t c = begin - channel; c < end - channel; ++c)
      for (int64_t tap = 0; tap < a.taps; ++tap) *to++ = column[(tap * 32 + c) * 32];
  }
}

void write_tile(const Conv2dWeightsBf16& a, const Conv2dWeightsTile& tile, const float* sums) {
  const WeightsOrder order(a.taps);
  for (int64_t p = 0; p < tile.panels; ++p)
    for (int64_t b = 0; b < tile.blocks; ++b, sums += a.taps * 1024)
      write_block(a, order, a.panels[tile.panel + p], tile.block + b, sums);
}

void weights(const Conv2dWeightsBf16& a, int64_t task, void* memory) {
  const Scratch s = scratch_of(a, memory);
  const int64_t chunk = task / a.tile_count;
  const Conv2dWeightsTile& tile = a.tiles[task % a.tile_count];
  float* sums = a.parted ? a.partial + task * a.tile_floats : s.sums;
  const int64_t begin = a.units * chunk / a.chunks, end = a.units * (chunk + 1) / a.chunks;
  for (int64_t i = 0; begin == end && i < a.tile_floats; i += kLanes) store(sums + i, zero());
  tile_configure(kTileRows);
  for (int64_t i = begin; i < end; ++i) {
    const Unit u = unit_of(a, i);
    if (a.narrow) pack_narrow(a, tile, u, s);
    else pack_x(a, tile, u, s);
    pack_dy(a, tile, u, s);
    multiply(a, tile, u, s, i == begin, sums);
  }
  tile_release();
  if (!a.parted) write_tile(a, tile, sums);
}

void join(const Conv2dWeightsBf16& a, int64_t task, void* memory) {
  const int64_t t = task % a.tile_count, p = task / a.tile_count;
  const Conv2dWeightsTile& tile = a.tiles[t];
  if (p >= tile.panels) return;
  const WeightsOrder order(a.taps);
  float* total = static_cast<float*>(memory);
  for (int64_t b = 0; b < tile.blocks; ++b) {
    const float* sums = a.partial + t * a.tile_floats + (p * tile.blocks + b) * a.taps * 1024;
    for (int64_t i = 0; i < a.taps * 1024; i += kLanes) {
      V16 sum = load(sums + i);
      for (int64_t chunk = 1; chunk < a.chunks; ++chunk)
        sum = add(sum, load(sums + chunk * a.tile_count * a.tile_floats + i));
      store(total + i, sum);
    }
    write_block(a, order, a.panels[tile.panel + p], tile.block + b, total);
  }
}

}  // namespace

extern const Conv2dWeightsBf16Kernels conv2d_weights_bf16 = {weights, join};

}  // namespace THAW_ISA
}  // namespace thaw
