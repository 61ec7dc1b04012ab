// Linear layers in bf16; arguments in kernels/linear_bf16.h. A task rounds its rows once and multiplies them by one panel of
// weights after the other; two tiles of rows share one reading of a panel.
#include "kernels/linear_bf16.h"

#include "kernels/cpu/micro/activate.h"
#include "kernels/cpu/micro/tile.h"

namespace thaw {
namespace THAW_ISA {
namespace {

THAW_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

struct Scratch {
  float* bias;      // 32, on 64 floats
  float* sums;      // [2][16][32]
  int64_t* steps;   // bytes from a row to its step k
  char* x;          // [row] lines of bf16
};

THAW_INLINE Scratch scratch_of(const LinearBf16& a, void* memory) {
  Scratch s;
  s.bias = static_cast<float*>(memory);
  s.sums = s.bias + 64;
  s.steps = reinterpret_cast<int64_t*>(s.sums + 2 * kTileRows * 32);
  s.x = reinterpret_cast<char*>(s.steps) + (a.steps * 8 + 63) / 64 * 64;
  for (int64_t k = 0; k < a.steps; ++k) s.steps[k] = k * 64;
  return s;
}

// One row, with zeros behind its end; a row beyond the last is all zeros.
THAW_INLINE void round_row(const LinearBf16& a, int64_t row, int64_t end, char* to) {
  for (int64_t k = 0; k < a.steps; ++k, to += 64) {
    const int64_t left = row < end ? a.inputs - k * 32 : 0;
    const float* x = a.x + row * a.inputs + k * 32;
    V16 low = zero(), high = zero();
    if (left >= 32) low = loadu(x), high = loadu(x + 16);
    else if (left > 0) low = load_n(x, smaller(left, 16)), high = left > 16 ? load_n(x + 16, left - 16) : zero();
    store_line(reinterpret_cast<uint16_t*>(to), low, high);
  }
}

/// Rows of a tile's sums into y.
struct Finish {
  const float* sums;
  float* y;
  int64_t stride, rows, columns;
  float alpha;

  template <Activation kind>
  void run() const {
    const V16 slope = broadcast(alpha);
    for (int64_t r = 0; r < rows; ++r) {
      float* to = y + r * stride;
      const V16 low = activate_as<kind>(loadu(sums + r * 32), slope);
      const V16 high = activate_as<kind>(loadu(sums + r * 32 + 16), slope);
      if (columns == 32) {
        storeu(to, low), storeu(to + 16, high);
      } else {
        store_n(to, low, smaller(columns, 16));
        if (columns > 16) store_n(to + 16, high, columns - 16);
      }
    }
  }
};

void multiply_panel(const LinearBf16& a, const Scratch& s, int64_t panel, int64_t first, int64_t rows) {
  const int64_t columns = smaller(32, a.outputs - panel * 32);
  for (int64_t v = 0; v < 2; ++v) {
    const int64_t at = panel * 32 + v * 16, left = a.bias ? a.outputs - at : 0;
    store(s.bias + v * 16, left >= 16 ? loadu(a.bias + at) : left > 0 ? load_n(a.bias + at, left) : zero());
  }
  TileProduct t;
  t.stride = linear_bf16_row(a.steps);
  t.b = reinterpret_cast<const char*>(a.weights) + panel * a.steps * 2 * kTileBytes;
  t.offsets = s.steps;
  t.steps = a.steps;
  t.bias = s.bias;
  t.sums = s.sums;
  t.rows = static_cast<int>(a.tile_rows);
  for (int64_t r = 0; r < rows; r += 2 * a.tile_rows) {
    t.a[0] = s.x + r * t.stride;
    t.a[1] = r + a.tile_rows < rows ? t.a[0] + a.tile_rows * t.stride : nullptr;
    tile_product(t);
    for (int64_t i = 0; i < 2 && r + i * a.tile_rows < rows; ++i) {
      const int64_t row = r + i * a.tile_rows;
      with_activation(a.activation, Finish{s.sums + i * kTileRows * 32, a.y + (first + row) * a.outputs + panel * 32,
                                           a.outputs, smaller(a.tile_rows, rows - row), columns, a.alpha});
    }
  }
}

void direct(const LinearBf16& a, int64_t task, void* memory) {
  const Scratch s = scratch_of(a, memory);
  const int64_t first = task % a.row_tasks * a.task_rows, rows = smaller(a.task_rows, a.rows - first);
  const int64_t padded = (rows + a.tile_rows - 1) / a.tile_rows * a.tile_rows;
  for (int64_t r = 0; r < padded; ++r) round_row(a, first + r, first + rows, s.x + r * linear_bf16_row(a.steps));
  const int64_t begin = task / a.row_tasks * a.task_panels, end = smaller(a.panels, begin + a.task_panels);
  tile_configure(static_cast<int>(a.tile_rows));
  for (int64_t panel = begin; panel < end; ++panel) multiply_panel(a, s, panel, first, rows);
  tile_release();
}

}  // namespace

extern const LinearBf16Kernels linear_bf16 = {direct, nullptr};

}  // namespace THAW_ISA
}  // namespace thaw
