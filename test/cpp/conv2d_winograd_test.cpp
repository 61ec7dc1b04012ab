// Convolutions by F(4x4, 3x3) in inference, against loops in double: borders,
// partial tiles, channel tails, what is fused behind them; and the bits depend neither on the batch, nor on threads,
// nor on the order of tasks, nor on the instruction set.
#include "conv2d_reference.h"

using namespace conv2d_reference;

namespace {

const std::vector<int64_t> kOne = {1, 1, 1, 1};

// Relative to the largest output. The transforms round off about twice as much as direct sums, which are held to 3e-6.
constexpr double kError = 1e-5;

void expect_kernel(const Conv& c, const std::string& kernel, Isa isa) {
  const auto [taken, why] = kernel_of(c, isa);
  if (taken != kernel) std::fprintf(stderr, "%s: by %s\n%s", c.text().c_str(), taken.c_str(), why.c_str());
  CHECK(taken == kernel);
}

void verify(const Conv& c) {
  const std::vector<harness::Operand> operands = {{c.x()}, {c.weight()}, {{c.k}, {}, DType::f32, !c.bias}};
  const std::vector<double> x = noise(count(c.x()), 1), w = noise(count(c.weight()), 2), bias = noise(c.k, 3);
  const std::vector<double> want = reference(c, x, w, bias, noise(count(c.y()), 77)).y;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (!isa_usable(isa)) continue;
    expect_kernel(c, "winograd", isa);
    harness::Setup setup{.isa = isa, .blocked = true, .gradients = false};
    const auto got = harness::run_graph(operands, conv2d(c), setup).output;
    harness::expect_close(got, want, kError, std::string(isa_name(isa)) + " " + c.text());
    for (const int threads : {1, 2, 5}) {
      setup.threads = threads;
      setup.backwards = !setup.backwards;
      CHECK(harness::run_graph(operands, conv2d(c), setup).output == got);
    }
  }
}

/// The width of vectors changes no bit either, where products and sums round once: the scalar kernels round twice.
void same_bits_in_any_batch(Conv c, int64_t batch) {
  const int64_t each = c.c * c.h * c.w, out = c.k * c.oh() * c.ow();
  const std::vector<double> x = noise(each * batch, 1);
  std::vector<double> first;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (!isa_usable(isa)) continue;
    const harness::Setup setup{.isa = isa, .blocked = true, .gradients = false};
    c.n = batch;
    const auto all = harness::run_graph({{c.x(), x}, {c.weight()}, {{c.k}}}, conv2d(c), setup).output;
    if (first.empty() && isa != Isa::scalar) first = all;
    CHECK(isa == Isa::scalar || all == first);
    c.n = 1;
    for (const int64_t place : {int64_t{0}, batch / 2, batch - 1}) {
      const std::vector<double> picture(x.begin() + place * each, x.begin() + (place + 1) * each);
      const auto alone = harness::run_graph({{c.x(), picture}, {c.weight()}, {{c.k}}}, conv2d(c), setup).output;
      CHECK(std::equal(alone.begin(), alone.end(), all.begin() + place * out));
    }
  }
}

void shapes() {
  for (const int64_t size : {4, 6, 7, 8, 13})
    for (const int64_t pictures : {1, 3}) {
      verify({pictures, 40, size, size, 36, 3, 3, {1, 1}, kOne});
      verify({pictures, 17, size, size + 2, 50, 3, 3, {1, 1}, kOne});
    }
  verify({1, 16, 3, 40, 16, 3, 3, {1, 1}, kOne});
  verify({2, 33, 41, 3, 19, 3, 3, {1, 1}, kOne});
  verify({1, 24, 15, 10, 24, 3, 3});
  verify({1, 24, 9, 9, 24, 3, 3, {1, 1}, {2, 0, 3, 1}, {1, 1}, 1, false});
  verify({1, 24, 6, 6, 24, 3, 3, {1, 1}, {7, 8, 5, 6}});
  verify({5, 20, 27, 26, 70, 3, 3, {1, 1}, kOne});
  // Too large to be kept transformed.
  verify({1, 200, 7, 8, 190, 3, 3, {1, 1}, kOne});
  verify({3, 190, 13, 9, 200, 3, 3, {1, 1}, kOne});
}

