// Winograd's convolution on tiles of bf16; see kernels/conv2d_winograd_split.h. A task takes the six rows of the transform
// one after the other: it transforms the inputs of a group of tiles and, panel by panel, the weights to six of the 36 parts
// and multiplies them, so that inputs, which every panel reads, stay in the second-level cache. Weights are transformed
// for every group: they would take longer to read as parts, which are six times as many bytes.
#include "kernels/conv2d_winograd_split.h"

#include "kernels/cpu/micro/tile_split.h"
#include "kernels/cpu/micro/winograd_outputs.h"

namespace thaw {
namespace THAW_ISA {
namespace {

// ---- inputs ---------------------------------------------------------------------------------------------------------

// The pixels of a tile: six rows in the first block of channels, rows of zeros beyond the picture, and how far the next
// block's lie behind. Columns first … last-1 are inside.
struct Patch {
  const float* rows[kWinogradPatch];
  int64_t plane[kWinogradPatch];
  int64_t first, last;
};

Patch patch_of(const Winograd& a, int64_t tile) {
  alignas(64) static const float zeros[kWinogradPatch * kLanes] = {};
  const TilePlace place = place_of(a.tile_rows, a.tile_cols, tile);
  const int64_t y = place.row * kWinogradTile - a.pad_top, x = place.col * kWinogradTile - a.pad_left;
  const int64_t plane = a.in_height * a.in_width * kLanes;
  Patch p;
  for (int64_t i = 0; i < kWinogradPatch; ++i) {
    const bool inside = y + i >= 0 && y + i < a.in_height;
    p.rows[i] = inside ? a.x + place.picture * a.in_blocks * plane + ((y + i) * a.in_width + x) * kLanes : zeros;
    p.plane[i] = inside ? plane : 0;
  }
  p.first = x < 0 ? smaller(-x, kWinogradPatch) : 0;
  p.last = smaller(kWinogradPatch, a.in_width - x);
  return p;
}

// Row I of Bᵀ on one column of numbers, as transform_numbers computes it.
template <int I>
THAW_INLINE V16 transform_column(const Patch& p, int64_t block, int64_t j) {
  const auto at = [&](int i) { return load(p.rows[i] + block * p.plane[i] + j * kLanes); };
  if constexpr (I == 0 || I == 5) {
    constexpr int first = I == 5;
    return fma(broadcast(kA2 * kB2), at(first), fnma(broadcast(kA2 + kB2), at(first + 2), at(first + 4)));
  } else {
    const V16 other = broadcast(I < 3 ? kB2 : kA2), point = broadcast(I < 3 ? kA : kB);
    const V16 even = fnma(other, at(2), at(4)), odd = fnma(other, at(1), at(3));
    return I % 2 ? fma(point, odd, even) : fnma(point, odd, even);
  }
}

template <int I>
THAW_INLINE void transform_block(const Patch& p, int64_t block, V16 (&to)[kWinogradPatch]) {
  V16 row[kWinogradPatch];
  if (p.first == 0 && p.last == kWinogradPatch) {
    THAW_FOR (j, kWinogradPatch) row[j] = transform_column<I>(p, block, j);
  } else {
    THAW_FOR (j, kWinogradPatch) row[j] = j >= p.first && j < p.last ? transform_column<I>(p, block, j) : zero();
  }
  transform_numbers(row, to);
}

// Row I of two blocks of channels, the second of which may not exist.
template <int I>
THAW_NOINLINE void transform_patch(const Patch& p, int64_t block, bool both, uint16_t* to, int64_t step, int64_t part) {
  V16 low[kWinogradPatch], high[kWinogradPatch];
  transform_block<I>(p, block, low);
  THAW_FOR (j, kWinogradPatch) high[j] = zero();
  if (both) transform_block<I>(p, block + 1, high);
  THAW_FOR (j, kWinogradPatch) store_parts(low[j], high[j], to + j * step, part);
}

using TransformPatch = void (*)(const Patch&, int64_t block, bool both, uint16_t* to, int64_t step, int64_t part);
constexpr TransformPatch kTransformPatch[kWinogradPatch] = {transform_patch<0>, transform_patch<1>, transform_patch<2>,
                                                            transform_patch<3>, transform_patch<4>, transform_patch<5>};

// Row i of all tiles of a group.
void transform_group(const Winograd& a, const WinogradSplitScratch& s, int64_t first, int64_t tiles, int64_t i,
                     uint16_t* v) {
  for (int64_t t = 0; t < tiles; ++t) {
    const Patch patch = patch_of(a, first + t);
    for (int64_t b = 0; b < s.blocks; ++b)
      kTransformPatch[i](patch, 2 * b, 2 * b + 1 < a.in_blocks, v + (b * kSplitParts * s.rows + t) * kLineLanes,
                         s.input_part() / 2, s.rows * kLineLanes);
  }
}

// ---- weights --------------------------------------------------------------------------------------------------------

/// A panel's weights from a run of input blocks of 16 channels.
struct PanelWeights {
  const float* direct;  // packed for the direct kernel, from the first block on
  int64_t lanes;        // 16 or 32 outputs
  int64_t channels;     // in all blocks
};

// One channel's 16 filters: taps `step` floats apart, none where it does not exist.
struct ChannelFilters {
  const float* taps;
  int64_t step;
};

THAW_INLINE ChannelFilters filters_of(const PanelWeights& w, int64_t channel, int64_t lane) {
  if (channel >= w.channels || lane >= w.lanes) return {nullptr, 0};
  const int64_t block = channel / kLanes, channels = smaller(kLanes, w.channels - block * kLanes);
  return {w.direct + block * 9 * kLanes * w.lanes + channel % kLanes * w.lanes + lane, channels * w.lanes};
}

// Row I of G g Gᵀ.
template <int I>
THAW_INLINE void weigh_row(const ChannelFilters& f, V16 (&to)[kWinogradPatch]) {
  V16 three[3];
  THAW_FOR (j, 3) {
    V16 column[kWinogradPatch];
    const float* taps = f.taps + j * f.step;
    weigh_numbers(load(taps), load(taps + 3 * f.step), load(taps + 6 * f.step), column);
    three[j] = column[I];
  }
  weigh_numbers(three[0], three[1], three[2], to);
}

template <int I>
THAW_NOINLINE void weigh_pair(const ChannelFilters& first, const ChannelFilters& second, uint16_t* to, int64_t step) {
  V16 even[kWinogradPatch], odd[kWinogradPatch];
  THAW_FOR (j, kWinogradPatch) even[j] = odd[j] = zero();
  if (first.taps) weigh_row<I>(first, even);
  if (second.taps) weigh_row<I>(second, odd);
  THAW_FOR (j, kWinogradPatch) store_pair_parts(even[j], odd[j], to + j * step, 1024);
}

using WeighPair = void (*)(const ChannelFilters& first, const ChannelFilters& second, uint16_t* to, int64_t step);
constexpr WeighPair kWeighPair[kWinogradPatch] = {weigh_pair<0>, weigh_pair<1>, weigh_pair<2>,
                                                  weigh_pair<3>, weigh_pair<4>, weigh_pair<5>};

// Row i of a panel's weights from `blocks` blocks of 32 channels, as tiles of pairs.
void weigh_panel(const PanelWeights& w, int64_t blocks, int64_t i, uint16_t* u, int64_t step) {
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t lane = 0; lane < 2 * kLanes; lane += kLanes) {
      uint16_t* to = u + b * kSplitParts * 1024 + lane / kLanes * 512;
      for (int64_t pair = 0; pair < 16; ++pair, to += kLineLanes) {
        const int64_t channel = b * kLineLanes + 2 * pair;
        kWeighPair[i](filters_of(w, channel, lane), filters_of(w, channel + 1, lane), to, step);
      }
    }
}

// ---- products -------------------------------------------------------------------------------------------------------

struct Memory {
  char *v, *u, *m;
};

// Six of the 36 products of a panel from some blocks, added to m.
void multiply_row(const WinogradSplitScratch& s, const Memory& at, int64_t block, int64_t blocks, float* m) {
  int64_t offsets[kWinogradSplitBlocks];
  for (int64_t b = 0; b < blocks; ++b) offsets[b] = b * kSplitParts * s.rows * 64;
  SplitProduct product{};
  product.stride = 64, product.part = s.rows * 64, product.offsets = offsets, product.steps = blocks;
  for (int64_t j = 0; j < kWinogradPatch; ++j) {
    const char* v = at.v + j * s.input_part() + block * kSplitParts * s.rows * 64;
    float* sums = m + j * s.sum_part() / 4;
    product.b = at.u + j * s.weight_part();
    for (int64_t t = 0; t < s.rows; t += 2 * kTileRows) {
      const int count = t + kTileRows < s.rows ? 2 : 1;
      float* const to[2] = {sums + t * 32, sums + (t + kTileRows) * 32};
      product.a[0] = v + t * 64, product.a[1] = v + (t + kTileRows) * 64;
      split_add(product, to, count, block == 0);
    }
  }
}

void multiply_panel(const Winograd& a, const WinogradSplitScratch& s, int64_t panel, int64_t i, const Memory& at,
                    char* m) {
  const int64_t lanes = smaller(2, a.out_blocks - 2 * panel) * kLanes;
  const float* weights = a.weights + panel * 2 * kLanes * a.in_channels * 9;
  for (int64_t b = 0; b < s.blocks; b += kWinogradSplitBlocks) {
    const int64_t blocks = smaller(kWinogradSplitBlocks, s.blocks - b), channel = b * kLineLanes;
    weigh_panel({weights + channel * lanes * 9, lanes, a.in_channels - channel}, blocks, i,
                reinterpret_cast<uint16_t*>(at.u), s.weight_part() / 2);
    multiply_row(s, at, b, blocks, reinterpret_cast<float*>(m + i * kWinogradPatch * s.sum_part()));
  }
}

void direct(const Winograd& a, int64_t task, void* scratch) {
  const WinogradSplitScratch s(a);
  const int64_t group = task % a.groups, panel = task / a.groups * a.chunk_panels;
  const int64_t end = smaller(panel + a.chunk_panels, a.panel_count);
  const int64_t first = group * a.group_tiles, tiles = smaller(a.group_tiles, a.tiles - first);
  char* const memory = static_cast<char*>(scratch);
  const Memory at{memory, memory + s.inputs(), memory + s.inputs() + s.weights()};
  tile_configure(kTileRows);
  for (int64_t i = 0; i < kWinogradPatch; ++i) {
    transform_group(a, s, first, tiles, i, reinterpret_cast<uint16_t*>(at.v));
    for (int64_t p = panel; p < end; ++p) multiply_panel(a, s, p, i, at, at.m + (p - panel) * s.sums());
  }
  tile_release();
  for (int64_t block = 2 * panel; block < smaller(2 * end, a.out_blocks); ++block) {
    const float* m = reinterpret_cast<const float*>(at.m + (block / 2 - panel) * s.sums());
    finish_block(a, {m + block % 2 * kLanes, 2 * kLanes, s.sum_part() / 4, first, tiles, block});
  }
}

}  // namespace

extern const WinogradSplitKernels conv2d_winograd_split_bf16 = {direct};

}  // namespace THAW_ISA
}  // namespace thaw
