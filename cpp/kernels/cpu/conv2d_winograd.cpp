// Winograd's convolution; see kernels/conv2d_winograd.h. A task transforms the inputs of some tiles (or finds them
// transformed), multiplies each of the 36 parts as a product of matrices, tiles × channels by channels × outputs, and
// transforms the products back, panel by panel, so that inputs and products stay in the second-level cache.
#include "kernels/conv2d_winograd.h"

#include "kernels/cpu/micro/conv2d_tile.h"
#include "kernels/cpu/micro/filters.h"
#include "kernels/cpu/micro/winograd_outputs.h"

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
    for (int64_t v = 0; v < s.vectors; ++v)
      finish_block(a, {s.m + v * a.group_tiles * kLanes, kLanes, (kPanelVectors * a.group_tiles + 1) * kLanes, s.first,
                       s.tiles, s.block + v});
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
