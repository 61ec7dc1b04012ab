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
  const T fill = *static_cast<const T*>(a.fill);
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
  for (int64_t o = first; o < last; ++o) memcpy(y + o * a.total, x + o * bytes, static_cast<size_t>(bytes));
}

void fill_plane(float* y, int64_t pixels, int64_t lanes, float fill) {
  float line[16];
  for (int i = 0; i < 16; ++i) line[i] = i < lanes ? fill : 0.0f;
  const V16 value = loadu(line);
  for (int64_t p = 0; p < pixels; ++p) store(y + p * 16, value);
}

void copy_run(const Assemble& a, const LaneRun& run, int64_t picture, float* y) {
  const float* x = a.x[run.operand] + (picture * a.x_blocks[run.operand] + run.block) * a.pixels * 16 + run.from;
  if (run.count == 16) {
    memcpy(y, x, static_cast<size_t>(a.pixels) * 64);
    return;
  }
  for (int64_t p = 0; p < a.pixels; ++p) store_n(y + p * 16 + run.lane, load_n(x + p * 16, run.count), run.count);
}

void assemble(const Assemble& a, int64_t task, void*) {
  const int64_t blocks = (a.channels + 15) / 16, block = task % blocks;
  const LaneRun* run = a.runs + a.first_run[block];
  const LaneRun* end = a.runs + a.first_run[block + 1];
  float* y = a.y + task * a.pixels * 16;
  if (end - run != 1 || run->count != 16) fill_plane(y, a.pixels, a.channels - block * 16, a.fill);
  for (; run != end; ++run) copy_run(a, *run, task / blocks, y);
}

}  // namespace

extern const ShapeKernels shape = {copy, gather, join, assemble};

}  // namespace THAW_ISA
}  // namespace thaw
