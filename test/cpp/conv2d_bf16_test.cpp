// Dense convolutions in bf16 and their gradients against loops in double, on operands that bf16 holds. Products are then
// exact and sums in f32: pictures differ by the rounding at the store, gradients of weights as in f32. Every instruction
// set gives the same bits, in both orders of tasks.
#include <random>

#include "harness.h"

using namespace thaw;
using harness::noise;

namespace {

struct Conv {
  int64_t n, c, h, w, k, kh, kw;
  std::vector<int64_t> stride = {1, 1}, padding = {0, 0, 0, 0}, dilation = {1, 1};
  int64_t groups = 1;

  int64_t out(int d) const {
    const int64_t size = d ? w : h, kernel = d ? kw : kh;
    return (size + padding[d] + padding[d + 2] - dilation[d] * (kernel - 1) - 1) / stride[d] + 1;
  }
  Shape x() const { return {n, c, h, w}; }
  Shape y() const { return {n, k, out(0), out(1)}; }
  Shape weight() const { return {k, c / groups, kh, kw}; }
  Json attrs() const {
    return Json::object().set("stride", stride).set("padding", padding).set("dilation", dilation).set("groups", groups);
  }
  std::string text() const { return to_string(x()) + " * " + to_string(weight()) + " " + attrs().dump(); }
};

struct Expected {
  std::vector<double> y, dx, dweight;
};

Expected reference(const Conv& c, const std::vector<double>& x, const std::vector<double>& w,
                   const std::vector<double>& dy) {
  const int64_t in = c.c / c.groups, each = c.k / c.groups, oh = c.out(0), ow = c.out(1);
  Expected e{std::vector<double>(dy.size(), 0.0), std::vector<double>(x.size(), 0.0), std::vector<double>(w.size(), 0.0)};
  size_t weight = 0;
  for (int64_t k = 0; k < c.k; ++k)
    for (int64_t i = k / each * in; i < k / each * in + in; ++i)
      for (int64_t ky = 0; ky < c.kh; ++ky)
        for (int64_t kx = 0; kx < c.kw; ++kx, ++weight)
          for (int64_t n = 0; n < c.n; ++n)
            for (int64_t oy = 0; oy < oh; ++oy)
              for (int64_t ox = 0; ox < ow; ++ox) {
                const int64_t row = oy * c.stride[0] + ky * c.dilation[0] - c.padding[0];
                const int64_t column = ox * c.stride[1] + kx * c.dilation[1] - c.padding[1];
                if (row < 0 || column < 0 || row >= c.h || column >= c.w) continue;
                const size_t to = static_cast<size_t>(((n * c.k + k) * oh + oy) * ow + ox);
                const size_t from = static_cast<size_t>(((n * c.c + i) * c.h + row) * c.w + column);
                e.y[to] += x[from] * w[weight];
                e.dx[from] += dy[to] * w[weight];
                e.dweight[weight] += dy[to] * x[from];
              }
  return e;
}

void verify(const Conv& c) {
  const std::vector<double> x = harness::in_bf16(noise(count(c.x()), 1)), w = harness::in_bf16(noise(count(c.weight()), 2));
  const Expected want = reference(c, x, w, harness::in_bf16(noise(count(c.y()), 77)));
  const auto build = [&](Graph& graph, const std::vector<ValueId>& ids) {
    return graph.nodes[graph.append("conv2d", "node", ids, c.attrs())].outputs[0];
  };
  harness::Result first;
  for (const Isa isa : harness::isas()) {
    harness::Setup setup{isa, true, true, false, false, true};
    const harness::Result got = harness::run_graph({{c.x(), x}, {c.weight(), w}}, build, setup);
    const std::string where = std::string(isa_name(isa)) + " bf16 " + c.text();
    harness::expect_close(got.output, want.y, harness::kBf16Error, where);
    harness::expect_close(got.gradients[0], want.dx, harness::kBf16Error, where + " dx");
    harness::expect_close(got.gradients[1], want.dweight, 3e-6, where + " dweight");
    if (first.output.empty()) first = got;
    CHECK(got.output == first.output && got.gradients == first.gradients);
    setup.backwards = true;
    const harness::Result again = harness::run_graph({{c.x(), x}, {c.weight(), w}}, build, setup);
    CHECK(again.output == got.output && again.gradients == got.gradients);
  }
}

void chosen() {
  const std::vector<int64_t> one = {1, 1, 1, 1};
  verify({2, 64, 9, 10, 64, 1, 1});
  verify({2, 96, 14, 14, 40, 3, 3, {1, 1}, one});
  verify({17, 40, 7, 7, 70, 3, 3, {1, 1}, one});       // several pictures of seven rows a unit, and a last, smaller one
  verify({16, 128, 7, 7, 64, 1, 1});
  verify({1, 33, 37, 41, 35, 3, 3, {2, 2}, one});
  verify({3, 20, 8, 8, 36, 1, 1, {2, 2}});
  verify({2, 24, 20, 17, 48, 3, 3, {2, 2}, {2, 3, 4, 1}, {3, 2}});
  verify({1, 5, 16, 16, 7, 5, 5, {3, 3}, {4, 4, 4, 4}});
  verify({1, 32, 1, 700, 32, 1, 3, {1, 1}, {0, 1, 0, 1}});  // a row longer than a unit wants
  verify({2, 300, 5, 6, 40, 1, 1});
  verify({5, 64, 1, 1, 64, 3, 3, {1, 1}, one});
  verify({1, 40, 4, 4, 40, 2, 2, {4, 4}, one});
  // Up to four channels, read from plain pictures.
  verify({2, 3, 37, 37, 20, 7, 7, {2, 2}, {3, 3, 3, 3}});
  verify({1, 3, 47, 39, 70, 11, 11, {4, 4}, {2, 2, 2, 2}});
  verify({3, 1, 9, 9, 8, 3, 3, {1, 1}, one});
  verify({2, 4, 30, 33, 40, 3, 3, {3, 3}, {0, 0, 1, 1}, {2, 1}});
  verify({1, 4, 12, 12, 8, 3, 3, {1, 1}, {2, 2, 2, 2}, {2, 2}});
  // Groups within a block, across blocks, of whole blocks.
  verify({1, 32, 8, 9, 32, 3, 3, {1, 1}, one, {1, 1}, 8});
  verify({1, 96, 7, 7, 48, 1, 1, {1, 1}, {0, 0, 0, 0}, {1, 1}, 3});
  verify({2, 58, 6, 6, 58, 1, 1, {1, 1}, {0, 0, 0, 0}, {1, 1}, 2});
  verify({2, 64, 8, 9, 128, 3, 3, {2, 2}, one, {1, 1}, 2});
  verify({1, 21, 6, 6, 28, 3, 3, {1, 1}, one, {1, 1}, 7});
  // Kernels of more taps than are packed at a time.
  verify({1, 5, 25, 26, 6, 23, 24});
}

void many() {
  std::mt19937_64 random(7);
  const auto pick = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low + 1));
  };
  for (int i = 0; i < 120; ++i) {
    Conv c{pick(1, 17), 0, pick(1, 24), pick(1, 24), 0, pick(1, 4), pick(1, 4)};
    c.groups = pick(0, 2) ? 1 : pick(2, 5);
    c.c = pick(1, 80 / c.groups) * c.groups, c.k = pick(1, 80 / c.groups) * c.groups;
    c.stride = {pick(1, 3), pick(1, 3)}, c.dilation = {pick(1, 2), pick(1, 2)};
    c.padding = {pick(0, 3), pick(0, 3), pick(0, 3), pick(0, 3)};
    const bool depthwise = c.groups > 1 && c.groups == c.c && c.groups == c.k;
    const bool fits = c.h + c.padding[0] + c.padding[2] > c.dilation[0] * (c.kh - 1) &&
                      c.w + c.padding[1] + c.padding[3] > c.dilation[1] * (c.kw - 1);
    if (fits && !depthwise) verify(c);
  }
}

}  // namespace

int main() {
  chosen();
  many();
  return check::result();
}
