// Dropout: y = x * factor, factor 0 or `scale` by the draw of the element's number in plain order (kernels/dropout.h).
// One counter of Philox gives the draws of four neighbours in that order: a thread takes four neighbours of a row, or
// four pixels of sixteen bytes of channels.
#include "kernels/dropout.h"

#include "kernels/cuda/index.h"
#include "kernels/cuda/pack.h"

namespace thaw {
namespace cuda {
namespace {

struct Draws {
  Dropout args;
  int64_t items;
  Divisor by_row, by_block;  // threads of a row or plane, blocks of a row

  __device__ PhiloxBlock draw(uint32_t row, int64_t quad) const {
    const int64_t sample = args.samples == nullptr ? row : args.samples[row];
    return philox(sample_counter(args.epoch, sample, static_cast<uint64_t>(quad)), args.key);
  }
  __device__ bool keeps(uint32_t draw) const { return draw >= args.threshold; }
};

// ---- plain ------------------------------------------------------------------------------------------------------

/// A thread takes a counter's four elements.
__global__ void plain_kernel(Draws d, bool packs) {
  const uint32_t n = item();
  if (n >= d.items) return;
  uint32_t quad;
  const uint32_t row = divide(n, d.by_row, quad);
  const PhiloxBlock draws = d.draw(row, quad);
  const int64_t first = quad * int64_t{4}, left = d.args.elements - first;
  const float* x = static_cast<const float*>(d.args.x) + row * d.args.elements + first;
  float* y = static_cast<float*>(d.args.y) + row * d.args.elements + first;
  if (packs) {
    Pack<float> pack = load_pack(x);
#pragma unroll
    for (int i = 0; i < 4; ++i) pack.at[i] *= d.keeps(draws.word[i]) ? d.args.scale : 0.0f;
    store_pack(y, pack);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < left) y[i] = x[i] * (d.keeps(draws.word[i]) ? d.args.scale : 0.0f);
    }
  }
}

// ---- blocked ----------------------------------------------------------------------------------------------------

/// Which of a channel's four neighbours from `element` on stay: a bit each.
__device__ __forceinline__ uint32_t kept(const Draws& d, uint32_t row, int64_t element) {
  uint32_t bits = 0;
  const int skip = static_cast<int>(element % 4);
  const PhiloxBlock low = d.draw(row, element / 4);
#pragma unroll
  for (int i = 0; i < 4; ++i) bits |= (d.keeps(low.word[i]) ? 1u : 0u) << i;
  if (skip == 0) return bits;
  const PhiloxBlock high = d.draw(row, element / 4 + 1);
#pragma unroll
  for (int i = 0; i < 4; ++i) bits |= (d.keeps(high.word[i]) ? 16u : 0u) << i;
  return bits >> skip;
}

template <class T>
__global__ void blocked_kernel(Draws d) {
  constexpr int kSize = Pack<T>::kSize;
  const uint32_t n = item();
  if (n >= d.items) return;
  const int64_t all = d.args.pixels;
  uint32_t quad, block;
  const uint32_t plane = divide(n / kLinePacks, d.by_row, quad), row = divide(plane, d.by_block, block);
  const int64_t pixel = quad * int64_t{4};
  const int lane = static_cast<int>(n % kLinePacks) * kSize, pixels = all - pixel < 4 ? static_cast<int>(all - pixel) : 4;
  uint32_t keep[kSize];
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    const int64_t channel = static_cast<int64_t>(block) * kLine<T> + lane + i;
    keep[i] = channel < d.args.channels ? kept(d, row, channel * all + pixel) : 0;
  }
  const int64_t first = (plane * all + pixel) * kLine<T> + lane;
  for (int p = 0; p < pixels; ++p) {
    const int64_t at = first + p * kLine<T>;
    Pack<T> pack = load_pack(static_cast<const T*>(d.args.x) + at);
#pragma unroll
    for (int i = 0; i < kSize; ++i) pack.at[i] = from_f32<T>(to_f32(pack.at[i]) * (keep[i] >> p & 1 ? d.args.scale : 0.0f));
    store_pack(static_cast<T*>(d.args.y) + at, pack);
  }
}

void plain(const Dropout& a, int64_t, void*) {
  const int64_t quads = divide_up(a.elements, 4), items = a.rows * quads;
  const bool packs = a.elements % 4 == 0 && aligned(a.x) && aligned(a.y);
  launch_items(plain_kernel, items, Draws{a, items, divisor(quads), divisor(1)}, packs);
}

template <class T>
void blocked(const Dropout& a, int64_t, void*) {
  const int64_t blocks = divide_up(a.channels, kLine<T>), quads = divide_up(a.pixels, 4), items = a.rows * blocks * quads * kLinePacks;
  launch_items(blocked_kernel<T>, items, Draws{a, items, divisor(quads), divisor(blocks)});
}

}  // namespace

extern const DropoutKernels dropout = {plain, blocked<float>, blocked<uint16_t>};

}  // namespace cuda
}  // namespace thaw
