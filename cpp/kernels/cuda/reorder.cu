// Between the layouts of pictures (kernels/reorder.h). Pictures in blocks are lines, [planes * P][width]; a block of
// threads turns 64 lines around in shared memory, so that it reads and writes neighbours in both layouts.
#include "kernels/reorder.h"

#include "kernels/cuda/index.h"
#include "kernels/cuda/pack.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kTile = 64;  // lines
/// Between the channels of a tile in shared memory. A warp's packs are eight lines by four groups of channels, which this
/// keeps on different banks.
template <class T>
constexpr int kStep = kTile + (sizeof(T) == 4 ? 2 : 1);

/// T: of the blocked picture. Its plain twin is f32.
template <class T>
struct Turn {
  const void* x;
  void* y;
  int64_t channels, pixels;
  Divisor by_pixels, by_blocks;
  uint32_t lines;
};

/// Where a line's first channel lies in the plain picture, and how many of its channels exist.
template <class T>
struct Place {
  int64_t offset;
  int channels;

  __device__ Place(const Turn<T>& a, uint32_t line) {
    uint32_t pixel, block;
    const uint32_t picture = divide(divide(line, a.by_pixels, pixel), a.by_blocks, block);
    const int64_t first = static_cast<int64_t>(block) * kLine<T>;
    offset = (picture * a.channels + first) * a.pixels + pixel;
    channels = a.channels - first < kLine<T> ? static_cast<int>(a.channels - first) : kLine<T>;
  }
};

template <class T>
__global__ void to_lines_kernel(Turn<T> a) {
  float* tile = shared_memory<float>();
  constexpr int kEach = kThreads / kTile;
  const uint32_t first = blockIdx.x * kTile;
  const int l = static_cast<int>(threadIdx.x) % kTile;
  if (first + l < a.lines) {
    const Place<T> at(a, first + l);
    const float* x = static_cast<const float*>(a.x) + at.offset;
#pragma unroll
    for (int c = static_cast<int>(threadIdx.x) / kTile; c < kLine<T>; c += kEach)
      tile[c * kStep<T> + l] = c < at.channels ? x[c * a.pixels] : 0.0f;
  }
  __syncthreads();
  const int line = static_cast<int>(threadIdx.x) / kLinePacks, channel = static_cast<int>(threadIdx.x) % kLinePacks * Pack<T>::kSize;
  if (first + line >= a.lines) return;
  Pack<T> pack;
#pragma unroll
  for (int i = 0; i < Pack<T>::kSize; ++i) pack.at[i] = from_f32<T>(tile[(channel + i) * kStep<T> + line]);
  store_pack(static_cast<T*>(a.y) + static_cast<int64_t>(first + line) * kLine<T> + channel, pack);
}

template <class T>
__global__ void from_lines_kernel(Turn<T> a) {
  float* tile = shared_memory<float>();
  constexpr int kEach = kThreads / kTile;
  const uint32_t first = blockIdx.x * kTile;
  const int line = static_cast<int>(threadIdx.x) / kLinePacks, channel = static_cast<int>(threadIdx.x) % kLinePacks * Pack<T>::kSize;
  if (first + line < a.lines) {
    const Pack<T> pack = load_pack(static_cast<const T*>(a.x) + static_cast<int64_t>(first + line) * kLine<T> + channel);
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) tile[(channel + i) * kStep<T> + line] = to_f32(pack.at[i]);
  }
  __syncthreads();
  const int l = static_cast<int>(threadIdx.x) % kTile;
  if (first + l >= a.lines) return;
  const Place<T> at(a, first + l);
  float* y = static_cast<float*>(a.y) + at.offset;
#pragma unroll
  for (int c = static_cast<int>(threadIdx.x) / kTile; c < kLine<T>; c += kEach) {
    if (c < at.channels) y[c * a.pixels] = tile[c * kStep<T> + l];
  }
}

