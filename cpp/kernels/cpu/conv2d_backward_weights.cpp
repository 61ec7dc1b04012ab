// dweight[k][c][ky][kx] = sum over pictures, rows, columns of dy[k] * x[c at the tap].
// Registers hold kChannels input channels × panel outputs; one pixel is one broadcast per channel and one load per 16
// outputs. Borders need no copy: each tap visits only the points whose input pixel exists.
//
// A task takes a tile of panels and input blocks, and a chunk of units (pictures or rows). Sums of one unit are made in
// registers and then added to the partial sums, so that rounding errors grow with the number of units, not of pixels.
#include "kernels/conv2d.h"

#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

#if defined(THAW_ISA_avx512)
constexpr int kChannels = 8, kPairs = 12;
#elif defined(THAW_ISA_avx2)
constexpr int kChannels = 4, kPairs = 6;
#else
constexpr int kChannels = 2, kPairs = 2;
#endif

constexpr int64_t kAhead = 16;  // pixels

THAW_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
THAW_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

struct Region {
  const float* x;  // first point, first channel
  const float* dy;
  float* sum;  // [channels][NV * 16]
  bool first;  // nothing lies at sum yet
  int64_t pictures, rows, cols;
  int64_t x_picture, x_row, x_pixel;  // steps in floats
  int64_t dy_picture, dy_row, dy_block;
};

template <int C, int NV>
THAW_NOINLINE void accumulate(const Region& r) {
  V16 sum[C][NV];
  THAW_FOR (c, C)
    THAW_FOR (v, NV) sum[c][v] = zero();
  for (int64_t n = 0; n < r.pictures; ++n) {
    for (int64_t row = 0; row < r.rows; ++row) {
      const float* x = r.x + n * r.x_picture + row * r.x_row;
      const float* dy = r.dy + n * r.dy_picture + row * r.dy_row;
      const float* end = dy + r.cols * kLanes;
      for (; dy < end; dy += kLanes, x += r.x_pixel) {
        // What the next few pixels read comes from the second-level cache, in time only if asked for.
        __builtin_prefetch(x + kAhead * r.x_pixel);
        THAW_FOR (v, NV) __builtin_prefetch(dy + v * r.dy_block + kAhead * kLanes);
        V16 d[NV];
        THAW_FOR (v, NV) d[v] = load(dy + v * r.dy_block);
        THAW_FOR (c, C) {
          const V16 input = broadcast(x[c]);
          THAW_FOR (v, NV) sum[c][v] = fma(input, d[v], sum[c][v]);
        }
      }
    }
  }
  THAW_FOR (c, C)
    THAW_FOR (v, NV) {
      float* to = r.sum + (c * NV + v) * kLanes;
      store(to, r.first ? sum[c][v] : add(load(to), sum[c][v]));
    }
}

void accumulate_some(const Region& r, int64_t vectors, bool few_channels) {
#if defined(THAW_ISA_avx512)
  if (vectors == 2) return few_channels ? accumulate<4, 2>(r) : accumulate<kChannels, 2>(r);
#endif
  (void)vectors;
  return few_channels ? accumulate<(kChannels < 4 ? kChannels : 4), 1>(r) : accumulate<kChannels, 1>(r);
}

// Pictures of few channels (the first layer's): registers hold pairs of a tap and a channel instead, so that no lane of
// work is spent on channels that do not exist.
struct Pairs {
  int64_t x[kPairs];   // floats from the region's x
  float* sum[kPairs];  // null: the pair fills up the registers, its result is dropped
};

