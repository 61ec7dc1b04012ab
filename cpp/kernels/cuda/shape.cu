// Copies, gathers by tables and joins (kernels/shape.h). A thread moves up to sixteen bytes.
#include "kernels/shape.h"

#include "kernels/cuda/index.h"
#include "kernels/cuda/pack.h"

namespace thaw {
namespace cuda {
namespace {

struct alignas(16) Bytes16 {
  uint32_t at[4];
};

// ---- copy -------------------------------------------------------------------------------------------------------

template <class T>
__global__ void copy_kernel(const T* x, T* y, uint32_t count) {
  const uint32_t i = item();
  if (i < count) y[i] = x[i];
}

template <class T>
void copy_as(const void* x, void* y, int64_t count) {
  if (count > 0) launch_items(copy_kernel<T>, count, static_cast<const T*>(x), static_cast<T*>(y), static_cast<uint32_t>(count));
}

void copy(const Copy& a, int64_t, void*) {
  if (!aligned(a.x) || !aligned(a.y)) return copy_as<uint8_t>(a.x, a.y, a.bytes);
  const int64_t whole = a.bytes / 16 * 16;
  copy_as<Bytes16>(a.x, a.y, whole / 16);
  copy_as<uint8_t>(static_cast<const char*>(a.x) + whole, static_cast<char*>(a.y) + whole, a.bytes - whole);
}

// ---- gather -----------------------------------------------------------------------------------------------------

/// A thread moves one T of an element of `parts` of them.
struct GatherItems {
  Gather args;
  Divisor size[kMaxRank];
  int64_t items;
};

template <class T, int parts>
__global__ void gather_kernel(GatherItems g) {
  const uint32_t at = item();
  if (at >= g.items) return;
  const uint32_t part = at % parts;
  uint32_t left = at / parts;
  int64_t from = 0;
  bool filled = false;
  for (int d = g.args.rank - 1; d >= 0; --d) {
    uint32_t index = left;
    if (d > 0) left = divide(left, g.size[d], index);
    const int64_t offset = g.args.offsets[d][index];
    filled = filled || offset < 0;
    from += offset;
  }
  T value = reinterpret_cast<const T*>(g.args.fill)[0];
  if (!filled) value = static_cast<const T*>(g.args.x)[from * parts + part];
  static_cast<T*>(g.args.y)[at] = value;
}

void gather(const Gather& a, int64_t, void*) {
  GatherItems g = {};
  g.args = a;
  g.items = a.element == 64 ? 4 : 1;
  for (int d = 0; d < a.rank; ++d) {
    if (a.shape[d] == 0) return;
    g.size[d] = divisor(a.shape[d]);
    g.items *= a.shape[d];
  }
  switch (a.element) {
    case 1: return launch_items(gather_kernel<uint8_t, 1>, g.items, g);
    case 2: return launch_items(gather_kernel<uint16_t, 1>, g.items, g);
    case 4: return launch_items(gather_kernel<uint32_t, 1>, g.items, g);
    case 8: return launch_items(gather_kernel<uint64_t, 1>, g.items, g);
    default: return launch_items(gather_kernel<Bytes16, 4>, g.items, g);
  }
}

// ---- concat -----------------------------------------------------------------------------------------------------

constexpr int kJoined = 16;  // operands of a launch

/// Counted in T. Operand i is copied by the blocks first_block[i] … first_block[i + 1] - 1.
struct JoinItems {
  const void* x[kJoined];
  Divisor length[kJoined];  // of one outer index
  int64_t offset[kJoined];
  uint32_t first_block[kJoined + 1];
  void* y;
  int64_t total, outer;
};

template <class T>
__global__ void join_kernel(JoinItems j) {
  int o = 0;
  while (blockIdx.x >= j.first_block[o + 1]) ++o;
  const int64_t at = static_cast<int64_t>(blockIdx.x - j.first_block[o]) * kThreads + threadIdx.x;
  if (at >= j.outer * j.length[o].size) return;
  uint32_t inner;
  const uint32_t outer = divide(static_cast<uint32_t>(at), j.length[o], inner);
  static_cast<T*>(j.y)[outer * j.total + j.offset[o] + inner] = static_cast<const T*>(j.x[o])[at];
}

template <class T>
void join_as(const Join& a) {
  constexpr int64_t kSize = sizeof(T);
  for (int64_t first = 0; first < a.operands; first += kJoined) {
    JoinItems j = {};
    j.y = a.y, j.total = a.total / kSize, j.outer = a.outer;
    int n = 0;
    for (int64_t i = first; i < a.operands && i < first + kJoined; ++i) {
      const int64_t items = a.outer * a.bytes[i] / kSize;
      if (items == 0) continue;
      if (items > kMaxItems) return note(cudaErrorInvalidConfiguration);
      j.x[n] = a.x[i], j.length[n] = divisor(a.bytes[i] / kSize), j.offset[n] = a.offset[i] / kSize;
      j.first_block[n + 1] = j.first_block[n] + static_cast<uint32_t>(divide_up(items, kThreads));
      ++n;
    }
    if (n > 0) launch(join_kernel<T>, dim3(j.first_block[n]), dim3(kThreads), 0, j);
  }
}

void join(const Join& a, int64_t, void*) {
  uintptr_t all = reinterpret_cast<uintptr_t>(a.y) | static_cast<uintptr_t>(a.total);
  for (int64_t i = 0; i < a.operands; ++i)
    all |= reinterpret_cast<uintptr_t>(a.x[i]) | static_cast<uintptr_t>(a.bytes[i] | a.offset[i]);
  if (all % 16 == 0) return join_as<Bytes16>(a);
  if (all % 4 == 0) return join_as<uint32_t>(a);
  join_as<uint8_t>(a);
}

// ---- channels that change their lane ----------------------------------------------------------------------------

constexpr int kAssembled = 64;  // operands of a launch

/// The runs of some operands. Launches after the first leave what others have written.
template <class T>
struct Assemble {
  const T* x[kAssembled];
  int32_t x_blocks[kAssembled];
  int32_t first_operand, operands;
  T* y;
  int64_t channels, pixels, items;
  Divisor by_pixels, by_blocks;
  const LaneRun* runs;
  const int64_t* first_run;
  T fill;
};

template <class T>
__global__ void assemble_kernel(Assemble<T> a) {
  constexpr int kSize = Pack<T>::kSize, width = kLine<T>;
  const uint32_t at = item();
  if (at >= a.items) return;
  uint32_t pixel, block;
  const uint32_t picture = divide(divide(at / kLinePacks, a.by_pixels, pixel), a.by_blocks, block);
  const int lane = static_cast<int>(at % kLinePacks) * kSize;
  T* y = a.y + static_cast<int64_t>(at) * kSize;
  Pack<T> pack;
  if (a.first_operand == 0) {
#pragma unroll
    for (int i = 0; i < kSize; ++i) pack.at[i] = static_cast<int64_t>(block) * width + lane + i < a.channels ? a.fill : T{};
  } else {
    pack = load_pack(y);
  }
  for (int64_t r = a.first_run[block]; r < a.first_run[block + 1]; ++r) {
    const LaneRun run = a.runs[r];
    const int o = run.operand - a.first_operand, begin = run.lane - lane, end = begin + run.count;
    if (o < 0 || o >= a.operands || begin >= kSize || end <= 0) continue;
    // The operand's lane that would come to the pack's first one.
    const int from = run.from - begin;
    const T* x = a.x[o] + ((static_cast<int64_t>(picture) * a.x_blocks[o] + run.block) * a.pixels + pixel) * width;
    if (begin <= 0 && end >= kSize && from % kSize == 0) {
      pack = load_pack(x + from);
      break;
    }
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      if (i >= begin && i < end) pack.at[i] = x[from + i];
    }
  }
  store_pack(y, pack);
}

template <class T>
void assemble(const AssembleOf<T>& a, int64_t, void*) {
  const int64_t blocks = divide_up(a.channels, kLine<T>);
  Assemble<T> b = {};
  b.items = a.pictures * blocks * a.pixels * kLinePacks;
  if (b.items == 0) return;
  b.y = a.y, b.channels = a.channels, b.pixels = a.pixels;
  b.by_pixels = divisor(a.pixels), b.by_blocks = divisor(blocks);
  b.runs = a.runs, b.first_run = a.first_run, b.fill = a.fill;
  for (int64_t first = 0; first < a.operands; first += kAssembled) {
    b.first_operand = static_cast<int32_t>(first);
    b.operands = 0;
    for (int64_t i = first; i < a.operands && i < first + kAssembled; ++i, ++b.operands) {
      b.x[b.operands] = a.x[i];
      b.x_blocks[b.operands] = static_cast<int32_t>(a.x_blocks[i]);
    }
    launch_items(assemble_kernel<T>, b.items, b);
  }
}

}  // namespace

extern const ShapeKernels shape = {copy, gather, join, assemble<float>, assemble<uint16_t>};

}  // namespace cuda
}  // namespace thaw
