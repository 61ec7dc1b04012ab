// Into and out of pictures in bf16; layouts in kernels/reorder.h.
#include "kernels/reorder.h"

#include "kernels/cpu/micro/bf16.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// One task: a range of pixels of a block of 32 channels.
struct Tile {
  int64_t picture, block, first, last;
  int64_t line;  // of the first pixel in bf16
};

Tile tile_of(const ReorderBf16& a, int64_t task) {
  const int64_t parts = (a.pixels + kReorderPixels - 1) / kReorderPixels, blocks = (a.channels + 31) / 32;
  const int64_t plane = task / parts, first = task % parts * kReorderPixels, last = first + kReorderPixels;
  return {plane / blocks, plane % blocks, first, last < a.pixels ? last : a.pixels, plane * a.pixels + first};
}

/// Channels of half a block that exist, 0 … 16.
int64_t lanes_of(const ReorderBf16& a, const Tile& t, int64_t half) {
  const int64_t left = a.channels - t.block * 32 - half * 16;
  return left < 0 ? 0 : left < 16 ? left : 16;
}

void from_plain(const ReorderBf16& a, int64_t task, void*) {
  const Tile t = tile_of(a, task);
  const float* x = static_cast<const float*>(a.x) + (t.picture * a.channels + t.block * 32) * a.pixels;
  uint16_t* y = static_cast<uint16_t*>(a.y) + t.line * 32;
  const int64_t lanes = lanes_of(a, t, 0) + lanes_of(a, t, 1);
  float rows[32 * 16] = {};
  for (int64_t p = t.first; p < t.last; p += 16) {
    const int64_t n = t.last - p < 16 ? t.last - p : 16;
    for (int64_t c = 0; c < lanes; ++c) storeu(rows + c * 16, load_n(x + c * a.pixels + p, n));
    for (int64_t i = 0; i < n; ++i, y += 32) {
      float line[32];
      for (int c = 0; c < 32; ++c) line[c] = rows[c * 16 + i];
      store_line(y, loadu(line), loadu(line + 16));
    }
  }
}

void to_plain(const ReorderBf16& a, int64_t task, void*) {
  const Tile t = tile_of(a, task);
  const uint16_t* x = static_cast<const uint16_t*>(a.x) + t.line * 32;
  float* y = static_cast<float*>(a.y) + (t.picture * a.channels + t.block * 32) * a.pixels;
  const int64_t lanes = lanes_of(a, t, 0) + lanes_of(a, t, 1);
  float rows[32 * 16] = {};
  for (int64_t p = t.first; p < t.last; p += 16) {
    const int64_t n = t.last - p < 16 ? t.last - p : 16;
    for (int64_t i = 0; i < n; ++i, x += 32) {
      float line[32];
      storeu(line, load_bf16(x));
      storeu(line + 16, load_bf16(x + 16));
      for (int c = 0; c < 32; ++c) rows[c * 16 + i] = line[c];
    }
    for (int64_t c = 0; c < lanes; ++c) store_n(y + c * a.pixels + p, loadu(rows + c * 16), n);
  }
}

/// The first line of a half block in f32 blocks; channels beyond C have none.
int64_t blocked_line(const ReorderBf16& a, const Tile& t, int64_t half) {
  return (t.picture * ((a.channels + 15) / 16) + t.block * 2 + half) * a.pixels + t.first;
}

void from_blocked(const ReorderBf16& a, int64_t task, void*) {
  const Tile t = tile_of(a, task);
  const float* low = static_cast<const float*>(a.x) + blocked_line(a, t, 0) * 16;
  const float* high = lanes_of(a, t, 1) > 0 ? static_cast<const float*>(a.x) + blocked_line(a, t, 1) * 16 : nullptr;
  uint16_t* y = static_cast<uint16_t*>(a.y) + t.line * 32;
  for (int64_t i = 0; i < t.last - t.first; ++i)
    store_line(y + i * 32, load(low + i * 16), high ? load(high + i * 16) : zero());
}

void to_blocked(const ReorderBf16& a, int64_t task, void*) {
  const Tile t = tile_of(a, task);
  const uint16_t* x = static_cast<const uint16_t*>(a.x) + t.line * 32;
  for (int64_t half = 0; half < 2; ++half) {
    if (lanes_of(a, t, half) == 0) continue;
    float* y = static_cast<float*>(a.y) + blocked_line(a, t, half) * 16;
    for (int64_t i = 0; i < t.last - t.first; ++i) store(y + i * 16, load_bf16(x + i * 32 + half * 16));
  }
}

}  // namespace

extern const ReorderBf16Kernels reorder_bf16 = {from_plain, to_plain, from_blocked, to_blocked};

}  // namespace THAW_ISA
}  // namespace thaw