template <class T, class Args>
void turn(void (*kernel)(Turn<T>), const Args& a) {
  const int64_t blocks = divide_up(a.channels, kLine<T>), lines = a.pictures * blocks * a.pixels;
  if (lines == 0) return;
  if (lines > kMaxItems) return note(cudaErrorInvalidConfiguration);
  const Turn<T> args = {a.x, a.y, a.channels, a.pixels, divisor(a.pixels), divisor(blocks), static_cast<uint32_t>(lines)};
  launch(kernel, dim3(static_cast<unsigned>(divide_up(lines, kTile))), dim3(kThreads), sizeof(float) * kLine<T> * kStep<T>, args);
}

void to_blocked(const Reorder& a, int64_t, void*) { turn(to_lines_kernel<float>, a); }
void to_plain(const Reorder& a, int64_t, void*) { turn(from_lines_kernel<float>, a); }
void from_plain(const ReorderBf16& a, int64_t, void*) { turn(to_lines_kernel<uint16_t>, a); }
void bf16_to_plain(const ReorderBf16& a, int64_t, void*) { turn(from_lines_kernel<uint16_t>, a); }

// ---- blocks of f32 and of bf16 ----------------------------------------------------------------------------------

/// A thread's eight channels: sixteen bytes in bf16, 32 in f32.
struct Halves {
  ReorderBf16 args;
  Divisor by_pixels, by_blocks;  // blocks of 32
  int64_t items, narrow_blocks;  // blocks of 16

  /// Where the item's channels lie in f32; -1: its half of the line is beyond the channels and not there.
  __device__ int64_t offset(uint32_t item) const {
    uint32_t pixel, block;
    const uint32_t picture = divide(divide(item / kLinePacks, by_pixels, pixel), by_blocks, block);
    const int64_t narrow = block * 2 + item % kLinePacks / 2;
    if (narrow >= narrow_blocks) return -1;
    return ((picture * narrow_blocks + narrow) * args.pixels + pixel) * 16 + item % 2 * 8;
  }
};

__global__ void from_blocked_kernel(Halves a) {
  const uint32_t at = item();
  if (at >= a.items) return;
  const int64_t from = a.offset(at);
  Pack<uint16_t> y = {};
  if (from >= 0) {
    const float* x = static_cast<const float*>(a.args.x) + from;
    const Pack<float> low = load_pack(x), high = load_pack(x + 4);
#pragma unroll
    for (int i = 0; i < 8; ++i) y.at[i] = bf16_of(i < 4 ? low.at[i] : high.at[i - 4]);
  }
  store_pack(static_cast<uint16_t*>(a.args.y) + static_cast<int64_t>(at) * 8, y);
}

__global__ void to_blocked_kernel(Halves a) {
  const uint32_t at = item();
  if (at >= a.items) return;
  const int64_t to = a.offset(at);
  if (to < 0) return;
  const Pack<uint16_t> x = load_pack(static_cast<const uint16_t*>(a.args.x) + static_cast<int64_t>(at) * 8);
  Pack<float> low, high;
#pragma unroll
  for (int i = 0; i < 4; ++i) low.at[i] = f32_of(x.at[i]), high.at[i] = f32_of(x.at[i + 4]);
  float* y = static_cast<float*>(a.args.y) + to;
  store_pack(y, low);
  store_pack(y + 4, high);
}

void by_halves(void (*kernel)(Halves), const ReorderBf16& a) {
  const int64_t blocks = divide_up(a.channels, 32), items = a.pictures * blocks * a.pixels * kLinePacks;
  if (items > 0) launch_items(kernel, items, Halves{a, divisor(a.pixels), divisor(blocks), items, divide_up(a.channels, 16)});
}

void from_blocked(const ReorderBf16& a, int64_t, void*) { by_halves(from_blocked_kernel, a); }
void bf16_to_blocked(const ReorderBf16& a, int64_t, void*) { by_halves(to_blocked_kernel, a); }

}  // namespace

extern const ReorderKernels reorder = {to_blocked, to_plain};
extern const ReorderBf16Kernels reorder_bf16 = {from_plain, bf16_to_plain, from_blocked, bf16_to_blocked};

}  // namespace cuda
}  // namespace thaw
