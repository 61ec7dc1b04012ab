// The first layer in bf16: plain f32 pictures of up to four channels; arguments in kernels/conv2d_bf16.h. A task copies
// the rows of a band as [row][pixel][4] in bf16 with zeros around, then runs all outputs over it. A grid point's step is
// eight neighbouring pixels, 64 bytes, and points lie `stride` pixels of eight bytes apart.
#include "kernels/conv2d_bf16.h"

#include "kernels/cpu/micro/conv2d_finish.h"

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int64_t kPixel = 4, kPixelBytes = 8;

THAW_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

struct Band {
  int64_t picture, row, rows, in_rows;
};

THAW_INLINE Band band_of(const Conv2dNarrow& a, int64_t task) {
  const int64_t row = task % a.bands * a.band_rows, rows = smaller(a.band_rows, a.out_height - row);
  return {task / a.bands, row, rows, (rows - 1) * a.stride_y + (a.kernel_height - 1) * a.dilation_y + 1};
}

// n neighbours (1 … 16) of each channel as pixels of four.
THAW_INLINE void interleave(const float* const* planes, int64_t channels, int64_t n, uint16_t* to) {
  V16 c[kPixel];
  for (int64_t i = 0; i < kPixel; ++i) c[i] = i < channels ? load_n(planes[i], n) : zero();
  alignas(64) uint16_t first[32], second[32];
  store_even_odd(first, c[0], c[1]);
  store_even_odd(second, c[2], c[3]);
  for (int64_t i = 0; i < n; ++i) {
    uint32_t low, high;
    __builtin_memcpy(&low, first + 2 * i, sizeof(low));
    __builtin_memcpy(&high, second + 2 * i, sizeof(high));
    const uint64_t pixel = low | static_cast<uint64_t>(high) << 32;
    __builtin_memcpy(to + i * kPixel, &pixel, sizeof(pixel));
  }
}

void copy_row(const Conv2dNarrow& a, int64_t picture, int64_t row, uint16_t* to) {
  for (int64_t i = 0; i < a.row_pixels * kPixel; ++i) to[i] = 0;
  if (row < 0 || row >= a.in_height) return;
  const float* planes[kPixel];
  const int64_t plane = a.in_height * a.in_width;
  for (int64_t c = 0; c < a.channels; ++c) planes[c] = a.x + (picture * a.channels + c) * plane + row * a.in_width;
  const int64_t width = smaller(a.in_width, a.row_pixels - a.pad_left);
  uint16_t* first = to + a.pad_left * kPixel;
  for (int64_t x = 0; x < width; x += 16) {
    interleave(planes, a.channels, smaller(16, width - x), first + x * kPixel);
    for (int64_t c = 0; c < a.channels; ++c) planes[c] += 16;
  }
}

void load_bias(const Conv2dNarrow& a, int64_t block, float* bias) {
  for (int64_t v = 0; v < 2; ++v) {
    const int64_t channel = block * kLineLanes + v * kLanes, left = a.out_channels - channel;
    store(bias + v * kLanes, a.bias && left > 0 ? load_n(a.bias + channel, smaller(kLanes, left)) : zero());
  }
}

