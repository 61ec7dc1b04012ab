// Broadcasting arithmetic, y[i] = f(a[…], b[…]), in f32 and on lines of bf16; scaling and filling. One thread computes
// sixteen bytes of y, or one number where rows are no multiple of them.
#include "kernels/elementwise.h"

#include "kernels/cuda/index.h"
#include "kernels/cuda/pack.h"
#include "kernels/reorder.h"

namespace thaw {
namespace cuda {
namespace {

struct Add {
  static constexpr bool kReadsB = true;
  static __device__ float of(float a, float b, float) { return a + b; }
};
struct Multiply {
  static constexpr bool kReadsB = true;
  static __device__ float of(float a, float b, float) { return a * b; }
};
struct Expand {
  static constexpr bool kReadsB = false;
  static __device__ float of(float a, float, float factor) { return a * factor; }
};

/// The space of CombineOf, counted in the items of a thread: in y they lie one after another. Strides are in numbers; an
/// operand that is not `wide` has one number for all of an item.
template <class T>
struct Space {
  const T* a;
  const T* b;
  T* y;
  int64_t items = 1, numbers;     // numbers: of y
  int rank = 0;
  Divisor size[kMaxRank + 1];     // the outermost comes first
  int64_t a_stride[kMaxRank + 1], b_stride[kMaxRank + 1];
  bool a_wide, b_wide;
  float factor;

