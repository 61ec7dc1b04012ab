// Reductions along one dimension, x [outer][length][inner] → y [outer][parts][inner] (kernels/reduce.h). The threads that
// share a sum take every so manyth element each, in double, and are joined in a fixed order: the cut follows from the
// shape alone.
#include "kernels/reduce.h"

#include "kernels/cuda/index.h"
#include "kernels/cuda/line_sums.h"
#include "kernels/cuda/pack.h"

namespace thaw {
namespace cuda {
namespace {

struct Sum {
  using Total = double;
  static __device__ Total empty() { return 0; }
  static __device__ Total join(Total a, Total b) { return a + b; }
  static __device__ float result(Total t, double factor) { return static_cast<float>(t * factor); }
};

/// Not a number where an element is not.
struct Max {
  using Total = float;
  static __device__ Total empty() { return -__builtin_huge_valf(); }
  static __device__ Total join(Total a, Total b) { return a != a || a > b ? a : b; }
  static __device__ float result(Total t, double) { return t; }
};

/// A line: one outer index and part.
struct Part {
  int64_t begin;  // in x
  int length;

  __device__ Part(const Reduce& a, const Divisor& parts, uint32_t line) {
    uint32_t part;
    const uint32_t o = divide(line, parts, part);
    const int64_t first = part * a.part, left = a.length - first;
    begin = (o * a.length + first) * a.inner;
    length = static_cast<int>(left < a.part ? left : a.part);
  }
};

template <class Kind>
__device__ __forceinline__ typename Kind::Total reduce_strided(const float* x, int first, int step, int end, int64_t stride) {
  typename Kind::Total total = Kind::empty();
#pragma unroll 4
  for (int i = first; i < end; i += step) total = Kind::join(total, static_cast<typename Kind::Total>(x[i * stride]));
  return total;
}

// ---- inner is 1 -------------------------------------------------------------------------------------------------

/// A warp takes a line, or a block does: `warps`.
template <class Kind, int warps>
__global__ void reduce_along_kernel(Reduce a, Divisor parts, uint32_t lines) {
  using Total = typename Kind::Total;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  const uint32_t line = warps > 1 ? blockIdx.x : blockIdx.x * (kThreads / 32) + warp;
  if (line >= lines) return;  // whole warps
  const Part part(a, parts, line);
  Total total = reduce_strided<Kind>(a.x + part.begin, thread % (warps * 32), warps * 32, part.length, 1);
  for (int distance = 16; distance > 0; distance /= 2)
    total = Kind::join(total, __shfl_xor_sync(0xffffffffu, total, distance));
  if constexpr (warps > 1) {
    Total* joined = shared_memory<Total>();
    if (thread % 32 == 0) joined[warp] = total;
    __syncthreads();
    total = joined[0];
    for (int w = 1; w < warps; ++w) total = Kind::join(total, joined[w]);
  }
  if (thread % (warps * 32) == 0) a.y[line] = Kind::result(total, a.factor);
}

template <class Kind>
void reduce_along(const Reduce& a, int64_t lines) {
  const uint32_t count = static_cast<uint32_t>(lines);
  constexpr int kWarps = kThreads / 32;
  if (a.part < 512) {
    launch(reduce_along_kernel<Kind, 1>, blocks(lines, kWarps), dim3(kThreads), 0, a, divisor(a.parts), count);
  } else {
    launch(reduce_along_kernel<Kind, kWarps>, blocks(lines, 1), dim3(kThreads), kWarps * sizeof(typename Kind::Total), a,
           divisor(a.parts), count);
  }
}

// ---- inner is more ----------------------------------------------------------------------------------------------

/// A block's threads: `columns` neighbours of inner, a power of two, in each of `rows` rows that share a sum.
struct Cut {
  int columns, rows;
};

Cut cut_of(const Reduce& a) {
  const auto power = [](int64_t n, int64_t most) {
    int p = 1;
    while (p < n && p < most) p *= 2;
    return p;
  };
  const int narrow = power(a.inner, 32);
  const int rows = power(divide_up(a.part, 8), kThreads / narrow);
  return {power(a.inner, kThreads / rows), rows};
}

template <class Kind>
__global__ void reduce_across_kernel(Reduce a, Divisor parts, Divisor column_blocks, Cut cut) {
  using Total = typename Kind::Total;
  uint32_t block;
  const uint32_t line = divide(blockIdx.x, column_blocks, block);
  const int thread = static_cast<int>(threadIdx.x), row = thread / cut.columns;
  const int64_t column = static_cast<int64_t>(block) * cut.columns + thread % cut.columns;
  const Part part(a, parts, line);
  Total total = Kind::empty();
  if (column < a.inner) total = reduce_strided<Kind>(a.x + part.begin + column, row, cut.rows, part.length, a.inner);
  if (cut.rows > 1) {
    Total* totals = shared_memory<Total>();
    totals[thread] = total;
    __syncthreads();
    if (row > 0) return;
    for (int r = 1; r < cut.rows; ++r) total = Kind::join(total, totals[r * cut.columns + thread]);
  }
  if (column < a.inner) a.y[line * a.inner + column] = Kind::result(total, a.factor);
}

template <class Kind>
void reduce_as(const Reduce& a, int64_t, void*) {
  const int64_t lines = a.outer * a.parts;
  if (lines * a.inner == 0) return;
  if (a.part > kMaxItems || lines * divide_up(a.inner, 2) > kMaxItems) return note(cudaErrorInvalidConfiguration);
  if (a.inner == 1) return reduce_along<Kind>(a, lines);
  const Cut cut = cut_of(a);
  const int64_t column_blocks = divide_up(a.inner, cut.columns);
  const int threads = cut.columns * cut.rows;
  launch(reduce_across_kernel<Kind>, dim3(static_cast<unsigned>(lines * column_blocks)), dim3(threads),
         threads * sizeof(typename Kind::Total), a, divisor(a.parts), divisor(column_blocks), cut);
}

// ---- gradient of a maximum --------------------------------------------------------------------------------------

struct MaxGradient {
  ReduceMaxBackward args;
  Divisor size[16];
  int kept_rank, rank, length;

