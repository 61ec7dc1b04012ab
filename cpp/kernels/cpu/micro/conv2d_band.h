#pragma once
// Bands: the rows of some pictures that a task of a convolution reads, in place or copied with their borders filled by
// zeros. Everything moves in lines of 64 bytes, sixteen floats or thirty-two bf16; distances count floats.
#include "kernels/conv2d.h"
#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

THAW_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
THAW_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

struct Band {
  int64_t picture, pictures;  // first, how many of them alternate
  int64_t row, rows;
  const float* x;  // grid point (row, 0), first block that the task reads
  int64_t x_block;
};

THAW_INLINE Band band_of(const Conv2d& a, int64_t index) {
  Band b;
  b.picture = index / a.bands * a.interleave;
  b.pictures = smaller(a.interleave, a.pictures - b.picture);
  b.row = index % a.bands * a.band_rows;
  b.rows = smaller(a.band_rows, a.rows - b.row);
  return b;
}

// One slot of one input row: pixels of one picture, `step` floats apart in the band.
THAW_INLINE void copy_row(const Conv2dCopyAxis& cols, int64_t phase, const float* row, int64_t width, float* to,
                          int64_t step) {
  const int64_t start = cols.start + phase;
  const int64_t first = start < 0 ? smaller((-start + cols.stride - 1) / cols.stride, cols.extent) : 0;
  const int64_t inside = start < width ? (width - start + cols.stride - 1) / cols.stride : 0;
  const int64_t end = larger(first, smaller(inside, cols.extent));
  int64_t i = 0;
  for (; i < first; ++i) store(to + i * step, zero());
  for (; i < end; ++i) store(to + i * step, load(row + (i * cols.stride + start) * kLanes));
  for (; i < cols.extent; ++i) store(to + i * step, zero());
}

THAW_INLINE void clear(float* to, int64_t pixels, int64_t step) {
  for (int64_t i = 0; i < pixels; ++i) store(to + i * step, zero());
}

// One block of one picture: [row slot][row][column slot][column][picture][16].
THAW_NOINLINE void copy_plane(const Conv2d& a, const Band& band, const float* plane, float* to) {
  const int64_t step = band.pictures * kLanes;
  const int64_t slot_floats = a.copy_cols.extent * step, row_floats = a.copy_cols.slots * slot_floats;
  const int64_t rows = band.rows + a.copy_rows.extent - a.band_rows;
  for (int64_t s = 0; s < a.copy_rows.slots; ++s) {
    for (int64_t j = 0; j < rows; ++j) {
      const int64_t y = (band.row + j) * a.copy_rows.stride + a.copy_rows.start + a.copy_rows.phase[s];
      float* out = to + (s * a.copy_rows.extent + j) * row_floats;
      if (y < 0 || y >= a.in_height) {
        clear(out, a.copy_cols.slots * a.copy_cols.extent, step);
        continue;
      }
      for (int64_t c = 0; c < a.copy_cols.slots; ++c)
        copy_row(a.copy_cols, a.copy_cols.phase[c], plane + y * a.in_width * kLanes, a.in_width, out + c * slot_floats,
                 step);
    }
  }
}

void copy_band(const Conv2d& a, Band& band, int64_t block, int64_t blocks, float* to) {
  const int64_t plane = a.in_height * a.in_width * kLanes;
  band.x = to;
  band.x_block =
      a.copy_rows.slots * a.copy_rows.extent * a.copy_cols.slots * a.copy_cols.extent * band.pictures * kLanes;
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t g = 0; g < band.pictures; ++g)
      copy_plane(a, band, a.x + ((band.picture + g) * a.in_blocks + block + b) * plane,
                 to + b * band.x_block + g * kLanes);
}

void locate_band(const Conv2d& a, Band& band, int64_t block) {
  band.x_block = a.in_height * a.in_width * kLanes;
  band.x = a.x + (band.picture * a.in_blocks + block) * band.x_block + band.row * a.row_pitch * kLanes;
}

/// What the first point of a band reads of the shortcut's first block; the row's others follow, then the rows.
THAW_INLINE const float* locate_shortcut(const Conv2d& a, const Band& band) {
  const Conv2dShortcut& s = a.shortcut;
  return s.x + band.picture * s.in_blocks * s.x_block + band.row * a.cols * kLanes;
}