// All tiles of one block of outputs over a band; one tile at a time, as the copy is small and lies in the first cache.
void sweep(const Conv2dNarrow& a, const Band& band, int64_t block, const char* copy, TileProduct& product,
           TileFinish& finish) {
  const int64_t row_bytes = a.row_pixels * kPixelBytes;
  const int64_t plane = (band.picture * a.out_blocks + block) * a.out_height;
  product.b = reinterpret_cast<const char*>(a.weights) + block * product.steps * 2 * kTileBytes;
  for (int64_t r = 0; r < band.rows; ++r) {
    const char* x = copy + r * a.stride_y * row_bytes;
    const int64_t out = (plane + band.row + r) * a.out_width * kLanes;
    finish.y = reinterpret_cast<float*>(a.y) + out;
    finish.gate = nullptr;
    finish.residual = a.residual ? reinterpret_cast<const float*>(a.residual) + out : nullptr;
    for (int64_t at = 0; at < a.out_width; at += 2 * a.tile_rows) {
      // The last tile moves back to end with the row.
      const int64_t last = a.out_width - a.tile_rows;
      const int64_t first = smaller(at, last), second = at + a.tile_rows;
      product.a[0] = x + first * product.stride;
      product.a[1] = second < a.out_width ? x + smaller(second, last) * product.stride : nullptr;
      tile_product(product);
      for (int i = 0; i < 2 && product.a[i]; ++i) {
        finish.sums = product.sums + i * kTileRows * 32;
        finish.skip = i == 0 ? at - first : second - smaller(second, last);
        finish.rows = a.tile_rows;
        finish.offsets = reinterpret_cast<const int64_t*>(product.offsets + product.steps) + (i == 0 ? first : smaller(second, last));
        with_activation(a.activation, finish);
      }
    }
  }
}

void direct(const Conv2dNarrow& a, int64_t task, void* memory) {
  const Band band = band_of(a, task);
  float* bias = static_cast<float*>(memory);
  float* sums = bias + 64;
  int64_t* steps = reinterpret_cast<int64_t*>(sums + 2 * 32 * 32);
  const int64_t step_count = a.kernel_height * a.parts;
  int64_t* offsets = steps + step_count;
  char* copy = reinterpret_cast<char*>(memory) + conv2d_bf16_scratch(a.out_width, step_count);
  copy += (64 - reinterpret_cast<uintptr_t>(copy) % 64) % 64;

  for (int64_t r = 0; r < band.in_rows; ++r)
    copy_row(a, band.picture, band.row * a.stride_y - a.pad_top + r,
             reinterpret_cast<uint16_t*>(copy) + r * a.row_pixels * kPixel);
  for (int64_t k = 0; k < step_count; ++k)
    steps[k] = k / a.parts * a.dilation_y * a.row_pixels * kPixelBytes + k % a.parts * 64;
  for (int64_t i = 0; i < a.out_width; ++i) offsets[i] = i * kLanes;

  TileProduct product{};
  product.stride = a.stride_x * kPixelBytes;
  product.offsets = steps, product.steps = step_count;
  product.bias = bias, product.sums = sums, product.rows = static_cast<int>(a.tile_rows);
  TileFinish finish{};
  finish.alpha = a.alpha;
  finish.stream = a.stream;
  tile_configure(product.rows);
  for (int64_t block = 0; block < a.out_blocks; ++block) {
    load_bias(a, block, bias);
    sweep(a, band, block, copy, product, finish);
  }
  tile_release();
}

void pack(const Conv2dNarrowPack& a, int64_t block, void*) {
  alignas(64) float tiles[2 * 512];
  uint16_t* to = a.packed + block * a.kernel_height * a.parts * 1024;
  for (int64_t k = 0; k < a.kernel_height * a.parts; ++k) {
    for (int i = 0; i < 1024; ++i) tiles[i] = 0;
    for (int64_t o = 0; o < smaller(kLineLanes, a.outputs - block * kLineLanes); ++o) {
      const float* weight = a.weight + (block * kLineLanes + o) * a.channels * a.kernel_height * a.kernel_width;
      for (int64_t i = 0; i < smaller(8, a.kernel_width - k % a.parts * 8); ++i) {
        for (int64_t c = 0; c < a.channels; ++c) {
          const int64_t e = i * kPixel + c, tap = k / a.parts * a.kernel_width + k % a.parts * 8 + i;
          tiles[o / 16 * 512 + e / 2 * 32 + o % 16 * 2 + e % 2] =
              weight[c * a.kernel_height * a.kernel_width + tap];
        }
      }
    }
    for (int i = 0; i < 32; ++i, to += 32) store_line(to, load(tiles + i * 32), load(tiles + i * 32 + 16));
  }
}

}  // namespace

extern const Conv2dNarrowKernels conv2d_narrow_bf16 = {direct, pack};

}  // namespace THAW_ISA
}  // namespace thaw