template <int NV>
THAW_NOINLINE void accumulate_pairs(const Region& r, const Pairs& pairs) {
  V16 sum[kPairs][NV];
  THAW_FOR (i, kPairs)
    THAW_FOR (v, NV) sum[i][v] = zero();
  for (int64_t n = 0; n < r.pictures; ++n) {
    for (int64_t row = 0; row < r.rows; ++row) {
      const float* x = r.x + n * r.x_picture + row * r.x_row;
      const float* dy = r.dy + n * r.dy_picture + row * r.dy_row;
      const float* end = dy + r.cols * kLanes;
      for (; dy < end; dy += kLanes, x += r.x_pixel) {
        V16 d[NV];
        THAW_FOR (v, NV) d[v] = load(dy + v * r.dy_block);
        THAW_FOR (i, kPairs) {
          const V16 input = broadcast(x[pairs.x[i]]);
          THAW_FOR (v, NV) sum[i][v] = fma(input, d[v], sum[i][v]);
        }
      }
    }
  }
  for (int i = 0; i < kPairs; ++i) {
    if (!pairs.sum[i]) continue;
    THAW_FOR (v, NV) {
      float* to = pairs.sum[i] + v * kLanes;
      store(to, add(load(to), sum[i][v]));
    }
  }
}

struct Unit {
  int64_t picture, pictures, row, rows;
};

Unit unit_of(const Conv2dWeights& a, int64_t index) {
  if (a.unit_pictures > 1) {
    const int64_t picture = index * a.unit_pictures;
    return {picture, smaller(a.unit_pictures, a.pictures - picture), 0, a.rows};
  }
  const int64_t per_picture = (a.rows + a.unit_rows - 1) / a.unit_rows;
  const int64_t row = index % per_picture * a.unit_rows;
  return {index / per_picture, 1, row, smaller(a.unit_rows, a.rows - row)};
}

int64_t unit_count(const Conv2dWeights& a) {
  if (a.unit_pictures > 1) return (a.pictures + a.unit_pictures - 1) / a.unit_pictures;
  return a.pictures * ((a.rows + a.unit_rows - 1) / a.unit_rows);
}

// The points of [begin, end) whose input position point * stride + offset lies in [0, size).
struct Points {
  int64_t begin, end;
};

THAW_INLINE Points points_inside(int64_t begin, int64_t end, int64_t stride, int64_t offset, int64_t size) {
  const int64_t first = offset < 0 ? (-offset + stride - 1) / stride : 0;
  const int64_t beyond = offset < size ? (size - offset + stride - 1) / stride : 0;
  return {larger(begin, first), smaller(end, beyond)};
}

THAW_INLINE void clear(float* to, int64_t floats) {
  for (int64_t i = 0; i < floats; i += kLanes) store(to + i, zero());
}

// The rows of a unit whose input row at kernel row ky exists.
THAW_INLINE Points rows_inside(const Conv2dWeights& a, const Unit& u, int64_t ky) {
  const int64_t height = (a.in_height * a.in_width + a.in_pitch - 1) / a.in_pitch;
  return points_inside(u.row, u.row + u.rows, a.stride_y, ky * a.dilation_y - a.pad_top, height);
}

// The points rows × cols of a unit, for one panel, input block and tap.
Region region_of(const Conv2dWeights& a, const Unit& u, const Conv2dPanel& panel, int64_t block, int64_t ky, int64_t kx,
                 Points rows, Points cols) {
  const int64_t y = rows.begin * a.stride_y + ky * a.dilation_y - a.pad_top;
  const int64_t x = cols.begin * a.stride_x + kx * a.dilation_x - a.pad_left;
  Region r;
  r.x_picture = a.in_blocks * a.in_height * a.in_width * kLanes;
  r.dy_picture = a.out_blocks * a.out_pixels * kLanes;
  r.x_row = a.stride_y * a.in_pitch * kLanes;
  r.x_pixel = a.stride_x * kLanes;
  r.dy_row = a.cols * kLanes;
  r.dy_block = a.out_pixels * kLanes;
  r.pictures = u.pictures;
  r.rows = rows.end - rows.begin;
  r.cols = cols.end - cols.begin;
  r.x = a.x + u.picture * r.x_picture + (panel.in_block + block) * a.in_height * a.in_width * kLanes +
        (y * a.in_pitch + x) * kLanes;
  r.dy = a.dy + u.picture * r.dy_picture + panel.out_block * r.dy_block + (rows.begin * a.cols + cols.begin) * kLanes;
  return r;
}

