#pragma once
// Packing of a convolution's weights for products of tiles, arguments in kernels/conv2d.h. Blocks of 32 × 32 channels are
// read along the rows of [K, C/groups, taps], rounded, sorted by tap, and then transposed (forward) or paired (transposed
// weights) within registers.
#include "kernels/conv2d.h"
#include "kernels/cpu/micro/weight_tiles.h"

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int64_t kPackTaps = 16;  // taps staged at a time

#if defined(THAW_ISA_avx512)

// How the weights of 32 columns, [column][tap], are sorted by tap: word k of a tap's line is word (tap + k * taps) % 32 of
// line (tap + k * taps) / 32.
struct TapOrder {
  alignas(64) uint16_t word[kPackTaps][kLineLanes];
  __mmask32 of_line[kPackTaps][kPackTaps];

  explicit TapOrder(const Conv2dPack& a) {
    if (!fits(a)) return;
    for (int64_t t = 0; t < a.kernel_taps; ++t) {
      for (int64_t s = 0; s < a.kernel_taps; ++s) of_line[t][s] = 0;
      for (int64_t k = 0; k < kLineLanes; ++k) {
        const int64_t at = t + k * a.kernel_taps;
        word[t][k] = static_cast<uint16_t>(at % kLineLanes);
        of_line[t][at / kLineLanes] |= __mmask32{1} << k;
      }
    }
  }

  static bool fits(const Conv2dPack& a) { return a.kernel_taps > 1 && a.kernel_taps <= kPackTaps; }

  /// Taps [tap, tap + taps) of one row of 32 columns.
  void stage(const Conv2dPack& a, const float* from, int64_t tap, int64_t taps, uint16_t* to) const {
    alignas(64) uint16_t rounded[kPackTaps * kLineLanes];
    for (int64_t s = 0; s < a.kernel_taps; ++s)
      store_line(rounded + s * kLineLanes, loadu(from + s * kLineLanes), loadu(from + s * kLineLanes + kLanes));
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t of = a.tap[tap + t];
      const __m512i words = _mm512_load_si512(word[of]);
      __m512i line = _mm512_setzero_si512();
      for (int64_t s = 0; s < a.kernel_taps; ++s)
        line = _mm512_mask_permutexvar_epi16(line, of_line[of][s], words, _mm512_load_si512(rounded + s * kLineLanes));
      _mm512_store_si512(to + t * 1024, line);
    }
  }
};

#else

// Without permutations across a register each weight goes its own way (stage_row).
struct TapOrder {
  explicit TapOrder(const Conv2dPack&) {}
  static bool fits(const Conv2dPack&) { return false; }
  void stage(const Conv2dPack&, const float*, int64_t, int64_t, uint16_t*) const {}
};

#endif

THAW_INLINE void clear_line(uint16_t* to) { store_line(to, zero(), zero()); }

// Columns [begin, end) of one row, from its weights [column][kernel_taps], into lines [tap][32 rows][32]; zeros beside.
void stage_row(const Conv2dPack& a, const TapOrder& order, const float* from, int64_t begin, int64_t end, int64_t tap,
               int64_t taps, uint16_t* stage) {
  if (end - begin == kLineLanes) {
    if (a.kernel_taps == 1) return store_line(stage, loadu(from), loadu(from + kLanes));
    if (TapOrder::fits(a)) return order.stage(a, from, tap, taps, stage);
  }
  for (int64_t t = 0; end - begin < kLineLanes && t < taps; ++t) clear_line(stage + t * 1024);
  uint16_t rounded[kLineLanes * kPackTaps];
  // Kernels of many taps go by as many columns as fit.
  const int64_t room = kLineLanes * kPackTaps, columns = a.kernel_taps > room ? 1 : room / a.kernel_taps;
  for (int64_t c = begin; c < end; c += columns) {
    const int64_t n = end - c < columns ? end - c : columns, count = n * a.kernel_taps;
    const float* x = from + (c - begin) * a.kernel_taps;
    if (count > room) {
      for (int64_t t = 0; t < taps; ++t) {
        uint16_t lane[kLanes];
        store_bf16(lane, broadcast(x[a.tap[tap + t]]));
        stage[t * 1024 + c] = lane[0];
      }
      continue;
    }
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) store_bf16(rounded + i, loadu(x + i));
    if (i < count) store_bf16(rounded + i, load_n(x + i, count - i));
    for (int64_t t = 0; t < taps; ++t) {
      const uint16_t* lane = rounded + a.tap[tap + t];
      for (int64_t k = 0; k < n; ++k) stage[t * 1024 + c + k] = lane[k * a.kernel_taps];
    }
  }
}

// A block of 32 inputs × 32 outputs of a panel: rows are what the weights have first, outputs or, transposed, inputs.
// Small groups share a panel: what connects two groups is zero.
void stage_block(const Conv2dPack& a, const TapOrder& order, const Conv2dPanel& panel, int64_t b, int64_t tap,
                 int64_t taps, uint16_t* stage) {
  const int64_t group_in = a.in_channels / a.groups, group_out = a.out_channels / a.groups;
  const int64_t out = panel.out_block * kLineLanes, in = (panel.in_block + b) * kLineLanes;
  const int64_t row = a.transposed ? in : out, column = a.transposed ? out : in;
  const int64_t rows = a.transposed ? a.in_channels : a.out_channels;
  const int64_t group_rows = a.transposed ? group_in : group_out, group_columns = a.transposed ? group_out : group_in;
  for (int64_t r = 0; r < kLineLanes; ++r) {
    const int64_t first = (row + r) / group_rows * group_columns - column;  // column of the row's group
    const int64_t begin = first > 0 ? first : 0;
    const int64_t end = first + group_columns < kLineLanes ? first + group_columns : kLineLanes;
    if (row + r >= rows || begin >= end) {
      for (int64_t t = 0; t < taps; ++t) clear_line(stage + t * 1024 + r * kLineLanes);
      continue;
    }
    const float* from = a.weight + ((row + r) * group_columns + begin - first) * a.kernel_taps;
    // The same row of the next block: too far away for the processor to guess.
    const float* next = from + kLineLanes * a.kernel_taps * (a.transposed ? group_columns : 1);
    for (int64_t i = 0; i < (end - begin) * a.kernel_taps; i += kLanes) __builtin_prefetch(next + i);
    stage_row(a, order, from, begin, end, tap, taps, stage + r * kLineLanes);
  }
}

void pack_tiles(const Conv2dPack& a, int64_t task, void*) {
  const Conv2dPanel& panel = a.panels[task];
  alignas(64) uint16_t stage[kPackTaps * 1024];
  const TapOrder order(a);
  uint16_t* to = reinterpret_cast<uint16_t*>(a.packed) + panel.weights;
  for (int64_t b = 0; b < panel.in_blocks; ++b) {
    for (int64_t tap = 0; tap < a.taps; tap += kPackTaps) {
      const int64_t taps = a.taps - tap < kPackTaps ? a.taps - tap : kPackTaps;
      stage_block(a, order, panel, b, tap, taps, stage);
      for (int64_t t = 0; t < taps; ++t, to += 1024) store_tiles(stage + t * 1024, a.transposed, to);
    }
  }
}

}  // namespace
}  // namespace THAW_ISA
}  // namespace thaw
