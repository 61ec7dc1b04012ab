// Resampling of 8-bit pictures; see kernels/resize.h. The loops over 16 rows and 64 bytes are plain integer code
// that compilers turn into vectors.
#include "kernels/resize.h"

#include "kernels/cpu/micro/vec.h"

#if defined(THAW_X86)
#include <emmintrin.h>
#endif

namespace thaw {
namespace THAW_ISA {
namespace {

constexpr int32_t kHalf = 1 << (kResizeBits - 1);

THAW_INLINE uint8_t clip(int32_t sum) {
  const int32_t value = sum >> kResizeBits;
  return static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// 16 x 16 bytes, transposed: target[i][j] = source[j][i].
#if defined(THAW_X86)
THAW_INLINE void transpose16(const uint8_t* const* source, uint8_t* const* target) {
  __m128i a[16], b[16];
  THAW_UNROLL
  for (int i = 0; i < 16; ++i) a[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source[i]));
  // Each round interleaves row i with row i + 8; four rounds exchange the four bits of row and column.
  for (int round = 0; round < 4; ++round) {
    THAW_UNROLL
    for (int i = 0; i < 8; ++i) {
      b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 8]);
      b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 8]);
    }
    THAW_UNROLL
    for (int i = 0; i < 16; ++i) a[i] = b[i];
  }
  THAW_UNROLL
  for (int i = 0; i < 16; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(target[i]), a[i]);
}
#else
THAW_INLINE void transpose16(const uint8_t* const* source, uint8_t* const* target) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) target[i][j] = source[j][i];
}
#endif

/// Rows to [bytes][16]. A block with fewer than 16 rows repeats its last.
void gather_rows(const uint8_t* source, int64_t stride, int64_t rows, int64_t bytes, uint8_t* columns) {
  const uint8_t* from[16];
  uint8_t* to[16];
  for (int64_t r = 0; r < 16; ++r) from[r] = source + (r < rows ? r : rows - 1) * stride;
  int64_t x = 0;
  for (; x + 16 <= bytes; x += 16) {
    for (int i = 0; i < 16; ++i) to[i] = columns + (x + i) * 16;
    transpose16(from, to);
    for (int r = 0; r < 16; ++r) from[r] += 16;
  }
  for (int64_t rest = 0; x < bytes; ++x, ++rest)
    for (int r = 0; r < 16; ++r) columns[x * 16 + r] = from[r][rest];
}

/// [bytes][16] back to rows.
void scatter_rows(const uint8_t* columns, int64_t bytes, int64_t rows, uint8_t* target, int64_t stride) {
  const uint8_t* from[16];
  uint8_t* to[16];
  uint8_t unused[16];
  int64_t x = 0;
  for (; x + 16 <= bytes; x += 16) {
    for (int i = 0; i < 16; ++i) {
      from[i] = columns + (x + i) * 16;
      to[i] = i < rows ? target + i * stride + x : unused;
    }
    transpose16(from, to);
  }
  for (; x < bytes; ++x)
    for (int64_t r = 0; r < rows; ++r) target[r * stride + x] = columns[x * 16 + r];
}

/// One target pixel of C channels in 16 rows.
template <int C>
THAW_INLINE void horizontal_pixel(const uint8_t* source, const int32_t* weights, int64_t count, uint8_t* target) {
  int32_t sums[C * 16];
  for (int i = 0; i < C * 16; ++i) sums[i] = kHalf;
  for (int64_t t = 0; t < count; ++t) {
    const int32_t weight = weights[t];
    const uint8_t* pixel = source + t * C * 16;
    for (int i = 0; i < C * 16; ++i) sums[i] += weight * pixel[i];
  }
  for (int i = 0; i < C * 16; ++i) target[i] = clip(sums[i]);
}

template <int C>
void horizontal_rows(const ResizeTaps& taps, int64_t width, const uint8_t* source, uint8_t* target) {
  for (int64_t x = 0; x < width; ++x) {
    horizontal_pixel<C>(source + taps.start[x] * (C * int64_t{16}), taps.weights + x * taps.stride, taps.count[x],
                        target + x * (C * 16));
  }
}

void horizontal(const ResizeArgs& args, int64_t task, void* scratch) {
  const int64_t first = task * kResizeRows;
  const int64_t rows = args.height - first < kResizeRows ? args.height - first : kResizeRows;
  uint8_t* source = static_cast<uint8_t*>(scratch);
  uint8_t* target = source + args.source_width * args.channels * kResizeRows;
  gather_rows(args.source + first * args.source_stride, args.source_stride, rows, args.source_width * args.channels,
              source);
  if (args.channels == 1) horizontal_rows<1>(args.taps, args.width, source, target);
  else if (args.channels == 3) horizontal_rows<3>(args.taps, args.width, source, target);
  else horizontal_rows<4>(args.taps, args.width, source, target);
  scatter_rows(target, args.width * args.channels, rows, args.target + first * args.target_stride, args.target_stride);
}

/// N neighbouring bytes of one target row.
template <int N>
THAW_INLINE void vertical_bytes(const uint8_t* source, int64_t stride, const int32_t* weights, int64_t count,
                                uint8_t* target) {
  int32_t sums[N];
  for (int i = 0; i < N; ++i) sums[i] = kHalf;
  for (int64_t t = 0; t < count; ++t) {
    const int32_t weight = weights[t];
    const uint8_t* row = source + t * stride;
    for (int i = 0; i < N; ++i) sums[i] += weight * row[i];
  }
  for (int i = 0; i < N; ++i) target[i] = clip(sums[i]);
}

void vertical(const ResizeArgs& args, int64_t task, void*) {
  const uint8_t* source = args.source + args.taps.start[task] * args.source_stride;
  const int32_t* weights = args.taps.weights + task * args.taps.stride;
  const int64_t count = args.taps.count[task], bytes = args.width * args.channels;
  uint8_t* target = args.target + task * args.target_stride;
  int64_t x = 0;
  for (; x + 64 <= bytes; x += 64) vertical_bytes<64>(source + x, args.source_stride, weights, count, target + x);
  for (; x < bytes; ++x) vertical_bytes<1>(source + x, args.source_stride, weights, count, target + x);
}

}  // namespace

extern const ResizeKernels resize = {horizontal, vertical};

}  // namespace THAW_ISA
}  // namespace thaw
