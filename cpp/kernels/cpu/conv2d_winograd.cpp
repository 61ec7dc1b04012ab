// Winograd's convolution; see kernels/conv2d_winograd.h. A task transforms the inputs of some tiles (or finds them
// transformed), multiplies each of the 36 parts as a product of matrices, tiles × channels by channels × outputs, and
// transforms the products back, panel by panel, so that inputs and products stay in the second-level cache.
#include "kernels/conv2d_winograd.h"

#include "kernels/cpu/micro/conv2d_tile.h"
#include "kernels/cpu/micro/filters.h"
#include "kernels/cpu/micro/winograd.h"

namespace thaw {
namespace THAW_ISA {
namespace {

// One input block of the tiles of a group → v [36][in_blocks][tile][16].
void transform_block(const Winograd& a, int64_t group, int64_t block, float* v) {
  const int64_t first = group * a.group_tiles, count = smaller(a.group_tiles, a.tiles - first);
  const TileInputs inputs{a.x, a.in_blocks, a.in_height, a.in_width, a.pad_top, a.pad_left, a.tile_rows, a.tile_cols};
  transform_tiles(inputs, first, count, block, v + block * a.group_tiles * kLanes,
                  (a.in_blocks * a.group_tiles + 1) * kLanes);
}

void transform(const Winograd& a, int64_t task, void*) {
  const int64_t group = task / a.in_blocks;
  transform_block(a, group, task % a.in_blocks, a.v + group * winograd_floats(a.in_blocks * a.group_tiles));
}

// One of the 36 products for one panel, summed over some input blocks: v [block][tile][16], u [channel][vectors * 16]
// → m [vectors][tile][16].
struct Part {
  const float *v, *u;
  float* m;
  int64_t tiles, vectors;
  int64_t blocks, tail;  // channels of the last block
  bool first;            // else m holds the sum of earlier blocks
};

void multiply_part(const Winograd& a, const Part& p) {
  alignas(64) static const float zeros[kPanelVectors * kLanes] = {};
  static const int64_t tap = 0;
  int64_t offsets[kTilePixels];
  for (int64_t i = 0; i < kTilePixels; ++i) offsets[i] = i * kLanes;
  Conv2dTile t{};
  t.offsets = offsets;
  t.x_block = t.y_block = a.group_tiles * kLanes;
  t.taps = &tap;
  t.tap_count = 1;
  const int64_t steps = (p.tiles + kTilePixels - 1) / kTilePixels;
  for (int64_t i = 0; i < steps; ++i) {
    const int64_t begin = p.tiles * i / steps, tiles = p.tiles * (i + 1) / steps - begin;
    t.y = p.m + begin * kLanes;
    for (int64_t b = 0; b < p.blocks; b += a.chain_blocks) {
      t.blocks = smaller(a.chain_blocks, p.blocks - b);
      t.x = p.v + (b * a.group_tiles + begin) * kLanes;
      t.weights = p.u + b * kLanes * p.vectors * kLanes;
      t.bias = p.first && b == 0 ? zeros : nullptr;
      t.tail = b + t.blocks < p.blocks ? kLanes : p.tail;
      conv2d_tiles[p.vectors - 1][tiles - 1](t);
    }
  }
}

// Aᵀ on six numbers.
THAW_INLINE void finish_line(const float* from, int64_t step, V16 (&to)[4]) {
  const V16 m1 = load(from + step), m2 = load(from + 2 * step), m3 = load(from + 3 * step), m4 = load(from + 4 * step);
  const V16 sum_a = add(m1, m2), difference_a = sub(m1, m2), sum_b = add(m3, m4), difference_b = sub(m3, m4);
  to[0] = add(load(from), add(sum_a, sum_b));
  to[1] = fma(broadcast(kB), difference_b, mul(broadcast(kA), difference_a));
  to[2] = fma(broadcast(kB2), sum_b, mul(broadcast(kA2), sum_a));
  to[3] = fma(broadcast(kB2 * kB), difference_b,
              fma(broadcast(kA2 * kA), difference_a, load(from + 5 * step)));
}

// One block of one tile, at most 4×4 pixels of it, rows `pitch` floats apart.
struct TileOutput {
  float* y;
  const float *residual, *gate;  // like y, or null
  int64_t pitch, rows, cols;
};

THAW_NOINLINE void finish_tile(const Winograd& a, const float* m, int64_t step, V16 bias, const TileOutput& out) {
  alignas(64) float lines[kWinogradTile * kWinogradPatch * kLanes];
  V16 four[4];
  for (int64_t i = 0; i < kWinogradPatch; ++i) {
    finish_line(m + i * kWinogradPatch * step, step, four);
    THAW_FOR (j, 4) store(lines + (j * kWinogradPatch + i) * kLanes, four[j]);
  }
  const bool relu = a.activation == Activation::relu;
  for (int64_t j = 0; j < out.cols; ++j) {
    finish_line(lines + j * kWinogradPatch * kLanes, kLanes, four);
    THAW_FOR (i, 4) {
      if (i >= out.rows) break;
      const int64_t at = i * out.pitch + j * kLanes;
      V16 value = add(four[i], bias);
      if (out.residual) value = add(value, load(out.residual + at));
      if (out.gate) value = select(less(zero(), load(out.gate + at)), value, zero());
      store(out.y + at, relu ? maximum(zero(), value) : value);
    }
  }
  if (relu || a.activation == Activation::none) return;
  static const int64_t offsets[4] = {0, kLanes, 2 * kLanes, 3 * kLanes};
  for (int64_t i = 0; i < out.rows; ++i)
    activate_pixels(out.y + i * out.pitch, offsets, out.cols, a.activation, a.alpha);
}

// G on three numbers: the values of their polynomial at the points, each over the product of its distances to the
// other points.
THAW_INLINE void weigh_line(V16 g0, V16 g1, V16 g2, float* to, int64_t step) {
  constexpr double a = kA, b = kB;
  constexpr double scale_a = 1 / (2 * a * a * (a * a - b * b)), scale_b = 1 / (2 * b * b * (b * b - a * a));
  constexpr float at_zero = static_cast<float>(1 / (a * a * b * b));
  constexpr float a0 = static_cast<float>(scale_a), a1 = static_cast<float>(scale_a * a),
                  a2 = static_cast<float>(scale_a * a * a), b0 = static_cast<float>(scale_b),
                  b1 = static_cast<float>(scale_b * b), b2 = static_cast<float>(scale_b * b * b);
  const V16 even_a = fma(broadcast(a2), g2, mul(broadcast(a0), g0)), odd_a = mul(broadcast(a1), g1);
  const V16 even_b = fma(broadcast(b2), g2, mul(broadcast(b0), g0)), odd_b = mul(broadcast(b1), g1);
  store(to, mul(broadcast(at_zero), g0));
  store(to + step, add(even_a, odd_a));
  store(to + 2 * step, sub(even_a, odd_a));
  store(to + 3 * step, add(even_b, odd_b));
  store(to + 4 * step, sub(even_b, odd_b));
  store(to + 5 * step, g2);
}

// 16 filters: taps `from_step` floats apart to 36 lines `step` floats apart.
THAW_NOINLINE void weigh(const float* from, int64_t from_step, float* to, int64_t step) {
  alignas(64) float lines[3 * kWinogradPatch * kLanes];
  for (int64_t j = 0; j < 3; ++j)
    weigh_line(load(from + j * from_step), load(from + (3 + j) * from_step), load(from + (6 + j) * from_step),
               lines + j * kLanes, 3 * kLanes);
  for (int64_t i = 0; i < kWinogradPatch; ++i) {
    const float* line = lines + i * 3 * kLanes;
    weigh_line(load(line), load(line + kLanes), load(line + 2 * kLanes), to + i * kWinogradPatch * step, step);
  }
}

// The weights of one panel from some input blocks, packed for the direct kernel, to u [36][channel][vectors * 16].
void weigh_panel(const float* direct, int64_t blocks, int64_t tail, int64_t vectors, float* u, int64_t step) {
  const int64_t lanes = vectors * kLanes;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t channels = b + 1 < blocks ? kLanes : tail;
    for (int64_t i = 0; i < channels * vectors; ++i)
      weigh(direct + b * 9 * kLanes * lanes + i * kLanes, channels * lanes, u + (b * kLanes * vectors + i) * kLanes,
            step);
  }
}

// All tiles of a group for one panel.
struct Sweep {
  int64_t first, tiles;    // of the group
  int64_t block, vectors;  // of the outputs
  const float* v;
  float *m, *u;  // scratch
};

// The products summed over some input blocks.
void multiply_blocks(const Winograd& a, const Sweep& s, int64_t block, int64_t blocks) {
  const int64_t v_step = (a.in_blocks * a.group_tiles + 1) * kLanes;
  const int64_t m_step = (kPanelVectors * a.group_tiles + 1) * kLanes;
  const int64_t lanes = s.vectors * kLanes, channel = block * kLanes;
  Part part{};
  part.tiles = s.tiles, part.vectors = s.vectors, part.blocks = blocks;
  part.tail = block + blocks < a.in_blocks ? kLanes : a.in_channels - (a.in_blocks - 1) * kLanes;
  part.first = block == 0;
  const float* u = a.weights + s.block * kLanes * kWinogradProducts * a.in_channels + channel * lanes;
  int64_t u_step = a.in_channels * lanes;
  if (a.weigh) {
    u = s.u, u_step = (a.sum_blocks * kLanes * kPanelVectors + 1) * kLanes;
    weigh_panel(a.weights + (s.block * kLanes * a.in_channels + channel * lanes) * 9, blocks, part.tail, s.vectors, s.u,
                u_step);
  }
  for (int64_t k = 0; k < kWinogradProducts; ++k) {
    part.v = s.v + k * v_step + block * a.group_tiles * kLanes;
    part.u = u + k * u_step;
    part.m = s.m + k * m_step;
    multiply_part(a, part);
  }
}

// One of the panel's output blocks.
void finish_block(const Winograd& a, const Sweep& s, int64_t vector) {
  const int64_t block = s.block + vector, channel = block * kLanes;
  const V16 bias = a.bias ? load_n(a.bias + channel, smaller(kLanes, a.out_channels - channel)) : zero();
  for (int64_t i = 0; i < s.tiles; ++i) {
    const TilePlace place = place_of(a.tile_rows, a.tile_cols, s.first + i);
    const int64_t row = place.row * kWinogradTile, col = place.col * kWinogradTile;
    const int64_t plane = place.picture * (a.out_blocks + a.y_gap) + block;
    const int64_t pixel = (plane * a.out_height + row) * a.out_width + col;
    const TileOutput out{a.y + pixel * kLanes,
                         a.residual ? a.residual + pixel * kLanes : nullptr,
                         a.gate ? a.gate + pixel * kLanes : nullptr,
                         a.out_width * kLanes,
                         smaller(kWinogradTile, a.out_height - row),
                         smaller(kWinogradTile, a.out_width - col)};
    finish_tile(a, s.m + (vector * a.group_tiles + i) * kLanes, (kPanelVectors * a.group_tiles + 1) * kLanes, bias,
                out);
  }
}

void multiply(const Winograd& a, int64_t task, void* scratch) {
  const int64_t group = task % a.groups, chunk = task / a.groups;
  const int64_t v_floats = winograd_floats(a.in_blocks * a.group_tiles);
  float* const own = static_cast<float*>(scratch) + winograd_floats(kPanelVectors * a.group_tiles);
  Sweep s{};
  s.first = group * a.group_tiles, s.tiles = smaller(a.group_tiles, a.tiles - s.first);
  s.v = a.v ? a.v + group * v_floats : own;
  s.m = static_cast<float*>(scratch), s.u = a.v ? own : own + v_floats;
  if (!a.v)
    for (int64_t b = 0; b < a.in_blocks; ++b) transform_block(a, group, b, own);
  const int64_t end = smaller((chunk + 1) * a.chunk_panels, a.panel_count);
  for (int64_t panel = chunk * a.chunk_panels; panel < end; ++panel) {
    s.block = panel * kPanelVectors;
    s.vectors = smaller(kPanelVectors, a.out_blocks - s.block);
    for (int64_t b = 0; b < a.in_blocks; b += a.sum_blocks)
      multiply_blocks(a, s, b, smaller(a.sum_blocks, a.in_blocks - b));
    for (int64_t v = 0; v < s.vectors; ++v) finish_block(a, s, v);
  }
}

// The filters from one input channel to the outputs [first, first + 16): [tap][16].
THAW_INLINE void gather(const WinogradPack& a, int64_t channel, int64_t first, float* taps) {
  const int64_t lanes = smaller(kLanes, a.out_channels - first);
  for (int64_t o = 0; o < lanes; ++o) {
    const int64_t out = first + o;
    const float* filter = a.weight + (a.transposed ? channel * a.out_channels + out : out * a.in_channels + channel) * 9;
    for (int64_t t = 0; t < 9; ++t) taps[t * kLanes + o] = filter[a.transposed ? 8 - t : t];
  }
}

// Sixteen channels that fill their block, to the outputs [first, first + 16), all of which exist.
void pack_filters(const WinogradPack& a, int64_t channel, int64_t first, float* to, int64_t lanes, int64_t step) {
  Filters f;
  if (a.transposed) read_transposed_filters(a.weight + (channel * a.out_channels + first) * 9, a.out_channels, 9, f);
  else read_filters(a.weight + (first * a.in_channels + channel) * 9, a.in_channels, 9, f);
  for (int64_t c = 0; c < kLanes; ++c) {
    const float* taps = f.lines + c * f.channel;
    weigh(a.transposed ? taps + 8 * f.tap : taps, a.transposed ? -f.tap : f.tap, to + c * lanes, step);
  }
}

void pack(const WinogradPack& a, int64_t task, void*) {
  const int64_t blocks = (a.out_channels + kLanes - 1) / kLanes, block = task * kPanelVectors;
  const int64_t vectors = smaller(kPanelVectors, blocks - block), lanes = vectors * kLanes;
  const int64_t step = a.in_channels * lanes;
  float* panel = a.packed + block * kWinogradProducts * a.in_channels * kLanes;
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t first = (block + v) * kLanes;
    float* to = panel + v * kLanes;
    int64_t c = 0;
    if (first + kLanes <= a.out_channels)
      for (; c + kLanes <= a.in_channels; c += kLanes) pack_filters(a, c, first, to + c * lanes, lanes, step);
    alignas(64) float taps[9 * kLanes] = {};
    for (; c < a.in_channels; ++c) {
      gather(a, c, first, taps);
      weigh(taps, kLanes, to + c * lanes, step);
    }
  }
}

}  // namespace

extern const WinogradKernels winograd = {kPanelVectors, kTilePixels, transform, multiply, pack};

}  // namespace THAW_ISA
}  // namespace thaw
