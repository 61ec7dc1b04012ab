// Plain to blocked and back; layouts in kernels/reorder.h. Sixteen channels by sixteen pixels are turned at a time.
#include "kernels/reorder.h"

#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

/// One task: a range of pixels of a channel block.
struct Tile {
  int64_t first, last, lanes;
  int64_t plain;    // offset of the block's first channel
  int64_t blocked;  // offset of the block's first line
};

Tile tile_of(const Reorder& a, int64_t task) {
  const int64_t parts = (a.pixels + kReorderPixels - 1) / kReorderPixels, blocks = (a.channels + 15) / 16;
  const int64_t plane = task / parts, picture = plane / blocks, block = plane % blocks;
  const int64_t first = task % parts * kReorderPixels, left = a.channels - block * 16;
  const int64_t last = first + kReorderPixels < a.pixels ? first + kReorderPixels : a.pixels;
  return {first, last, left < 16 ? left : 16, (picture * a.channels + block * 16) * a.pixels, plane * a.pixels * 16};
}

/// y[j][i] = x[i][j]
THAW_INLINE void turn(const float* THAW_RESTRICT x, float* THAW_RESTRICT y) {
  for (int j = 0; j < 16; ++j) {
    for (int i = 0; i < 16; ++i) y[j * 16 + i] = x[i * 16 + j];
  }
}

void to_blocked(const Reorder& a, int64_t task, void*) {
  const Tile t = tile_of(a, task);
  float rows[256] = {}, lines[256];
  for (int64_t p = t.first; p < t.last; p += 16) {
    const int64_t n = t.last - p < 16 ? t.last - p : 16;
    for (int64_t c = 0; c < t.lanes; ++c) storeu(rows + c * 16, load_n(a.x + t.plain + c * a.pixels + p, n));
    turn(rows, lines);
    for (int64_t i = 0; i < n; ++i) store(a.y + t.blocked + (p + i) * 16, loadu(lines + i * 16));
  }
}

void to_plain(const Reorder& a, int64_t task, void*) {
  const Tile t = tile_of(a, task);
  float rows[256], lines[256] = {};
  for (int64_t p = t.first; p < t.last; p += 16) {
    const int64_t n = t.last - p < 16 ? t.last - p : 16;
    for (int64_t i = 0; i < n; ++i) storeu(lines + i * 16, load(a.x + t.blocked + (p + i) * 16));
    turn(lines, rows);
    for (int64_t c = 0; c < t.lanes; ++c) store_n(a.y + t.plain + c * a.pixels + p, loadu(rows + c * 16), n);
  }
}

}  // namespace

extern const ReorderKernels reorder = {to_blocked, to_plain};

}  // namespace THAW_ISA
}  // namespace thaw
