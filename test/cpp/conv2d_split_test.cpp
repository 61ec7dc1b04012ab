// Convolutions of f32 pictures by products of bf16 parts: against loops in double, forward and by data, beside direct sums,
// with the same bits on every instruction set, in both orders of tasks and for any number of threads.
#include <random>

#include "conv2d_reference.h"

using namespace conv2d_reference;

namespace {

/// Does the gradient by weights take parts, too? With few products for each number it is left to direct sums.
bool parts_pay_by_weights(const Conv& c) { return c.c * c.k * c.kh * c.kw / (c.c + c.k) >= 64; }

void verify_split(const Conv& c) {
  const bool by_weights = parts_pay_by_weights(c);
  const std::vector<harness::Operand> operands = {{c.x()}, {c.weight()}, {{c.k}, {}, DType::f32, !c.bias}};
  const std::vector<double> x = noise(count(c.x()), 1), w = noise(count(c.weight()), 2), bias = noise(c.k, 3);
  const Expected want = reference(c, x, w, bias, noise(count(c.y()), 77));
  const std::string text = "split " + c.text();
  harness::Setup plain{Isa::scalar, true};
  const harness::Result direct = harness::run_graph(operands, conv2d(c), plain);
  harness::Result first;
  for (const Isa isa : harness::isas()) {
    for (const int threads : {1, 2, 3}) {
      harness::Setup setup = with_tiles(isa);
      setup.threads = threads, setup.backwards = threads == 2;
      const harness::Result got = harness::run_graph(operands, conv2d(c), setup);
      if (first.output.empty()) first = got;
      CHECK(got.output == first.output && got.gradients[0] == first.gradients[0]);
      CHECK(!by_weights || got.gradients[1] == first.gradients[1]);
    }
  }
  harness::expect_close(first.output, want.y, 1e-6, text);
  harness::expect_close(first.gradients[0], want.dx, 1e-6, text + " dx");
  harness::expect_close(first.gradients[1], want.dweight, 1e-6, text + " dweight");
  // As near as sums of products of floats, each rounded once.
  const double limit = 6e-8;
  CHECK(distance(first.output, want.y) < std::max(limit, distance(direct.output, want.y)));
  CHECK(distance(first.gradients[0], want.dx) < std::max(limit, distance(direct.gradients[0], want.dx)));
  CHECK(!by_weights ||
        distance(first.gradients[1], want.dweight) < std::max(limit, distance(direct.gradients[1], want.dweight)));
}

void chosen() {
  const std::vector<int64_t> one = {1, 1, 1, 1}, none = {0, 0, 0, 0};
  verify_split({2, 64, 9, 10, 64, 1, 1});
  verify_split({3, 128, 9, 10, 140, 1, 1});
  verify_split({17, 144, 7, 7, 130, 1, 1});      // pictures that alternate, and a last, smaller group; blocks not full
  verify_split({1, 176, 13, 11, 112, 1, 1, {2, 2}, none, {1, 1}, 1, false});
  verify_split({3, 64, 12, 13, 96, 3, 3, {2, 2}, one});
  verify_split({1, 100, 9, 9, 65, 3, 3, {2, 1}, {2, 0, 1, 1}});
  verify_split({1, 64, 12, 12, 64, 3, 3, {1, 1}, {2, 2, 2, 2}, {2, 2}});
  verify_split({1, 300, 20, 20, 96, 1, 1});      // several bands
  verify_split({2, 64, 12, 10, 200, 5, 5, {3, 2}, {2, 2, 2, 2}});
}

/// Gradients by weights of plain pictures of few channels, which have no other form in parts.
void verify_weights(const Conv& c) {
  const std::vector<double> x = noise(count(c.x()), 1), dy = noise(count(c.y()), 2), none(static_cast<size_t>(c.k));
  const std::vector<double> weight(static_cast<size_t>(count(c.weight())));
  const std::vector<double> want = reference(c, x, weight, none, dy).dweight;
  const auto build = [&](Graph& graph, const std::vector<ValueId>& ids) {
    return graph.nodes[graph.append("conv2d_backward_weights", "node", ids, c.attrs().set("weight_shape", c.weight()))]
        .outputs[0];
  };
  std::vector<double> first;
  for (const Isa isa : harness::isas())
    for (const int threads : {1, 2, 3}) {
      harness::Setup setup = with_tiles(isa, false);
      setup.threads = threads, setup.backwards = threads == 2;
      const std::vector<double> got = harness::run_graph({{c.x(), x}, {c.y(), dy}}, build, setup).output;
      if (first.empty()) first = got;
      CHECK(got == first);
    }
  harness::expect_close(first, want, 1e-6, "split by weights " + c.text());
  CHECK(distance(first, want) < 3e-7);
}

void few_channels() {
  verify_weights({2, 3, 37, 37, 20, 7, 7, {2, 2}, {3, 3, 3, 3}});
  verify_weights({1, 3, 47, 39, 70, 11, 11, {4, 4}, {2, 2, 2, 2}});
  verify_weights({3, 1, 9, 9, 8, 3, 3, {1, 1}, {1, 1, 1, 1}});
  verify_weights({2, 4, 30, 33, 40, 3, 3, {3, 3}, {0, 0, 1, 1}, {2, 1}});
  verify_weights({5, 2, 6, 7, 33, 1, 1});
}

/// A picture alone, and the same picture last in a batch.
void same_bits_in_any_batch() {
  Conv c{11, 72, 7, 7, 64, 1, 1};
  const int64_t each = c.c * c.h * c.w, out = c.k * c.oh() * c.ow();
  const std::vector<double> x = noise(each * c.n, 1);
  for (const Isa isa : harness::isas()) {
    c.n = 11;
    const auto all = harness::run_graph({{c.x(), x}, {c.weight()}, {{c.k}}}, conv2d(c), with_tiles(isa, false)).output;
    c.n = 1;
    const std::vector<double> last(x.end() - each, x.end());
    const auto alone = harness::run_graph({{c.x(), last}, {c.weight()}, {{c.k}}}, conv2d(c), with_tiles(isa, false)).output;
    CHECK(std::equal(alone.begin(), alone.end(), all.end() - out));
  }
}

/// Numbers at the ends of what a float holds.
void extremes() {
  const Conv c{1, 64, 4, 4, 64, 1, 1, {1, 1}, {0, 0, 0, 0}, {1, 1}, 1, false};
  std::vector<double> x(64 * 16, 0.0), w(64 * 64, 0.0);
  const double numbers[] = {3.3e38, 1.1754944e-38 * 3, 1.0000001192092896, -16777215.0};
  for (size_t i = 0; i < 4; ++i) x[i] = numbers[i];
  for (size_t k = 0; k < 64; ++k) w[k * 64] = 1;
  for (const Isa isa : harness::isas()) {
    const auto y = harness::run_graph({{c.x(), x}, {c.weight(), w}}, conv2d(c), with_tiles(isa, false)).output;
    for (size_t k = 0; k < 64; ++k) {
      CHECK(y[k * 16] == static_cast<double>(static_cast<float>(numbers[0])));
      CHECK(std::abs(y[k * 16 + 1] / numbers[1] - 1) < 0.01);  // its smaller parts are below what bf16 holds
      CHECK(y[k * 16 + 2] == static_cast<double>(static_cast<float>(numbers[2])) && y[k * 16 + 3] == numbers[3]);
    }
    for (const double wrong : {std::numeric_limits<double>::infinity(), std::nan("")}) {
      std::vector<double> other = x;
      other[1] = wrong;
      const auto got = harness::run_graph({{c.x(), other}, {c.weight(), w}}, conv2d(c), with_tiles(isa, false)).output;
      CHECK(!std::isfinite(got[1]) && got[2] == y[2]);
    }
  }
}

void many() {
  std::mt19937_64 random(11);
  const auto pick = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low + 1));
  };
  for (int i = 0; i < 12; ++i) {
    Conv c{pick(1, 5), pick(64, 100), pick(8, 16), pick(8, 16), pick(64, 100), pick(1, 3), pick(1, 3)};
    c.stride = {pick(1, 2), 2}, c.dilation = {pick(1, 2), pick(1, 2)};
    c.padding = {pick(0, 2), pick(0, 2), pick(0, 2), pick(0, 2)};
    if (c.h + c.padding[0] + c.padding[2] < c.dilation[0] * (c.kh - 1) + 1) continue;
    if (c.w + c.padding[1] + c.padding[3] < c.dilation[1] * (c.kw - 1) + 1) continue;
    verify_split(c);
  }
}

}  // namespace

int main() {
  chosen();
  few_channels();
  same_bits_in_any_batch();
  verify_fused("split", {2, 64, 9, 9, 64, 1, 1}, 1e-6);
  extremes();
  many();
  return check::result();
}