  void push(int64_t count, int64_t a_step, int64_t b_step) {
    const int last = rank - 1;
    items *= count;
    if (count == 1) return;
    if (rank > 0 && a_stride[last] == a_step * count && b_stride[last] == b_step * count) {
      size[last] = divisor(size[last].size * count);
      a_stride[last] = a_step, b_stride[last] = b_step;
    } else {
      size[rank] = divisor(count), a_stride[rank] = a_step, b_stride[rank] = b_step;
      ++rank;
    }
  }
};

template <int Width, class T>
__device__ __forceinline__ void load_item(const T* p, bool wide, T (&x)[Width]) {
  if constexpr (Width == Pack<T>::kSize) {
    const Pack<T> pack = wide ? load_pack(p) : repeated(*p);
#pragma unroll
    for (int i = 0; i < Width; ++i) x[i] = pack.at[i];
  } else {
    x[0] = *p;
  }
}

template <class Op, int Width, class T>
__global__ void combine_kernel(Space<T> s) {
  const uint32_t at = item();
  if (at >= s.items) return;
  int64_t a = 0, b = 0;
  uint32_t left = at;
  for (int d = s.rank - 1; d > 0; --d) {
    uint32_t index;
    left = divide(left, s.size[d], index);
    a += index * s.a_stride[d];
    b += index * s.b_stride[d];
  }
  if (s.rank > 0) a += left * s.a_stride[0], b += left * s.b_stride[0];
  const int64_t begin = static_cast<int64_t>(at) * Width;
  if (begin + Width > s.numbers) {  // the end of a space of one dimension
    for (int64_t i = 0; begin + i < s.numbers; ++i) {
      const float from_a = to_f32(s.a[a + (s.a_wide ? i : 0)]), from_b = Op::kReadsB ? to_f32(s.b[b + (s.b_wide ? i : 0)]) : 0;
      s.y[begin + i] = from_f32<T>(Op::of(from_a, from_b, s.factor));
    }
    return;
  }
  T from_a[Width], from_b[Width] = {};
  load_item<Width>(s.a + a, s.a_wide, from_a);
  if constexpr (Op::kReadsB) load_item<Width>(s.b + b, s.b_wide, from_b);
  if constexpr (Width == 1) {
    s.y[begin] = from_f32<T>(Op::of(to_f32(from_a[0]), to_f32(from_b[0]), s.factor));
  } else {
    Pack<T> y;
#pragma unroll
    for (int i = 0; i < Width; ++i) y.at[i] = from_f32<T>(Op::of(to_f32(from_a[i]), to_f32(from_b[i]), s.factor));
    store_pack(s.y + begin, y);
  }
}

/// Can an operand of rows of `n` numbers be read sixteen bytes at a time, or one number for all of them?
bool by_packs(const float* p, const int64_t* strides, int64_t rank, int64_t n) {
  if (strides[rank - 1] == 0) return true;
  if (!aligned(p) || (rank > 1 && n % Pack<float>::kSize != 0)) return false;
  for (int64_t d = 0; d + 1 < rank; ++d) {
    if (strides[d] % Pack<float>::kSize != 0) return false;
  }
  return true;
}

template <class T>
Space<T> empty_space(const CombineOf<T>& c) {
  Space<T> s = {};
  s.a = c.a, s.b = c.b, s.y = c.y, s.factor = c.factor;
  s.items = 1, s.numbers = CombineOf<T>::kUnit;
  for (int64_t d = 0; d < c.rank; ++d) s.numbers *= c.sizes[d];
  return s;
}

template <class Op>
void combine(const Combine& c, int64_t, void*) {
  Space<float> s = empty_space(c);
  if (s.numbers == 0) return;
  const int64_t last = c.rank - 1, n = c.sizes[last];
  const bool packs = (c.rank == 1 || n % Pack<float>::kSize == 0) && aligned(c.y) && by_packs(c.a, c.a_strides, c.rank, n) &&
                     (!Op::kReadsB || by_packs(c.b, c.b_strides, c.rank, n));
  const int64_t width = packs ? Pack<float>::kSize : 1;
  for (int64_t d = 0; d < last; ++d) s.push(c.sizes[d], c.a_strides[d], c.b_strides[d]);
  s.push(divide_up(n, width), c.a_strides[last] * width, c.b_strides[last] * width);
  s.a_wide = c.a_strides[last] != 0, s.b_wide = c.b_strides[last] != 0;
  if (packs) launch_items(combine_kernel<Op, Pack<float>::kSize, float>, s.items, s);
  else launch_items(combine_kernel<Op, 1, float>, s.items, s);
}

/// An element is a line: its packs are one dimension more.
template <class Op>
void combine_bf16(const CombineBf16& c, int64_t, void*) {
  Space<uint16_t> s = empty_space(c);
  if (s.numbers == 0) return;
  for (int64_t d = 0; d < c.rank; ++d) s.push(c.sizes[d], c.a_strides[d] * 32, c.b_strides[d] * 32);
  s.push(kLinePacks, Pack<uint16_t>::kSize, Pack<uint16_t>::kSize);
  s.a_wide = s.b_wide = true;
  launch_items(combine_kernel<Op, Pack<uint16_t>::kSize, uint16_t>, s.items, s);
}

template <class T>
__global__ void scale_kernel(ScaleOf<T> a) {
  constexpr int kSize = Pack<T>::kSize;
  const float factor = a.s == nullptr ? a.factor : a.factor * *a.s;
  const int64_t begin = static_cast<int64_t>(item()) * kSize;
  if (begin + kSize <= a.count) {
    Pack<T> pack = load_pack(a.x + begin);
#pragma unroll
    for (int i = 0; i < kSize; ++i) pack.at[i] = from_f32<T>(to_f32(pack.at[i]) * factor);
    store_pack(a.y + begin, pack);
  } else {
    for (int64_t i = begin; i < a.count; ++i) a.y[i] = from_f32<T>(to_f32(a.x[i]) * factor);
  }
}

template <class T>
void scale(const ScaleOf<T>& a, int64_t, void*) {
  launch_items(scale_kernel<T>, divide_up(a.count, Pack<T>::kSize), a);
}

__global__ void fill_kernel(Fill a) {
  const int64_t begin = static_cast<int64_t>(item()) * 4;
  if (begin + 4 <= a.count) {
    store_pack(a.y + begin, repeated(a.value));
  } else {
    for (int64_t i = begin; i < a.count; ++i) a.y[i] = a.value;
  }
}

void fill(const Fill& a, int64_t, void*) { launch_items(fill_kernel, divide_up(a.count, 4), a); }

void block(const Block& a, int64_t, void*) { reorder.to_blocked({a.x, a.y, 1, a.channels, a.spatial}, 0, nullptr); }

}  // namespace

extern const ElementwiseKernels elementwise = {combine<Add>, combine<Multiply>, combine<Expand>, scale<float>, block, fill};
extern const ElementwiseBf16Kernels elementwise_bf16 = {combine_bf16<Add>, combine_bf16<Multiply>, scale<uint16_t>};

}  // namespace cuda
}  // namespace thaw
