// Pooling of pictures in bf16; formulas and shapes in kernels/pool.h. Averages are summed in double, gradients in f32.
#include "kernels/cpu/micro/bf16.h"
#include "kernels/cpu/micro/wide.h"
#include "kernels/cpu/micro/windows.h"

namespace thaw {
namespace THAW_ISA {
namespace {

struct LineBf16 {
  using Element = uint16_t;
  static constexpr int64_t kLine = 32;
  using Peak = K32;
  static Peak lowest() { return lowest_keys(); }
  static Peak take(Peak peak, const uint16_t* p) { return greater_keys(peak, load_keys(p)); }
  static void put(uint16_t* p, Peak peak) { store_keys(p, peak); }
};

void max(const MaxPool& a, int64_t task, void*) { max_task<LineBf16>(a, task); }

/// The rows of dx that windows still add to, in f32: row y of the picture lies in y % rows, [width][32].
struct Ring {
  float* memory;
  int64_t rows, width;
  float* row(int64_t y) const { return memory + y % rows * width * 32; }
  void clear(int64_t y) const {
    for (int64_t i = 0; i < width * 2; ++i) store(row(y) + i * 16, zero());
  }
  /// Rounds a row that is complete, and makes its place ready for another.
  void flush(int64_t y, uint16_t* dx) const {
    const float* from = row(y);
    for (int64_t i = 0; i < width; ++i) store_line(dx + i * 32, load(from + i * 32), load(from + i * 32 + 16));
    clear(y);
  }
};

void max_backward(const MaxPool& a, int64_t task, void* scratch) {
  const int64_t reach = (a.kernel_h - 1) * a.dilation_h + 1;
  const Ring ring = {static_cast<float*>(scratch), reach, a.width};
  const uint16_t* x = static_cast<const uint16_t*>(a.x) + task * a.height * a.width * 32;
  const uint16_t* dy = static_cast<const uint16_t*>(a.dy) + task * a.out_height * a.out_width * 32;
  uint16_t* dx = static_cast<uint16_t*>(a.y) + task * a.height * a.width * 32;
  for (int64_t y = 0; y < reach; ++y) ring.clear(y);
  int64_t done = 0;
  for (int64_t row = 0; row < a.out_height; ++row) {
    const int64_t top = row * a.stride_h - a.pad_top;
    for (; done < top && done < a.height; ++done) ring.flush(done, dx + done * a.width * 32);
    for (int64_t column = 0; column < a.out_width; ++column, dy += 32) {
      const Window w = window_at(a, row, column);
      for (int64_t half = 0; half < 32; half += 16) {
        const V16 tap = greatest_tap(a, w, [&](int64_t line) { return load_bf16(x + line * 32 + half); });
        scatter(a, w, tap, load_bf16(dy + half), [&](int64_t y, int64_t x) { return ring.row(y) + x * 32 + half; });
      }
    }
  }
  for (; done < a.height; ++done) ring.flush(done, dx + done * a.width * 32);
}

// ---- average ----------------------------------------------------------------------------------------------------

struct Halves {
  W16 low, high;
};

Halves window_sum(const AveragePool& a, const uint16_t* plane, PoolWindow rows, PoolWindow columns) {
  Halves sum = {wide_zero(), wide_zero()};
  for (int64_t j = rows.begin; j < rows.end; ++j) {
    for (int64_t i = columns.begin; i < columns.end; ++i) {
      const uint16_t* p = plane + (j * a.width + i) * 32;
      sum.low = wide_add(sum.low, widen(load_bf16(p)));
      sum.high = wide_add(sum.high, widen(load_bf16(p + 16)));
    }
  }
  return sum;
}

void average(const AveragePool& a, int64_t task, void*) {
  const Rows part = rows_of(task, a.out_height, a.rows_per_task);
  const uint16_t* plane = static_cast<const uint16_t*>(a.x) + part.plane * a.height * a.width * 32;
  uint16_t* y = static_cast<uint16_t*>(a.y) + (plane_of_y(a, part.plane) * a.out_height + part.first) * a.out_width * 32;
  for (int64_t row = part.first; row < part.last; ++row) {
    for (int64_t column = 0; column < a.out_width; ++column, y += 32) {
      const W16 share = wide_broadcast(1.0 / (a.rows[row].size * a.columns[column].size));
      const Halves sum = window_sum(a, plane, a.rows[row], a.columns[column]);
      store_line(y, narrow(wide_mul(sum.low, share)), narrow(wide_mul(sum.high, share)));
    }
  }
}

void average_backward(const AveragePool& a, int64_t task, void*) {
  const uint16_t* dy = static_cast<const uint16_t*>(a.x) + task * a.out_height * a.out_width * 32;
  uint16_t* dx = static_cast<uint16_t*>(a.y) + task * a.height * a.width * 32;
  for (int64_t y = 0; y < a.height; ++y) {
    const PoolHolders rows = a.row_holders[y];
    for (int64_t x = 0; x < a.width; ++x, dx += 32) {
      const PoolHolders columns = a.column_holders[x];
      V16 low = zero(), high = zero();
      for (int64_t j = rows.first; j < rows.last; ++j) {
        for (int64_t i = columns.first; i < columns.last; ++i) {
          const V16 share = broadcast(static_cast<float>(1.0 / (a.rows[j].size * a.columns[i].size)));
          const uint16_t* p = dy + (j * a.out_width + i) * 32;
          low = fma(load_bf16(p), share, low);
          high = fma(load_bf16(p + 16), share, high);
        }
      }
      store_line(dx, low, high);
    }
  }
}

/// Where the sixteen channels of half a plane lie in f32 blocks of one pixel; null where none of them exists.
float* half_of(const AveragePool& a, float* blocks, int64_t plane, int64_t half) {
  const int64_t wide = (a.channels + 31) / 32, narrow = (a.channels + 15) / 16, block = plane % wide * 2 + half;
  return block < narrow ? blocks + (plane / wide * narrow + block) * 16 : nullptr;
}

void global_average(const AveragePool& a, int64_t task, void*) {
  const uint16_t* plane = static_cast<const uint16_t*>(a.x) + task * a.height * a.width * 32;
  const W16 share = wide_broadcast(1.0 / (a.rows[0].size * a.columns[0].size));
  const Halves sum = window_sum(a, plane, a.rows[0], a.columns[0]);
  float* high = half_of(a, static_cast<float*>(a.y), task, 1);
  store(half_of(a, static_cast<float*>(a.y), task, 0), narrow(wide_mul(sum.low, share)));
  if (high) store(high, narrow(wide_mul(sum.high, share)));
}

void global_average_backward(const AveragePool& a, int64_t task, void*) {
  float* dy = const_cast<float*>(static_cast<const float*>(a.x));
  uint16_t* dx = static_cast<uint16_t*>(a.y) + task * a.height * a.width * 32;
  const V16 size = broadcast(static_cast<float>(a.rows[0].size * a.columns[0].size));
  const float* other = half_of(a, dy, task, 1);
  const V16 low = div(load(half_of(a, dy, task, 0)), size), high = other ? div(load(other), size) : zero();
  for (int64_t i = 0; i < a.height * a.width; ++i) store_line(dx + i * 32, low, high);
}

}  // namespace

extern const PoolBf16Kernels pool_bf16 = {{max, max_backward, average, average_backward},
                                          global_average, global_average_backward};

}  // namespace THAW_ISA
}  // namespace thaw
