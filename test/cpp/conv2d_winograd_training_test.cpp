// Forward and both gradients of trained convolutions by Winograd, against loops in double: borders, partial tiles,
// channel tails, several groups, chunks and regions, what joins the gradient by x; and the bits depend neither on threads
// nor on the order of tasks.
#include "conv2d_reference.h"

using namespace conv2d_reference;

namespace {

const std::vector<int64_t> kOne = {1, 1, 1, 1};

// Relative to the largest number; direct sums are held to 3e-6.
constexpr double kError = 1e-5;

/// The kernel that a node of the convolution takes, given the shapes of its first two operands.
std::string kernel_of(const Conv& c, const char* op, const Shape& first, const Shape& second, const Json& attrs) {
  Program program;
  program.isa = Isa::scalar;
  program.mode = Mode::gradients;
  std::vector<ValueId> ids;
  for (const Shape& shape : {first, second}) {
    Value value;
    value.name = std::to_string(ids.size());
    value.shape = shape;
    value.role = shape == c.weight() ? Role::parameter : Role::input;
    value.trainable = true;
    ids.push_back(program.graph.add_value(value));
  }
  program.graph.append(op, "node", ids, attrs);
  select(program);
  return program.graph.nodes.back().attrs.at("kernel").as_string();
}

std::string by_data(const Conv& c) {
  return kernel_of(c, "conv2d_backward_data", c.y(), c.weight(), c.attrs().set("input_shape", c.x()));
}

std::string by_weights(const Conv& c) {
  return kernel_of(c, "conv2d_backward_weights", c.x(), c.y(), c.attrs().set("weight_shape", c.weight()));
}

void check_all(const Conv& c) {
  const std::vector<harness::Operand> operands = {{c.x()}, {c.weight()}, {{c.k}, {}, DType::f32, !c.bias}};
  const std::vector<double> x = noise(count(c.x()), 1), w = noise(count(c.weight()), 2), bias = noise(c.k, 3);
  const Expected want = reference(c, x, w, bias, noise(count(c.y()), 77));
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (!isa_usable(isa)) continue;
    harness::Setup setup{.isa = isa, .blocked = true, .gradients = true};
    const harness::Result got = harness::run_graph(operands, conv2d(c), setup);
    const std::string where = std::string(isa_name(isa)) + " " + c.text();
    harness::expect_close(got.output, want.y, kError, where);
    harness::expect_close(got.gradients[0], want.dx, kError, where + " dx");
    harness::expect_close(got.gradients[1], want.dweight, kError, where + " dweight");
    for (const int threads : {1, 2, 5}) {
      setup.threads = threads;
      setup.backwards = !setup.backwards;
      const harness::Result again = harness::run_graph(operands, conv2d(c), setup);
      CHECK(again.output == got.output && again.gradients == got.gradients);
    }
  }
}

void data() {
  for (const Conv& c : {Conv{2, 70, 8, 8, 66, 3, 3, {1, 1}, kOne}, Conv{1, 64, 13, 11, 80, 3, 3},
                        Conv{3, 66, 9, 12, 64, 3, 3, {1, 1}, {2, 0, 1, 2}, {1, 1}, 1, false},
                        Conv{1, 64, 7, 9, 65, 3, 3, {1, 1}, {4, 3, 2, 5}},
                        // Too large to be kept transformed.
                        Conv{2, 200, 8, 8, 190, 3, 3, {1, 1}, kOne}}) {
    CHECK(by_data(c) == "winograd");
    check_all(c);
  }
  CHECK(by_data({2, 64, 9, 9, 70, 3, 3, {2, 2}, kOne}) == "direct");
  CHECK(by_data({2, 48, 9, 9, 70, 3, 3, {1, 1}, kOne}) == "direct");
}

void weights() {
  for (const Conv& c : {Conv{1, 40, 24, 23, 36, 3, 3, {1, 1}, kOne},
                        Conv{9, 17, 8, 8, 50, 3, 3, {1, 1}, kOne},
                        Conv{2, 70, 19, 21, 40, 3, 3},
                        Conv{3, 33, 15, 14, 130, 3, 3, {1, 1}, {2, 0, 1, 2}, {1, 1}, 1, false},
                        // So many regions that a task makes its gradient at once.
                        Conv{11, 260, 7, 7, 200, 3, 3, {1, 1}, kOne}}) {
    CHECK(by_weights(c) == "winograd");
    check_all(c);
  }
  CHECK(by_weights({1, 40, 20, 20, 36, 3, 3, {1, 1}, kOne}) == "direct");
  CHECK(by_weights({9, 3, 20, 20, 64, 3, 3, {1, 1}, kOne}) == "direct");
  CHECK(by_weights({9, 40, 20, 20, 64, 3, 3, {1, 1}, kOne, {1, 1}, 4}) == "direct");
}

/// The gradient by x with another gradient added, and nothing where a relu gave nothing.
void joined(const Conv& c) {
  const std::vector<double> dy = noise(count(c.y()), 1), w = noise(count(c.weight()), 2);
  const std::vector<double> residual = noise(count(c.x()), 3);
  std::vector<double> gate = noise(count(c.x()), 4);
  std::vector<double> want = reference(c, residual, w, std::vector<double>(static_cast<size_t>(c.k)), dy).dx;
  for (size_t i = 0; i < want.size(); ++i) {
    gate[i] = std::max(gate[i], 0.0);
    want[i] = gate[i] > 0 ? want[i] + residual[i] : 0;
  }
  const auto build = [&](Graph& graph, const std::vector<ValueId>& ids) {
    const Json attrs = c.attrs().set("input_shape", c.x());
    return graph.nodes[graph.append("conv2d_backward_data", "node", ids, attrs)].outputs[0];
  };
  CHECK(by_data(c) == "winograd");
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (!isa_usable(isa)) continue;
    const auto got = harness::run_graph({{c.y(), dy}, {c.weight(), w}, {c.x(), residual}, {c.x(), gate}}, build,
                                        {.isa = isa, .blocked = true, .gradients = false});
    harness::expect_close(got.output, want, kError, std::string(isa_name(isa)) + " joined gradient " + c.text());
  }
}

}  // namespace

int main() {
  data();
  weights();
  joined({2, 70, 9, 10, 66, 3, 3, {1, 1}, kOne});
  return check::result();
}
