// Winograd's convolutions by products of bf16 parts, forward and by data: against loops in double, beside the same in f32,
// with borders, partial tiles, channel tails and several groups; and the bits depend neither on the batch, nor on threads, nor
// on the order of tasks, nor on the width of vectors.
#include "conv2d_reference.h"

using namespace conv2d_reference;

namespace {

const std::vector<int64_t> kOne = {1, 1, 1, 1};

std::string trained_kernel(const Conv& c, Isa isa) { return kernel_of(c, isa, Mode::gradients).first; }

void verify_parts(const Conv& c) {
  CHECK(trained_kernel(c, Isa::amx) == "winograd_split" && trained_kernel(c, Isa::avx512) == "winograd");
  const std::vector<harness::Operand> operands = {{c.x()}, {c.weight()}, {{c.k}, {}, DType::f32, !c.bias}};
  const std::vector<double> x = noise(count(c.x()), 1), w = noise(count(c.weight()), 2), bias = noise(c.k, 3);
  const Expected want = reference(c, x, w, bias, noise(count(c.y()), 77));
  const harness::Result whole = harness::run_graph(operands, conv2d(c), {Isa::scalar, true});
  std::vector<double> first, first_dx;
  for (const Isa isa : harness::isas()) {
    const std::string where = std::string("winograd_split ") + isa_name(isa) + " " + c.text();
    for (const int threads : {1, 2, 5}) {
      harness::Setup setup = with_tiles(isa);
      setup.threads = threads, setup.backwards = threads == 2;
      const harness::Result got = harness::run_graph(operands, conv2d(c), setup);
      // The scalar transforms round products and sums apart.
      if (first.empty() || (threads == 1 && isa == Isa::avx2)) first = got.output, first_dx = got.gradients[0];
      CHECK(got.output == first && got.gradients[0] == first_dx);
      if (threads > 1) continue;
      harness::expect_close(got.output, want.y, 5e-6, where);
      harness::expect_close(got.gradients[0], want.dx, 5e-6, where + " dx");
      CHECK(distance(got.output, want.y) < 1.1 * distance(whole.output, want.y));
      CHECK(distance(got.gradients[0], want.dx) < 1.1 * distance(whole.gradients[0], want.dx));
    }
  }
}

void shapes() {
  verify_parts({2, 64, 8, 8, 64, 3, 3, {1, 1}, kOne});
  verify_parts({3, 70, 9, 12, 90, 3, 3, {1, 1}, {2, 0, 1, 2}, {1, 1}, 1, false});  // blocks and panels not full
  verify_parts({1, 64, 13, 11, 100, 3, 3});
  verify_parts({1, 64, 7, 9, 65, 3, 3, {1, 1}, {4, 3, 2, 5}});                    // tiles of padding alone
  verify_parts({1, 170, 8, 7, 64, 3, 3, {1, 1}, kOne});                           // weights in two runs of blocks
  verify_parts({5, 64, 25, 24, 64, 3, 3, {1, 1}, kOne});                          // several groups
}

void choice() {
  const Conv fits{2, 64, 8, 8, 64, 3, 3, {1, 1}, kOne}, one_tile{2, 64, 4, 4, 64, 3, 3, {1, 1}, kOne};
  CHECK(trained_kernel(fits, Isa::amx) == "winograd_split" && kernel_of(fits, Isa::amx).first == "winograd");
  CHECK(trained_kernel(one_tile, Isa::amx) == "winograd");
  CHECK(trained_kernel({2, 48, 8, 8, 64, 3, 3, {1, 1}, kOne}, Isa::amx) == "direct");
  CHECK(trained_kernel({2, 64, 9, 9, 64, 3, 3, {2, 2}, kOne}, Isa::amx) == "split");
}

/// A picture alone, and the same picture in a batch.
void same_bits_in_any_batch(Conv c, int64_t batch) {
  const int64_t each = c.c * c.h * c.w, out = c.k * c.oh() * c.ow();
  const std::vector<double> x = noise(each * batch, 1);
  for (const Isa isa : harness::isas()) {
    c.n = batch;
    const auto all = harness::run_graph({{c.x(), x}, {c.weight()}, {{c.k}}}, conv2d(c), with_tiles(isa)).output;
    c.n = 1;
    for (const int64_t place : {int64_t{0}, batch / 2, batch - 1}) {
      const std::vector<double> picture(x.begin() + place * each, x.begin() + (place + 1) * each);
      const auto alone = harness::run_graph({{c.x(), picture}, {c.weight()}, {{c.k}}}, conv2d(c), with_tiles(isa)).output;
      CHECK(std::equal(alone.begin(), alone.end(), all.begin() + place * out));
    }
  }
}

}  // namespace

int main() {
  shapes();
  choice();
  same_bits_in_any_batch({1, 80, 13, 14, 70, 3, 3, {1, 1}, kOne}, 9);
  same_bits_in_any_batch({1, 64, 7, 7, 64, 3, 3, {1, 1}, kOne}, 40);
  verify_fused("winograd_split", {2, 64, 7, 9, 64, 3, 3, {1, 1}, kOne}, 2e-6);
  return check::result();
}