  /// In x, of element i of the dimensions first … last-1.
  __device__ int64_t offset(uint32_t i, int first, int last) const {
    int64_t offset = 0;
    for (int d = last - 1; d >= first; --d) {
      uint32_t index;
      i = divide(i, size[d], index);
      offset += index * args.strides[d];
    }
    return offset;
  }
};

/// A block takes one element of y.
__global__ void max_backward_kernel(MaxGradient g) {
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int64_t base = g.offset(blockIdx.x, 0, g.kept_rank);
  const float* x = g.args.x + base;
  const float y = g.args.y[blockIdx.x];
  double ties = 0;
  for (int r = thread; r < g.length; r += threads) ties += x[g.offset(r, g.kept_rank, g.rank)] == y ? 1 : 0;
  ties = block_sum(ties, shared_memory<double>());
  const float share = ties > 0 ? g.args.dy[blockIdx.x] / static_cast<float>(ties) : 0.0f;
  for (int r = thread; r < g.length; r += threads) {
    const int64_t at = g.offset(r, g.kept_rank, g.rank);
    g.args.dx[base + at] = x[at] == y ? share : 0.0f;
  }
}

void max_backward(const ReduceMaxBackward& a, int64_t, void*) {
  MaxGradient g = {};
  g.args = a;
  g.kept_rank = static_cast<int>(a.kept_rank), g.rank = static_cast<int>(a.kept_rank + a.reduced_rank);
  int64_t length = 1;
  for (int d = 0; d < g.rank; ++d) {
    g.size[d] = divisor(a.sizes[d]);
    if (d >= g.kept_rank) length *= a.sizes[d];
  }
  if (a.kept > kMaxItems || length > kMaxItems) return note(cudaErrorInvalidConfiguration);
  g.length = static_cast<int>(length);
  launch(max_backward_kernel, blocks(a.kept, 1), dim3(length >= 512 ? kThreads : 32), 33 * sizeof(double), g);
}

// ---- pictures in bf16 -------------------------------------------------------------------------------------------

struct PixelLines {
  const uint16_t* plane;
  __device__ const uint16_t* operator()(int i) const { return plane + i * int64_t{32}; }
};

template <class T>
__global__ void sum_pixels_kernel(SumPixels a) {
  const PixelLines lines = {a.x + blockIdx.x * a.pixels * 32};
  const double sum = sum_lines<uint16_t>(static_cast<int>(a.pixels), lines, shared_memory<double>());
  if (threadIdx.x < 32) static_cast<T*>(a.y)[blockIdx.x * int64_t{32} + threadIdx.x] = from_f32<T>(static_cast<float>(sum));
}

template <class T>
void sum_pixels(const SumPixels& a, int64_t, void*) {
  if (a.planes > kMaxItems || a.pixels > kMaxItems) return note(cudaErrorInvalidConfiguration);
  const int threads = line_sum_threads(a.pixels);
  launch(sum_pixels_kernel<T>, blocks(a.planes, 1), dim3(threads), line_sum_bytes<uint16_t>(threads), a);
}

}  // namespace

extern const ReduceKernels reduce = {reduce_as<Sum>, reduce_as<Max>, max_backward};
extern const ReduceBf16Kernels reduce_bf16 = {sum_pixels<float>, sum_pixels<uint16_t>};

}  // namespace cuda
}  // namespace thaw