// One block of one picture. A band's points are a run of the output's pixels, `step` floats apart in the band.
THAW_NOINLINE void copy_shortcut_plane(const Conv2d& a, const Band& band, const float* plane, float* to) {
  const Conv2dShortcut& s = a.shortcut;
  const int64_t step = band.pictures * kLanes, first = band.row * a.cols;
  const int64_t end = first + (band.rows - 1) * a.cols + (band.row + band.rows < a.rows ? a.cols : a.last_cols);
  for (int64_t at = first; at < end;) {
    const int64_t y = at / s.out_width, x = at % s.out_width, run = smaller(s.out_width - x, end - at);
    const float* from = plane + (y * s.stride_y * s.in_width + x * s.stride_x) * kLanes;
    for (int64_t i = 0; i < run; ++i, to += step) store(to, load(from + i * s.stride_x * kLanes));
    at += run;
  }
}

const float* copy_shortcut(const Conv2d& a, const Band& band, float* to) {
  const Conv2dShortcut& s = a.shortcut;
  const int64_t plane = s.in_height * s.in_width * kLanes;
  to += kShortcutRoom * kLanes;
  for (int64_t b = 0; b < s.in_blocks; ++b)
    for (int64_t g = 0; g < band.pictures; ++g)
      copy_shortcut_plane(a, band, s.x + ((band.picture + g) * s.in_blocks + b) * plane,
                          to + b * s.x_block + g * kLanes);
  return to;
}

// Floats from the first pixel of a grid row in y to each point of the row.
void fill_offsets(const Conv2d& a, int64_t pictures, int64_t* offsets) {
  for (int64_t c = 0; c < a.cols; ++c)
    for (int64_t g = 0; g < pictures; ++g)
      offsets[c * pictures + g] = (c * a.out_col + g * (a.out_blocks + a.y_gap) * a.out_pixels) * kLanes;
}

/// Of the copied bands of a task.
THAW_INLINE int64_t bands_floats(const Conv2d& a) {
  return a.task_bands * ((a.copy ? a.band_floats : 0) + (a.shortcut.copy ? a.shortcut.band_floats : 0));
}

/// Of up to 16 outputs, the shortcut's added.
THAW_INLINE V16 load_bias_line(const Conv2d& a, int64_t channel, int64_t count) {
  const V16 bias = a.bias ? load_n(a.bias + channel, count) : zero();
  return a.shortcut.bias ? add(bias, load_n(a.shortcut.bias + channel, count)) : bias;
}

// The bands of a task, and a table of where the points of a row go in y for full groups of pictures and one for the last.
struct TaskBands {
  static constexpr int64_t kMost = 32;
  Band bands[kMost];
  int64_t count;
  const int64_t* offsets[2];
  const float* shortcut[kMost];  // what the first point of each band reads
};

/// `block`, `blocks`: input blocks that the task reads. Uses bands_floats at `copies` and 2 * cols * interleave integers at
/// `tables`.
THAW_INLINE void read_bands(const Conv2d& a, int64_t task, int64_t block, int64_t blocks, float* copies,
                            int64_t* tables, TaskBands& t) {
  const int64_t first = task % a.band_tasks * a.task_bands, groups = (a.pictures + a.interleave - 1) / a.interleave;
  t.count = smaller(a.task_bands, groups * a.bands - first);
  for (int64_t b = 0; b < t.count; ++b) {
    t.bands[b] = band_of(a, first + b);
    if (a.copy) copy_band(a, t.bands[b], block, blocks, copies + b * a.band_floats);
    else locate_band(a, t.bands[b], block);
  }
  float* shortcuts = copies + (a.copy ? a.task_bands * a.band_floats : 0);
  for (int64_t b = 0; b < t.count; ++b) {
    if (!a.shortcut.x) t.shortcut[b] = nullptr;
    else if (!a.shortcut.copy) t.shortcut[b] = locate_shortcut(a, t.bands[b]);
    else t.shortcut[b] = copy_shortcut(a, t.bands[b], shortcuts + b * a.shortcut.band_floats);
  }
  fill_offsets(a, a.interleave, tables);
  fill_offsets(a, t.bands[t.count - 1].pictures, tables + a.cols * a.interleave);
  t.offsets[0] = tables;
  t.offsets[1] = tables + a.cols * a.interleave;
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