void choice() {
  for (const Conv& c : {Conv{2, 40, 1, 1, 36, 3, 3, {1, 1}, kOne}, Conv{2, 40, 3, 5, 36, 3, 3, {1, 1}, kOne},
                        Conv{1, 40, 20, 20, 2, 3, 3, {1, 1}, kOne}, Conv{1, 40, 20, 20, 36, 3, 3, {2, 1}, kOne},
                        Conv{1, 40, 20, 20, 36, 3, 3, {1, 1}, kOne, {2, 1}},
                        Conv{1, 40, 20, 20, 36, 3, 3, {1, 1}, kOne, {1, 1}, 4},
                        Conv{1, 40, 20, 20, 36, 3, 5, {1, 1}, kOne}})
    expect_kernel(c, "direct", Isa::scalar);
  expect_kernel({1, 4, 20, 20, 36, 3, 3, {1, 1}, kOne}, "narrow", Isa::scalar);
  const Conv fits{1, 40, 20, 20, 36, 3, 3, {1, 1}, kOne};
  for (const Mode mode : {Mode::run, Mode::embed, Mode::head})
    CHECK(kernel_of(fits, Isa::scalar, mode).first == "winograd");
  for (const Mode mode : {Mode::step, Mode::gradients}) {
    const auto [kernel, why] = kernel_of(fits, Isa::scalar, mode);
    CHECK(kernel == "direct");
    CHECK(why.find("winograd: expected 64 channels or more where a gradient goes through") != std::string::npos);
    CHECK(kernel_of({1, 64, 20, 20, 64, 3, 3, {1, 1}, kOne}, Isa::scalar, mode).first == "winograd");
  }
}

void batches() {
  same_bits_in_any_batch({1, 80, 13, 14, 70, 3, 3, {1, 1}, kOne}, 9);
  same_bits_in_any_batch({1, 40, 7, 7, 36, 3, 3, {1, 1}, kOne}, 16);
  same_bits_in_any_batch({1, 200, 7, 7, 190, 3, 3, {1, 1}, kOne}, 40);
}

void fused() {
  const Conv c{2, 40, 7, 9, 20, 3, 3, {1, 1}, kOne};
  const std::vector<double> x = halved(noise(count(c.x()), 1), 4), residual = noise(count(c.y()), 4);
  const std::vector<double> sums =
      reference(c, x, noise(count(c.weight()), 2), noise(c.k, 3), std::vector<double>(residual.size(), 0.0)).y;
  for (const char* kind :
       {"none", "relu", "relu6", "leaky_relu", "hard_swish", "hard_sigmoid", "silu", "sigmoid", "tanh", "gelu"}) {
    const auto build = [&](Graph& graph, const std::vector<ValueId>& ids) {
      const Json attrs = c.attrs().set("activation", kind).set("alpha", 0.1);
      return graph.nodes[graph.append("conv2d", "node", ids, attrs)].outputs[0];
    };
    std::vector<double> want = sums;
    for (size_t i = 0; i < want.size(); ++i) want[i] = activated(kind, sums[i] + residual[i]);
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
      if (!isa_usable(isa)) continue;
      const auto got = harness::run_graph({{c.x(), x}, {c.weight()}, {{c.k}}, {c.y()}}, build,
                                          {.isa = isa, .blocked = true, .gradients = false});
      harness::expect_close(got.output, want, kError, std::string(isa_name(isa)) + " " + kind + " " + c.text());
    }
  }
}

}  // namespace

int main() {
  shapes();
  choice();
  batches();
  fused();
  return check::result();
}
