// Copies, gathers and joins; what they compute is said in kernels/shape.h.
#include "kernels/shape.h"

#include <string.h>

#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

void copy(const Copy& a, int64_t task, void*) {
  const int64_t first = task * kCopyBytes, rest = a.bytes - first;
  memcpy(static_cast<char*>(a.y) + first, static_cast<const char*>(a.x) + first,
         static_cast<size_t>(rest < kCopyBytes ? rest : kCopyBytes));
}

// ---- gather -----------------------------------------------------------------------------------------------------

/// Offset of a row's first index in all dimensions but the last; -1: the row is all fill.
int64_t row_offset(const Gather& a, int64_t row) {
  int64_t offset = 0;
  for (int d = a.rank - 2; d >= 0; --d) {
    const int64_t o = a.offsets[d][row % a.shape[d]];
    if (o < 0) return -1;
    offset += o;
    row /= a.shape[d];
  }
  return offset;
}

struct Line {
  float x[16];
};

template <class T>
void gather_row(const Gather& a, int64_t row) {
  const int64_t n = a.shape[a.rank - 1], base = row_offset(a, row);
  const int64_t* offsets = a.offsets[a.rank - 1];
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y) + row * n;
  T fill;
  memcpy(&fill, a.fill, sizeof(T));
  for (int64_t i = 0; i < n; ++i) y[i] = base < 0 || offsets[i] < 0 ? fill : x[base + offsets[i]];
}

void gather(const Gather& a, int64_t task, void*) {
  const int64_t first = task * a.rows_per_task;
  const int64_t last = first + a.rows_per_task < a.rows ? first + a.rows_per_task : a.rows;
  for (int64_t row = first; row < last; ++row) {
    switch (a.element) {
      case 1: gather_row<uint8_t>(a, row); break;
      case 2: gather_row<uint16_t>(a, row); break;
      case 4: gather_row<uint32_t>(a, row); break;
      case 8: gather_row<uint64_t>(a, row); break;
      default: gather_row<Line>(a, row);
    }
  }
}

// ---- concat -----------------------------------------------------------------------------------------------------

void join(const Join& a, int64_t task, void*) {
  const int64_t operand = task % a.operands, first = task / a.operands * a.outer_per_task;
  const int64_t last = first + a.outer_per_task < a.outer ? first + a.outer_per_task : a.outer;
  const int64_t bytes = a.bytes[operand];
  const char* x = static_cast<const char*>(a.x[operand]);
  char* y = static_cast<char*>(a.y) + a.offset[operand];
  for (int64_t o = first; o < last; ++o) memcpy(y + o * a.total, x + o * a.step[operand], static_cast<size_t>(bytes));
}

/// Channels of a line.
template <class T>
constexpr int64_t kWidth = 64 / sizeof(T);

template <class T>
void fill_plane(T* y, int64_t pixels, int64_t lanes, T fill) {
  T line[kWidth<T>];
  for (int64_t i = 0; i < kWidth<T>; ++i) line[i] = i < lanes ? fill : T{};
  for (int64_t p = 0; p < pixels; ++p) memcpy(y + p * kWidth<T>, line, 64);
}

THAW_INLINE void copy_lanes(const float* x, float* y, int64_t count) { store_n(y, load_n(x, count), count); }

THAW_INLINE void copy_lanes(const uint16_t* x, uint16_t* y, int64_t count) {
  for (; count >= 16; count -= 16, x += 16, y += 16) memcpy(y, x, 32);
  for (; count >= 4; count -= 4, x += 4, y += 4) memcpy(y, x, 8);
  for (int64_t i = 0; i < count; ++i) y[i] = x[i];
}

template <class T>
void copy_run(const AssembleOf<T>& a, const LaneRun& run, int64_t picture, T* y) {
  constexpr int64_t width = kWidth<T>;
  const T* x = a.x[run.operand] + (picture * a.x_blocks[run.operand] + run.block) * a.pixels * width + run.from;
  if (run.count == width) {
    memcpy(y, x, static_cast<size_t>(a.pixels) * 64);
    return;
  }
  for (int64_t p = 0; p < a.pixels; ++p) copy_lanes(x + p * width, y + p * width + run.lane, run.count);
}

template <class T>
void assemble(const AssembleOf<T>& a, int64_t task, void*) {
  constexpr int64_t width = kWidth<T>;
  const int64_t blocks = (a.channels + width - 1) / width, block = task % blocks;
  const LaneRun* run = a.runs + a.first_run[block];
  const LaneRun* end = a.runs + a.first_run[block + 1];
  T* y = a.y + task * a.pixels * width;
  if (end - run != 1 || run->count != width) fill_plane(y, a.pixels, a.channels - block * width, a.fill);
  for (; run != end; ++run) copy_run(a, *run, task / blocks, y);
}

}  // namespace

extern const ShapeKernels shape = {copy, gather, join, assemble<float>, assemble<uint16_t>};

}  // namespace THAW_ISA
}  // namespace thaw
