// Gradient by weights by Winograd; see kernels/conv2d_winograd_weights.h. A task transforms x and dy of a group of tiles,
// multiplies each of the 36 parts as a product of matrices, channels × tiles by tiles × outputs, and adds it to the sums
// of its region; all of them stay in the second-level cache.
#include "kernels/conv2d_winograd_weights.h"

#include "kernels/cpu/micro/transpose_dwords.h"
#include "kernels/cpu/micro/winograd.h"

namespace thaw {
namespace THAW_ISA {
namespace {

#if defined(THAW_ISA_avx512)
constexpr int kChannels = 8, kVectors = 2;
#elif defined(THAW_ISA_avx2)
constexpr int kChannels = 4, kVectors = 1;
#else
constexpr int kChannels = 2, kVectors = 1;
#endif

// G on four numbers `step` floats apart: the values of their polynomial at the points, each over the product of its
// distances to the other points.
THAW_INLINE void weigh_four(const float* from, int64_t step, float* to, int64_t to_step) {
  constexpr double a = kA, b = kB;
  constexpr double scale_a = 1 / (2 * a * a * (a * a - b * b)), scale_b = 1 / (2 * b * b * (b * b - a * a));
  constexpr float at_zero = static_cast<float>(1 / (a * a * b * b));
  constexpr float a0 = static_cast<float>(scale_a), a1 = static_cast<float>(scale_a * a),
                  a2 = static_cast<float>(scale_a * a * a), a3 = static_cast<float>(scale_a * a * a * a);
  constexpr float b0 = static_cast<float>(scale_b), b1 = static_cast<float>(scale_b * b),
                  b2 = static_cast<float>(scale_b * b * b), b3 = static_cast<float>(scale_b * b * b * b);
  const V16 g0 = load(from), g1 = load(from + step), g2 = load(from + 2 * step), g3 = load(from + 3 * step);
  const V16 even_a = fma(broadcast(a2), g2, mul(broadcast(a0), g0));
  const V16 odd_a = fma(broadcast(a3), g3, mul(broadcast(a1), g1));
  const V16 even_b = fma(broadcast(b2), g2, mul(broadcast(b0), g0));
  const V16 odd_b = fma(broadcast(b3), g3, mul(broadcast(b1), g1));
  store(to, mul(broadcast(at_zero), g0));
  store(to + to_step, add(even_a, odd_a));
  store(to + 2 * to_step, sub(even_a, odd_a));
  store(to + 3 * to_step, add(even_b, odd_b));
  store(to + 4 * to_step, sub(even_b, odd_b));
  store(to + 5 * to_step, g3);
}

// One block of dy of one tile: 4×4 pixels, rows `pitch` floats apart, to 36 lines `step` floats apart.
THAW_NOINLINE void weigh_tile(const float* dy, int64_t pitch, float* to, int64_t step) {
  alignas(64) float rows[kWinogradTile * kWinogradPatch * kLanes];
  for (int64_t i = 0; i < kWinogradTile; ++i)
    weigh_four(dy + i * pitch, kLanes, rows + i * kWinogradPatch * kLanes, kLanes);
  for (int64_t j = 0; j < kWinogradPatch; ++j)
    weigh_four(rows + j * kLanes, kWinogradPatch * kLanes, to + j * step, kWinogradPatch * step);
}

// The pixels of a tile that reaches beyond the picture, zeros beyond.
THAW_NOINLINE void copy_tile(const float* from, int64_t pitch, int64_t rows, int64_t cols, float* tile) {
  for (int64_t i = 0; i < kWinogradTile; ++i)
    for (int64_t j = 0; j < kWinogradTile; ++j)
      store(tile + (i * kWinogradTile + j) * kLanes,
            i < rows && j < cols ? load(from + i * pitch + j * kLanes) : zero());
}

// One block of dy of the tiles [first, first + count) → d [36][tile][16], parts `step` floats apart.
void weigh_tiles(const WinogradWeights& a, int64_t first, int64_t count, int64_t block, float* d, int64_t step) {
  alignas(64) float tile[kWinogradTile * kWinogradTile * kLanes];
  const int64_t pitch = a.out_width * kLanes;
  for (int64_t i = 0; i < count; ++i) {
    const TilePlace place = place_of(a.tile_rows, a.tile_cols, first + i);
    const int64_t row = place.row * kWinogradTile, col = place.col * kWinogradTile;
    const float* from =
        a.dy + (((place.picture * a.out_blocks + block) * a.out_height + row) * a.out_width + col) * kLanes;
    if (row + kWinogradTile <= a.out_height && col + kWinogradTile <= a.out_width) {
      weigh_tile(from, pitch, d + i * kLanes, step);
    } else {
      copy_tile(from, pitch, a.out_height - row, a.out_width - col, tile);
      weigh_tile(tile, kWinogradTile * kLanes, d + i * kLanes, step);
    }
  }
}

// Sums over tiles of one part: kChannels channels of a block × NV blocks of outputs.
struct Products {
  const float* v;  // first tile, first channel
  const float* d;
  int64_t tiles, d_block;  // floats between blocks of d
  float* sum;
  int64_t lanes;  // floats of sums from one channel to the next
  bool first;     // nothing lies at sum yet
};

template <int NV>
THAW_NOINLINE void multiply(const Products& p) {
  V16 sum[kChannels][NV];
  THAW_FOR (c, kChannels)
    THAW_FOR (v, NV) sum[c][v] = zero();
  const float* x = p.v;
  const float* end = p.d + p.tiles * kLanes;
  for (const float* d = p.d; d < end; d += kLanes, x += kLanes) {
    V16 line[NV];
    THAW_FOR (v, NV) line[v] = load(d + v * p.d_block);
    THAW_FOR (c, kChannels) {
      const V16 input = broadcast(x[c]);
      THAW_FOR (v, NV) sum[c][v] = fma(input, line[v], sum[c][v]);
    }
  }
  THAW_FOR (c, kChannels)
    THAW_FOR (v, NV) {
      float* to = p.sum + c * p.lanes + v * kLanes;
      store(to, p.first ? sum[c][v] : add(load(to), sum[c][v]));
    }
}

struct Region {
  int64_t in, in_blocks, out, out_blocks;
};

Region region_of(const WinogradWeights& a, int64_t region) {
  const int64_t in = region / a.regions_out * a.region_in, out = region % a.regions_out * a.region_out;
  return {in, smaller(a.region_in, a.in_blocks - in), out, smaller(a.region_out, a.out_blocks - out)};
}

// One group of transformed tiles into the sums of its region.
void add_group(const WinogradWeights& a, const Region& r, const float* v, const float* d, int64_t tiles, bool first,
               float* sums) {
  const int64_t block = a.group_tiles * kLanes, lanes = a.region_out * kLanes;
  Products p{};
  p.tiles = tiles, p.d_block = block, p.lanes = lanes, p.first = first;
  for (int64_t k = 0; k < kWinogradProducts; ++k) {
    const float* inputs = v + k * (a.region_in * block + kLanes);
    const float* gradients = d + k * (a.region_out * block + kLanes);
    float* part = sums + k * (a.region_in * kLanes * lanes + kLanes);
    for (int64_t o = 0; o < r.out_blocks; o += kVectors)
      for (int64_t c = 0; c < r.in_blocks * kLanes; c += kChannels) {
        p.v = inputs + c / kLanes * block + c % kLanes;
        p.d = gradients + o * block;
        p.sum = part + c * lanes + o * kLanes;
        if (kVectors > 1 && o + 1 < r.out_blocks) multiply<kVectors>(p);
        else multiply<1>(p);
      }
  }
}

// Aᵀ on six numbers.
THAW_INLINE void finish_three(const V16 (&m)[6], V16 (&to)[3]) {
  const V16 sum_a = add(m[1], m[2]), difference_a = sub(m[1], m[2]), sum_b = add(m[3], m[4]),
            difference_b = sub(m[3], m[4]);
  to[0] = add(m[0], add(sum_a, sum_b));
  to[1] = fma(broadcast(kB), difference_b, mul(broadcast(kA), difference_a));
  to[2] = fma(broadcast(kB2), sum_b, fma(broadcast(kA2), sum_a, m[5]));
}

// The nine taps of one channel and 16 outputs, summed over the chunks: `taps` gets a line for each.
THAW_INLINE void finish_channel(const float* sums, int64_t step, int64_t chunks, int64_t chunk_floats, float* taps) {
  V16 rows[kWinogradPatch][3], line[kWinogradPatch], three[3];
  for (int64_t i = 0; i < kWinogradPatch; ++i) {
    THAW_FOR (j, kWinogradPatch) {
      const float* from = sums + (i * kWinogradPatch + j) * step;
      line[j] = load(from);
      for (int64_t k = 1; k < chunks; ++k) line[j] = add(line[j], load(from + k * chunk_floats));
    }
    finish_three(line, rows[i]);
  }
  THAW_FOR (j, 3) {
    THAW_FOR (i, kWinogradPatch) line[i] = rows[i][j];
    finish_three(line, three);
    THAW_FOR (i, 3) store(taps + (i * 3 + j) * kLanes, three[i]);
  }
}

// One input block of a region and all its outputs into PyTorch's order.
void finish_block(const WinogradWeights& a, const Region& r, int64_t block, const float* sums, int64_t chunk_floats) {
  constexpr int64_t row = kLanes * 9;  // of an output: channels by taps
  alignas(64) float taps[kLanes * row], rows[kLanes * row];
  const int64_t lanes = a.region_out * kLanes, step = a.region_in * kLanes * lanes + kLanes;
  const int64_t channel = (r.in + block) * kLanes, floats = 9 * smaller(kLanes, a.in_channels - channel);
  for (int64_t o = 0; o < r.out_blocks; ++o) {
    const float* from = sums + block * kLanes * lanes + o * kLanes;
    for (int64_t c = 0; c < kLanes; ++c)
      finish_channel(from + c * lanes, step, a.chunks, chunk_floats, taps + c * row);
    for (int64_t i = 0; i < 9; ++i)
      transpose_dwords(taps + i * kLanes * kLanes, kLanes * sizeof(float), rows + i * kLanes, row * sizeof(float));
    const int64_t out = (r.out + o) * kLanes, outs = smaller(kLanes, a.out_channels - out);
    for (int64_t k = 0; k < outs; ++k) {
      float* to = a.dweight + ((out + k) * a.in_channels + channel) * 9;
      for (int64_t i = 0; i < floats; i += kLanes)
        store_n(to + i, load(rows + k * row + i), smaller(kLanes, floats - i));
    }
  }
}

void sum(const WinogradWeights& a, int64_t task, void* scratch) {
  const int64_t regions = a.regions_in * a.regions_out, chunk = task / regions;
  const Region r = region_of(a, task % regions);
  float* v = static_cast<float*>(scratch);
  float* d = v + winograd_floats(a.region_in * a.group_tiles);
  float* sums = a.chunks == 1 ? d + winograd_floats(a.region_out * a.group_tiles)
                              : a.partial + task * winograd_region_floats(a);
  const TileInputs inputs{a.x, a.in_blocks, a.in_height, a.in_width, a.pad_top, a.pad_left, a.tile_rows, a.tile_cols};
  const int64_t block = a.group_tiles * kLanes;
  const int64_t begin = a.groups * chunk / a.chunks, end = a.groups * (chunk + 1) / a.chunks;
  for (int64_t group = begin; group < end; ++group) {
    const int64_t first = group * a.group_tiles, tiles = smaller(a.group_tiles, a.tiles - first);
    for (int64_t b = 0; b < r.in_blocks; ++b)
      transform_tiles(inputs, first, tiles, r.in + b, v + b * block, a.region_in * block + kLanes);
    for (int64_t b = 0; b < r.out_blocks; ++b)
      weigh_tiles(a, first, tiles, r.out + b, d + b * block, a.region_out * block + kLanes);
    add_group(a, r, v, d, tiles, group == begin, sums);
  }
  if (a.chunks > 1) return;
  for (int64_t b = 0; b < r.in_blocks; ++b) finish_block(a, r, b, sums, 0);
}

void join(const WinogradWeights& a, int64_t task, void*) {
  const int64_t region = task / a.region_in, block = task % a.region_in, floats = winograd_region_floats(a);
  const Region r = region_of(a, region);
  if (block < r.in_blocks)
    finish_block(a, r, block, a.partial + region * floats, a.regions_in * a.regions_out * floats);
}

}  // namespace

extern const WinogradWeightsKernels winograd_weights = {sum, join};

}  // namespace THAW_ISA
}  // namespace thaw