// One panel × one input block × one tap over the columns `among` of one unit; the sums lie at `to`.
void add_tap(const Conv2dWeights& a, const Unit& u, const Conv2dPanel& panel, int64_t block, int64_t ky, int64_t kx,
             Points among, bool first, float* to) {
  const Points rows = rows_inside(a, u, ky);
  const Points cols = points_inside(among.begin, among.end, a.stride_x, kx * a.dilation_x - a.pad_left, a.in_pitch);
  if (rows.begin >= rows.end || cols.begin >= cols.end) {
    if (first) clear(to, kLanes * panel.vectors * kLanes);
    return;
  }
  const Region all = region_of(a, u, panel, block, ky, kx, rows, cols);
  const bool ragged = a.last_cols < a.cols && rows.end == a.rows;
  const int64_t whole = rows.end - rows.begin - (ragged ? 1 : 0);
  const int64_t channels = block + 1 < panel.in_blocks ? kLanes : panel.tail;
  const int64_t step = channels <= 4 && kChannels > 4 ? 4 : kChannels;
  for (int64_t c = 0; c < channels; c += step) {
    Region r = all;
    r.sum = to + c * panel.vectors * kLanes;
    r.x += c;
    r.rows = whole;
    r.first = first;
    if (whole > 0) accumulate_some(r, panel.vectors, step < kChannels);
    if (!ragged) continue;
    r.first = first && whole == 0;
    r.x += whole * r.x_row;
    r.dy += whole * r.dy_row;
    r.rows = 1;
    r.cols = a.last_cols;
    accumulate_some(r, panel.vectors, step < kChannels);
  }
}

// Adds the columns [begin, end) that every tap of kernel row ky shares, pair by pair.
void add_shared_columns(const Conv2dWeights& a, const Unit& u, const Conv2dPanel& panel, int64_t ky, Points rows,
                        Points cols, float* to) {
  const Region r = region_of(a, u, panel, 0, ky, 0, rows, cols);
  const int64_t lanes = panel.vectors * kLanes, count = a.kernel_width * panel.tail;
  for (int64_t first = 0; first < count; first += kPairs) {
    Pairs pairs;
    for (int64_t i = 0; i < kPairs; ++i) {
      const int64_t pair = smaller(first + i, count - 1), kx = pair / panel.tail, c = pair % panel.tail;
      pairs.x[i] = kx * a.dilation_x * kLanes + c;
      pairs.sum[i] = first + i < count ? to + (kx * kLanes + c) * lanes : nullptr;
    }
#if defined(THAW_ISA_avx512)
    if (panel.vectors == 2) {
      accumulate_pairs<2>(r, pairs);
      continue;
    }
#endif
    accumulate_pairs<1>(r, pairs);
  }
}

// One kernel row over one unit for a picture of few channels; columns that not every tap reaches go tap by tap.
void add_row_of_few_channels(const Conv2dWeights& a, const Unit& u, const Conv2dPanel& panel, int64_t ky, bool first,
                             float* to) {
  const int64_t tap_floats = kLanes * panel.vectors * kLanes, last = (a.kernel_width - 1) * a.dilation_x - a.pad_left;
  const Points rows = rows_inside(a, u, ky);
  const Points low = points_inside(0, a.cols, a.stride_x, -a.pad_left, a.in_pitch);
  const Points high = points_inside(0, a.cols, a.stride_x, last, a.in_pitch);
  const int64_t begin = smaller(low.begin, a.cols);
  const Points shared = {begin, larger(begin, high.end)};
  if (first) clear(to, a.kernel_width * tap_floats);
  if (rows.begin >= rows.end) return;
  if (shared.begin < shared.end) add_shared_columns(a, u, panel, ky, rows, shared, to);
  for (int64_t kx = 0; kx < a.kernel_width; ++kx, to += tap_floats) {
    add_tap(a, u, panel, 0, ky, kx, {0, shared.begin}, false, to);
    add_tap(a, u, panel, 0, ky, kx, {shared.end, a.cols}, false, to);
  }
}

