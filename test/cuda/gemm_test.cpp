// Matrix products on the GPU against the CPU's scalar kernels, whose order of a sum is the same, but which round products
// where the GPU does not: 2^-19 of the largest. Tiles of either size and few rows alike give the same bits, so that a row
// alone has those that it has among others.
#include "kernels/gemm.h"

#include "compare.h"

using namespace thaw;
using gpu::Array;
using gpu::expect_close;

namespace {

struct Problem {
  int64_t m, n, k;
  bool transposed = false;  // a lies as [k][m]
  bool bias = false;
  Activation activation = Activation::none;
  int64_t parts = 1;
  std::vector<int64_t> a_of = {0}, b_of = {0};

  int64_t batch() const { return static_cast<int64_t>(a_of.size()); }
  int64_t matrices(const std::vector<int64_t>& of) const { return *std::max_element(of.begin(), of.end()) + 1; }
  std::string text() const {
    return " " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + (transposed ? " transposed" : "") +
           (bias ? " bias" : "") + " batch " + std::to_string(batch()) + " parts " + std::to_string(parts);
  }
};

int64_t panels_of(const Problem& p) { return (p.n + kPanel - 1) / kPanel; }

std::vector<float> packed_b(const Problem& p, const std::vector<float>& b, bool columns) {
  std::vector<float> packed(static_cast<size_t>(p.matrices(p.b_of) * panels_of(p) * p.k * kPanel));
  const int64_t k_stride = columns ? 1 : p.n, n_stride = columns ? p.k : 1, tasks = p.matrices(p.b_of) * panels_of(p);
  gpu::run_tasks(scalar::gemm.pack_b, {b.data(), packed.data(), p.k, p.n, k_stride, n_stride, p.k * p.n}, tasks);
  const Array<float> on_b(b), on_packed(packed.size());
  cuda::gemm.pack_b({on_b, on_packed, p.k, p.n, k_stride, n_stride, p.k * p.n}, tasks, nullptr);
  FINISH();
  expect_close(on_packed.read(), packed, 0, "packed" + p.text());
  return packed;
}

std::vector<float> on_cpu(const Problem& p, const std::vector<float>& a, const std::vector<float>& b,
                          const std::vector<float>& bias) {
  const int64_t tiles = (p.m + scalar::gemm.rows - 1) / scalar::gemm.rows;
  std::vector<float> packed(a.size()), c(static_cast<size_t>(p.batch() * p.m * p.n));
  const int64_t m_stride = p.transposed ? 1 : p.k, k_stride = p.transposed ? p.m : 1;
  gpu::run_tasks(scalar::gemm.pack_a, {a.data(), packed.data(), p.m, p.k, m_stride, k_stride, p.m * p.k, tiles},
                 p.matrices(p.a_of) * tiles);
  Gemm g{};
  g.a = packed.data(), g.b = b.data(), g.bias = p.bias ? bias.data() : nullptr, g.c = c.data();
  g.m = p.m, g.n = p.n, g.k = p.k, g.tiles = tiles, g.row_groups = g.col_groups = 1;
  g.a_of = p.a_of.data(), g.b_of = p.b_of.data(), g.activation = p.activation, g.alpha = 0.1f;
  gpu::run_tasks(scalar::gemm.multiply, g, p.batch());
  return c;
}

std::vector<float> on_gpu(const Problem& p, const std::vector<float>& a, const std::vector<float>& b,
                          const std::vector<float>& bias) {
  const Array<float> on_a(a), on_b(b), on_bias(bias), on_c(static_cast<size_t>(p.batch() * p.m * p.n));
  const Array<float> partial(static_cast<size_t>(p.parts * p.batch() * p.m * p.n));
  const Array<int64_t> a_of(p.a_of), b_of(p.b_of);
  Gemm g{};
  g.a = on_a, g.b = on_b, g.bias = p.bias ? on_bias.data() : nullptr, g.c = on_c;
  g.m = p.m, g.n = p.n, g.k = p.k, g.m_stride = p.transposed ? 1 : p.k, g.k_stride = p.transposed ? p.m : 1;
  g.a_of = a_of, g.b_of = b_of, g.activation = p.activation, g.alpha = 0.1f;
  g.batch = p.batch(), g.parts = p.parts, g.partial = partial;
  cuda::gemm.multiply(g, p.batch(), nullptr);
  FINISH();
  return on_c.read();
}

void verify(const Problem& p) {
  const std::vector<float> a = gpu::floats(p.matrices(p.a_of) * p.m * p.k, 1), b = gpu::floats(p.matrices(p.b_of) * p.k * p.n, 2);
  const std::vector<float> bias = gpu::floats(p.n, 3), packed = packed_b(p, b, p.m % 2 == 0);
  const std::vector<float> c = on_gpu(p, a, packed, bias);
  expect_close(c, on_cpu(p, a, packed, bias), 0x1p-19, "product" + p.text());
  if (p.transposed || p.batch() > 1 || p.parts > 1) return;
  for (const int64_t rows : {1, 9}) {
    if (rows >= p.m) continue;
    Problem few = p;
    few.m = rows;
    const std::vector<float> last = on_gpu(few, std::vector<float>(a.end() - rows * p.k, a.end()), packed, bias);
    CHECK(std::equal(last.begin(), last.end(), c.end() - rows * p.n));
  }
}

}  // namespace

int main() {
  for (const int64_t m : {1, 2, 7, 8, 11, 16, 17, 65, 100})
    for (const bool transposed : {false, true}) {
      verify({m, 10, 40, transposed});
      verify({m, 33, 5, transposed, true, Activation::relu});
      verify({m, 68, 300, transposed, true, Activation::gelu});
    }
  verify({1, 17, 5000, false, true});  // more chunks than a block takes at once
  verify({9, 17, 4500, false});
  verify({3, 5, 0, false, true});
  verify({40, 5, 0, false, true});
  verify({30, 20, 37, false, false, Activation::none, 1, {0, 1, 2, 0}, {1, 0, 1, 0}});
  verify({5, 20, 37, true, true, Activation::none, 1, {1, 1, 0}, {0, 1, 2}});
  verify({128 * 12 + 5, 128 * 10 + 7, 20, false, true});  // enough for the large tiles
  verify({128 * 12 + 4, 128 * 10 + 8, 20, true});
  verify({70, 66, 1000, true, false, Activation::none, 3});
  verify({6, 66, 2100, true, false, Activation::none, 9});
  verify({129, 140, 8300, true, false, Activation::none, 33});
  return check::result();
}
