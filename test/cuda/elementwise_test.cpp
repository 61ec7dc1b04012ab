// Broadcasting arithmetic on the GPU: the same bits as the CPU's scalar kernels; and the division by fixed numbers that
// all kernels count with.
#include "kernels/elementwise.h"

#include "gpu.h"
#include "kernels/cuda/index.h"
#include "values.h"

using namespace thaw;
using namespace values;

namespace {

/// A space, and how many elements of each operand it reads.
struct Case {
  std::vector<int64_t> sizes, a, b;
};

const Case kCases[] = {
    {{1}, {1}, {1}},
    {{3}, {1}, {1}},
    {{4096}, {1}, {1}},
    {{40003}, {1}, {1}},
    {{1003}, {1}, {0}},
    {{1003}, {0}, {1}},
    {{5, 7}, {7, 1}, {0, 1}},
    {{5, 7}, {7, 1}, {1, 0}},
    {{5, 8}, {1, 0}, {8, 1}},
    {{300, 12}, {12, 1}, {0, 1}},
    {{6, 9, 16}, {144, 16, 1}, {16, 0, 1}},
    {{6, 9, 16}, {144, 16, 1}, {9, 1, 0}},
    {{2, 3, 5, 4}, {60, 20, 4, 1}, {0, 4, 12, 1}},
    {{2, 3, 2, 3, 2, 1, 2, 4}, {0, 96, 48, 16, 8, 0, 4, 1}, {1, 2, 6, 12, 36, 0, 72, 0}},
    {{3, 0, 4}, {0, 4, 1}, {0, 4, 1}},
};

int64_t extent(const Case& c, const std::vector<int64_t>& strides) {
  int64_t last = 1;
  for (size_t d = 0; d < c.sizes.size(); ++d) last += std::max<int64_t>(0, c.sizes[d] - 1) * strides[d];
  return last;
}

template <class T>
CombineOf<T> space(const Case& c) {
  CombineOf<T> s = {};
  s.rank = static_cast<int64_t>(c.sizes.size());
  s.rows = 1;
  for (int64_t d = 0; d < s.rank; ++d) {
    s.sizes[d] = c.sizes[d], s.a_strides[d] = c.a[d], s.b_strides[d] = c.b[d];
    if (d + 1 < s.rank) s.rows *= c.sizes[d];
  }
  s.rows_per_task = 2;
  s.factor = 0.3f;
  return s;
}

template <class T>
using Kernel = void (*)(const CombineOf<T>&, int64_t, void*);

/// `shift` elements of each operand and of the result are left out before the first.
template <class T>
void verify(Kernel<T> cpu, Kernel<T> cuda, const Case& c, bool reads_b, int64_t shift = 0) {
  constexpr int64_t unit = CombineOf<T>::kUnit;
  CombineOf<T> args = space<T>(c);
  const int64_t count = args.rows * args.sizes[args.rank - 1] * unit;
  const auto a = noise<T>(extent(c, c.a) * unit + shift, 1), b = noise<T>(extent(c, c.b) * unit + shift, 2);
  std::vector<T> y(static_cast<size_t>(count + shift + 1), encode<T>(7));
  const gpu::Array<T> on_a(a), on_b(b), on_y(y);
  args.a = a.data() + shift, args.b = reads_b ? b.data() + shift : nullptr, args.y = y.data() + shift;
  const int64_t tasks = args.rank == 1 ? chunks(count) : ceil_div(args.rows, args.rows_per_task);
  if (count > 0) run_tasks(cpu, args, tasks);
  args.a = on_a + shift, args.b = reads_b ? on_b + shift : nullptr, args.y = on_y + shift;
  cuda(args, tasks, nullptr);
  FINISH();
  CHECK(same(on_y.read(), y));
}

template <class T>
void scales(void (*cpu)(const ScaleOf<T>&, int64_t, void*), void (*cuda)(const ScaleOf<T>&, int64_t, void*), int64_t count) {
  const std::vector<T> x = noise<T>(count, 3);
  const std::vector<float> s = {0.7f};
  const gpu::Array<T> on_x(x), on_y(x.size());
  const gpu::Array<float> on_s(s);
  for (const bool by_s : {false, true}) {
    std::vector<T> y(x.size());
    run_tasks(cpu, {x.data(), by_s ? s.data() : nullptr, y.data(), count, 0.3f}, chunks(count));
    cuda({on_x, by_s ? on_s.data() : nullptr, on_y, count, 0.3f}, chunks(count), nullptr);
    FINISH();
    CHECK(same(on_y.read(), y));
  }
}

void fills(int64_t count) {
  const gpu::Array<float> y(static_cast<size_t>(count));
  cuda::elementwise.fill({y, count, 0.25f}, chunks(count), nullptr);
  FINISH();
  CHECK(same(y.read(), std::vector<float>(static_cast<size_t>(count), 0.25f)));
}

void blocks(int64_t channels, int64_t spatial) {
  const std::vector<float> x = noise<float>(channels * spatial, 4);
  std::vector<float> y(static_cast<size_t>(ceil_div(channels, 16) * spatial * 16));
  run_tasks(scalar::elementwise.block, {x.data(), y.data(), channels, spatial}, ceil_div(channels, 16));
  const gpu::Array<float> on_x(x), on_y(y.size());
  cuda::elementwise.block({on_x, on_y, channels, spatial}, ceil_div(channels, 16), nullptr);
  FINISH();
  CHECK(same(on_y.read(), y));
}

void divides_exactly() {
  bool exact = true;
  for (int64_t d = 1; d <= cuda::kMaxItems; d = d < 3000 ? d + 1 : d * 3 / 2 + 1) {
    const cuda::Divisor by = cuda::divisor(d);
    for (const int64_t near : {int64_t{0}, d, 2 * d, 1000 * d, cuda::kMaxItems / d * d, cuda::kMaxItems}) {
      for (int64_t n = near - 2; n <= near + 2; ++n) {
        if (n < 0 || n > cuda::kMaxItems) continue;
        uint32_t rest;
        exact = exact && cuda::divide(static_cast<uint32_t>(n), by, rest) == n / d && rest == n % d;
      }
    }
  }
  CHECK(exact);
}

}  // namespace

int main() {
  divides_exactly();
  for (const Case& c : kCases) {
    verify<float>(scalar::elementwise.add, cuda::elementwise.add, c, true);
    verify<float>(scalar::elementwise.multiply, cuda::elementwise.multiply, c, true);
    verify<float>(scalar::elementwise.add, cuda::elementwise.add, c, true, 1);
    verify<uint16_t>(scalar::elementwise_bf16.add, cuda::elementwise_bf16.add, c, true);
    verify<uint16_t>(scalar::elementwise_bf16.multiply, cuda::elementwise_bf16.multiply, c, true);
    Case alone = c;
    std::fill(alone.b.begin(), alone.b.end(), 0);
    verify<float>(scalar::elementwise.expand, cuda::elementwise.expand, alone, false);
  }
  for (const int64_t count : {1, 4, 1023, 1024, 40001}) {
    scales<float>(scalar::elementwise.scale, cuda::elementwise.scale, count);
    fills(count);
  }
  for (const int64_t count : {32, 2080, 40000}) scales<uint16_t>(scalar::elementwise_bf16.scale, cuda::elementwise_bf16.scale, count);
  blocks(1, 1);
  blocks(19, 33);
  return check::result();
}