void add_row_of_taps(const Conv2dWeights& a, const Unit& u, const Conv2dPanel& panel, int64_t block, int64_t ky,
                     bool first, float* to) {
  for (int64_t kx = 0; kx < a.kernel_width; ++kx, to += kLanes * panel.vectors * kLanes)
    add_tap(a, u, panel, block, ky, kx, {0, a.cols}, first, to);
}

int64_t block_floats(const Conv2dWeights& a, const Conv2dPanel& panel) {
  return a.kernel_height * a.kernel_width * kLanes * panel.vectors * kLanes;
}

void add_unit(const Conv2dWeights& a, const Conv2dWeightsTile& tile, const Unit& u, bool first, float* partial) {
  for (int64_t p = tile.panel; p < tile.panel + tile.panels; ++p) {
    const Conv2dPanel& panel = a.panels[p];
    const int64_t floats = block_floats(a, panel), tap_floats = kLanes * panel.vectors * kLanes;
    const bool few = panel.in_blocks == 1 && panel.tail <= 4 && a.kernel_width > 1;
    for (int64_t b = tile.block; b < tile.block + tile.blocks; ++b) {
      float* to = partial + panel.weights + b * floats;
      for (int64_t ky = 0; ky < a.kernel_height; ++ky, to += a.kernel_width * tap_floats) {
        if (few)
          add_row_of_few_channels(a, u, panel, ky, first, to);
        else
          add_row_of_taps(a, u, panel, b, ky, first, to);
      }
    }
  }
}

void weights(const Conv2dWeights& a, int64_t task, void*) {
  const int64_t chunk = task / a.tile_count, units = unit_count(a);
  const Conv2dWeightsTile& tile = a.tiles[task % a.tile_count];
  float* partial = a.partial + chunk * a.chunk_floats;
  const int64_t begin = units * chunk / a.chunks, end = units * (chunk + 1) / a.chunks;
  for (int64_t u = begin; u < end; ++u) add_unit(a, tile, unit_of(a, u), u == begin, partial);
}

// One input block of a panel, summed over the chunks, into PyTorch's order; of each output only its own group's
// channels.
void join_block(const Conv2dJoin& a, const Conv2dPanel& panel, int64_t b) {
  const int64_t group_in = a.in_channels / a.groups, group_out = a.out_channels / a.groups,
                lanes = panel.vectors * kLanes;
  const int64_t channel = (panel.in_block + b) * kLanes, channels = b + 1 < panel.in_blocks ? kLanes : panel.tail;
  const float* block = a.partial + panel.weights + b * a.taps * kLanes * lanes;
  for (int64_t o = 0; o < smaller(lanes, a.out_channels - panel.out_block * kLanes); ++o) {
    const int64_t out = panel.out_block * kLanes + o, first = out / group_out * group_in;
    const int64_t begin = larger(first, channel), end = smaller(first + group_in, channel + channels);
    float* to = a.dweight + (out * group_in + begin - first) * a.taps;
    for (int64_t c = begin - channel; c < end - channel; ++c)
      for (int64_t t = 0; t < a.taps; ++t) {
        const float* sums = block + (t * kLanes + c) * lanes + o;
        float total = sums[0];
        for (int64_t k = 1; k < a.chunks; ++k) total += sums[k * a.chunk_floats];
        *to++ = total;
      }
  }
}

void join(const Conv2dJoin& a, int64_t task, void*) {
  const Conv2dPanel& panel = a.panels[task];
  for (int64_t b = 0; b < panel.in_blocks; ++b) join_block(a, panel, b);
}

}  // namespace

extern const Conv2dWeightsKernels conv2d_weights = {weights, join};

}  // namespace THAW_ISA
}  // namespace thaw
