// conv2d, forward and both gradients, against loops in double: every instruction set, many shapes, both orders of
// tasks; and the bits of a picture do not depend on the batch around it.
#include "conv2d_reference.h"

using namespace conv2d_reference;

namespace {

/// A picture alone, and the same picture last in a batch.
void same_bits_in_any_batch(Conv c, int64_t batch, bool bf16 = false) {
  const int64_t each = c.c * c.h * c.w, out = c.k * c.oh() * c.ow();
  const std::vector<double> x = noise(each * batch, 1);
  for (const Isa isa : harness::isas()) {
    const harness::Setup setup{isa, true, false, false, false, bf16};
    c.n = batch;
    const auto all = harness::run_graph({{c.x(), x}, {c.weight()}, {{c.k}}}, conv2d(c), setup).output;
    c.n = 1;
    const std::vector<double> last(x.end() - each, x.end());
    // The same weights: noise follows from the operand's place and size.
    const auto alone = harness::run_graph({{c.x(), last}, {c.weight()}, {{c.k}}}, conv2d(c), setup).output;
    CHECK(std::equal(alone.begin(), alone.end(), all.end() - out));
  }
}

void channels() {
  for (const int64_t in : {1, 3, 16, 24, 58, 116})
    for (const int64_t out : {1, 16, 24, 58}) {
      verify({2, in, 6, 7, out, 1, 1});
      verify({1, in, 5, 9, out, 3, 3, {1, 1}, {1, 1, 1, 1}});
    }
  verify({1, 58, 9, 9, 116, 3, 3, {2, 2}, {1, 1, 1, 1}});
  verify({2, 116, 4, 4, 116, 1, 1, {2, 2}});
  verify({1, 300, 15, 15, 70, 1, 1});
  verify({1, 130, 14, 14, 64, 3, 3, {1, 1}, {1, 1, 1, 1}});
}

void strides_and_padding() {
  verify({2, 3, 37, 37, 20, 7, 7, {2, 2}, {3, 3, 3, 3}});
  verify({1, 3, 47, 39, 16, 11, 11, {4, 4}, {2, 2, 2, 2}});
  verify({1, 17, 13, 12, 33, 3, 3, {2, 1}, {1, 0, 2, 1}});
  verify({1, 17, 13, 12, 33, 3, 2, {1, 3}, {0, 1, 1, 0}});
  verify({1, 5, 16, 16, 7, 5, 5, {3, 3}, {4, 4, 4, 4}});
  verify({1, 8, 14, 17, 8, 3, 3, {1, 1}, {2, 2, 2, 2}, {2, 2}});
  verify({1, 8, 20, 17, 8, 3, 3, {2, 2}, {2, 3, 4, 1}, {3, 2}});
  verify({1, 20, 10, 10, 20, 3, 3});
  verify({2, 20, 5, 5, 20, 5, 5});
  verify({1, 4, 3, 3, 4, 2, 2, {4, 4}, {1, 1, 1, 1}});
  verify({1, 4, 2, 3, 6, 1, 1, {3, 3}});
  verify({2, 4, 1, 30, 6, 1, 9, {1, 1}, {0, 4, 0, 4}});
}

/// Read as they come, row by row.
void few_channels() {
  verify({2, 3, 9, 9, 70, 3, 3, {3, 3}, {1, 1, 1, 1}});
  verify({1, 4, 20, 37, 8, 3, 3, {2, 2}, {2, 3, 4, 1}, {3, 2}});
  verify({1, 2, 3, 4, 20, 3, 3, {1, 1}, {7, 8, 5, 6}});
  verify({3, 1, 50, 30, 33, 5, 4, {1, 4}, {0, 3, 2, 0}, {2, 1}, 1, false});
  verify({2, 4, 70, 19, 40, 1, 1, {2, 3}});
}

void small_pictures() {
  for (const int64_t size : {1, 2, 4, 7, 8})
    for (const int64_t pictures : {1, 3, 5, 9}) {
      verify({pictures, 20, size, size, 36, 1, 1});
      verify({pictures, 20, size, size, 36, 3, 3, {1, 1}, {1, 1, 1, 1}});
    }
  verify({7, 20, 7, 7, 36, 3, 3, {2, 2}, {1, 1, 1, 1}});
  verify({3, 20, 8, 8, 36, 3, 3, {2, 2}, {1, 1, 1, 1}});
}

void groups() {
  const std::vector<int64_t> one = {1, 1, 1, 1};
  verify({2, 24, 9, 9, 24, 3, 3, {1, 1}, one, {1, 1}, 24});
  verify({2, 58, 19, 23, 58, 3, 3, {2, 2}, one, {1, 1}, 58});
  verify({1, 16, 13, 29, 16, 5, 5, {1, 2}, {2, 2, 2, 2}, {1, 1}, 16});
  verify({1, 20, 12, 12, 20, 3, 3, {1, 1}, {2, 2, 2, 2}, {2, 2}, 20, false});
  verify({1, 6, 2, 2, 6, 3, 3, {1, 1}, one, {1, 1}, 6});
  verify({1, 32, 8, 9, 32, 3, 3, {1, 1}, one, {1, 1}, 8});
  verify({1, 64, 8, 9, 64, 3, 3, {2, 2}, one, {1, 1}, 2});
  verify({1, 96, 7, 7, 48, 1, 1, {1, 1}, {0, 0, 0, 0}, {1, 1}, 3});
  verify({2, 58, 6, 6, 58, 1, 1, {1, 1}, {0, 0, 0, 0}, {1, 1}, 2});
  verify({1, 12, 6, 6, 24, 3, 3, {1, 1}, one, {1, 1}, 12});
  verify({1, 24, 6, 6, 24, 3, 3, {1, 1}, one, {1, 1}, 3});
  verify({1, 21, 6, 6, 28, 3, 3, {1, 1}, one, {1, 1}, 7});
  verify({1, 96, 6, 6, 96, 3, 3, {1, 1}, one, {1, 1}, 3});
}

void batches() {
  same_bits_in_any_batch({1, 20, 7, 7, 36, 3, 3, {1, 1}, {1, 1, 1, 1}}, 5);
  same_bits_in_any_batch({1, 20, 1, 1, 36, 1, 1}, 33);
  same_bits_in_any_batch({1, 3, 31, 29, 20, 7, 7, {2, 2}, {3, 3, 3, 3}}, 3);
  same_bits_in_any_batch({1, 600, 7, 7, 48, 1, 1}, 9);
  same_bits_in_any_batch({1, 24, 9, 9, 24, 3, 3, {1, 1}, {1, 1, 1, 1}, {1, 1}, 24}, 4);
}

/// Kernels of three and five with and without room for lines outside at either end, and kernels that have no loop of
/// their own; rows from narrower than the kernel to several tiles.
void depthwise() {
  std::vector<Conv> cases;
  for (const int64_t kernel : {3, 5})
    for (const int64_t stride : {1, 2})
      for (const int64_t width : {1, 2, 3, 4, 7, 8, 9, 17, 30}) {
        const int64_t p = kernel / 2;
        cases.push_back({1, 40, 6, width, 40, kernel, kernel, {stride, stride}, {p, p, p, p}, {1, 1}, 40});
        cases.push_back({2, 17, 7, width + kernel, 17, kernel, kernel, {stride, stride}, {0, 0, 0, 0}, {1, 1}, 17});
        cases.push_back({1, 33, 8, width + 3, 33, kernel, kernel, {stride, stride}, {0, 0, p, p}, {1, 1}, 33});
      }
  cases.push_back({1, 48, 9, 11, 48, 3, 3, {1, 1}, {2, 2, 2, 2}, {1, 1}, 48});
  cases.push_back({1, 20, 12, 12, 20, 3, 3, {1, 1}, {2, 2, 2, 2}, {2, 2}, 20, false});
  cases.push_back({1, 40, 13, 29, 40, 5, 5, {1, 2}, {2, 2, 2, 2}, {1, 1}, 40});
  cases.push_back({2, 32, 9, 9, 32, 7, 7, {1, 1}, {3, 3, 3, 3}, {1, 1}, 32});
  cases.push_back({1, 34, 10, 10, 34, 3, 3, {3, 3}, {1, 1, 1, 1}, {1, 1}, 34});
  cases.push_back({1, 6, 2, 2, 6, 2, 3, {1, 1}, {1, 1, 1, 1}, {1, 1}, 6});
  for (const Conv& c : cases) {
    verify(c);
    verify_bf16(c);
  }
  same_bits_in_any_batch({1, 70, 9, 9, 70, 3, 3, {1, 1}, {1, 1, 1, 1}, {1, 1}, 70}, 4, true);
}

/// Residual and activation inside a depthwise convolution in bf16: one rounding, behind the activation.
void fused_bf16(const Conv& c, const char* kind, Isa isa) {
  const auto build = [&](Graph& graph, const std::vector<ValueId>& ids) {
    const Json attrs = c.attrs().set("activation", kind).set("alpha", 0.1);
    return graph.nodes[graph.append("conv2d", "node", ids, attrs)].outputs[0];
  };
  const std::vector<double> x = harness::in_bf16(halved(noise(count(c.x()), 1), 4));
  const std::vector<double> residual = harness::in_bf16(noise(count(c.y()), 4));
  std::vector<double> want = reference(c, x, harness::in_bf16(noise(count(c.weight()), 2)), noise(c.k, 3),
                                       std::vector<double>(residual.size(), 0.0)).y;
  for (size_t i = 0; i < want.size(); ++i) want[i] = activated(kind, want[i] + residual[i]);
  const auto got = harness::run_graph({{c.x(), x}, {c.weight()}, {{c.k}}, {c.y()}}, build,
                                      {isa, true, false, false, false, true});
  const std::string where = std::string(isa_name(isa)) + " bf16 " + kind + " " + c.text();
  harness::expect_close(got.output, want, harness::kBf16Error, where);
  // All but a few at the border between two numbers of bf16.
  const std::vector<double> once = harness::in_bf16(want);
  size_t other = 0;
  for (size_t i = 0; i < once.size(); ++i) other += once[i] != got.output[i];
  CHECK(other * 500 <= once.size());
}

/// Residual and activation inside the convolution, dense and depthwise, and channels summed in several parts.
void fused() {
  const char* const kinds[] = {"none",         "relu", "relu6",   "leaky_relu", "hard_swish",
                               "hard_sigmoid", "silu", "sigmoid", "tanh",       "gelu"};
  for (const Conv& c : {Conv{2, 40, 5, 6, 20, 3, 3, {1, 1}, {1, 1, 1, 1}}, Conv{1, 600, 5, 6, 40, 1, 1},
                        Conv{2, 3, 17, 31, 40, 5, 5, {2, 2}, {2, 2, 2, 2}},
                        Conv{1, 20, 9, 12, 20, 3, 3, {1, 1}, {1, 1, 1, 1}, {1, 1}, 20}})
    for (const char* kind : kinds)
      for (const Isa isa : harness::isas(false)) {
        const auto build = [&](Graph& graph, const std::vector<ValueId>& ids) {
          const Json attrs = c.attrs().set("activation", kind).set("alpha", 0.1);
          return graph.nodes[graph.append("conv2d", "node", ids, attrs)].outputs[0];
        };
        const std::vector<double> x = halved(noise(count(c.x()), 1), 4);
        const auto got =
            harness::run_graph({{c.x(), x}, {c.weight()}, {{c.k}}, {c.y()}}, build, {isa, true, false, false, false});
        const std::vector<double> residual = noise(count(c.y()), 4);
        std::vector<double> want =
            reference(c, x, noise(count(c.weight()), 2), noise(c.k, 3), std::vector<double>(residual.size(), 0.0)).y;
        for (size_t i = 0; i < want.size(); ++i) want[i] = activated(kind, want[i] + residual[i]);
        harness::expect_close(got.output, want, 3e-6, std::string(isa_name(isa)) + " " + kind + " " + c.text());
      }
  for (const char* kind : kinds)
    for (const Isa isa : harness::isas())
      fused_bf16({1, 40, 9, 12, 40, 3, 3, {1, 1}, {1, 1, 1, 1}, {1, 1}, 40}, kind, isa);
}

/// The gradient by x with another gradient added, and nothing where a relu gave nothing.
void joined_gradient(const Conv& c, bool bf16) {
  const auto numbers = [&](const Shape& shape, uint64_t seed) {
    return bf16 ? harness::in_bf16(noise(count(shape), seed)) : noise(count(shape), seed);
  };
  const std::vector<double> dy = numbers(c.y(), 1), w = numbers(c.weight(), 2), residual = numbers(c.x(), 3);
  std::vector<double> gate = numbers(c.x(), 4);
  std::vector<double> want = reference(c, residual, w, std::vector<double>(static_cast<size_t>(c.k)), dy).dx;
  for (size_t i = 0; i < want.size(); ++i) {
    gate[i] = std::max(gate[i], 0.0);
    want[i] = gate[i] > 0 ? want[i] + residual[i] : 0;
  }
  const auto build = [&](Graph& graph, const std::vector<ValueId>& ids) {
    const Json attrs = c.attrs().set("input_shape", c.x());
    return graph.nodes[graph.append("conv2d_backward_data", "node", ids, attrs)].outputs[0];
  };
  for (const Isa isa : harness::isas()) {
    const auto got = harness::run_graph({{c.y(), dy}, {c.weight(), w}, {c.x(), residual}, {c.x(), gate}}, build,
                                        {isa, true, false, false, false, bf16});
    const std::string where = std::string(isa_name(isa)) + (bf16 ? " bf16" : "") + " joined gradient " + c.text();
    harness::expect_close(got.output, want, bf16 ? harness::kBf16Error : 3e-6, where);
  }
}

/// conv2d(relu(x)) + relu(x): the sum of both gradients and the relu's backward join the gradient by the input.
void joined_by_passes() {
  const Conv c{2, 20, 6, 5, 20, 3, 3, {1, 1}, {1, 1, 1, 1}};
  const auto build = [&](Graph& graph, const std::vector<ValueId>& ids) {
    const ValueId y = graph.nodes[graph.append("relu", "relu", {ids[0]}, Json::object())].outputs[0];
    const ValueId z = graph.nodes[graph.append("conv2d", "conv", {y, ids[1]}, c.attrs())].outputs[0];
    return graph.nodes[graph.append("add", "sum", {z, y}, Json::object())].outputs[0];
  };
  const harness::Setup apart{Isa::scalar, true, true, false, false}, joined{Isa::scalar, true, true, false, true};
  const auto want = harness::run_graph({{c.x()}, {c.weight()}}, build, apart);
  const auto got = harness::run_graph({{c.x()}, {c.weight()}}, build, joined);
  harness::expect_close(got.output, want.output, 1e-6, "joined output");
  for (size_t i : {0, 1}) harness::expect_close(got.gradients[i], want.gradients[i], 1e-6, "joined gradient");
}

void joined() {
  for (const bool bf16 : {false, true})
    for (const Conv& c : {Conv{2, 40, 5, 6, 20, 3, 3, {1, 1}, {1, 1, 1, 1}}, Conv{1, 40, 9, 8, 70, 1, 1, {2, 2}},
                          Conv{3, 600, 5, 6, 40, 1, 1}, Conv{1, 33, 9, 9, 20, 3, 3, {2, 2}, {1, 1, 1, 1}},
                          Conv{2, 40, 9, 12, 40, 3, 3, {2, 2}, {1, 1, 1, 1}, {1, 1}, 40},
                          Conv{2, 20, 9, 12, 20, 3, 3, {1, 1}, {1, 1, 1, 1}, {1, 1}, 20}})
      joined_gradient(c, bf16);
  joined_by_passes();
}

void folding() {
  const auto fold_weight = [](Graph& graph, const std::vector<ValueId>& ids) {
    return graph.nodes[graph.append("fold_batch_norm_weight", "node", ids, Json::object().set("eps", 0.5))].outputs[0];
  };
  const auto fold_bias = [](Graph& graph, const std::vector<ValueId>& ids) {
    return graph.nodes[graph.append("fold_batch_norm_bias", "node", ids, Json::object().set("eps", 0.5))].outputs[0];
  };
  const std::vector<double> variance = {0.5, 3.5};
  const harness::Setup setup{Isa::scalar, false, false, false, false};
  const auto weight = harness::run_graph({{{2, 1, 1, 2}, {1, 2, 3, 4}}, {{2}, {2, 4}}, {{2}, {9, 9}}, {{2}, variance}},
                                         fold_weight, setup);
  harness::expect_close(weight.output, {2, 4, 6, 8}, 1e-7, "folded weight");
  const auto bias = harness::run_graph({{{2}, {1, 2}}, {{2}, {2, 4}}, {{2}, {10, 20}}, {{2}, {3, 5}}, {{2}, variance}},
                                       fold_bias, setup);
  harness::expect_close(bias.output, {6, 14}, 1e-7, "folded bias");
  harness::Operand absent{{2}};
  absent.absent = true;
  const auto bare = harness::run_graph({absent, absent, absent, {{2}, {3, 5}}, {{2}, variance}}, fold_bias, setup);
  harness::expect_close(bare.output, {-3, -2.5}, 1e-7, "folded bias without operands");
}

void errors() {
  const auto call = [](Conv c, const Json& attrs) {
    const auto build = [&](Graph& graph, const std::vector<ValueId>& ids) {
      return graph.nodes[graph.append("conv2d", "node", ids, attrs)].outputs[0];
    };
    harness::run_graph({{c.x()}, {c.weight()}}, build, {Isa::scalar, true, false, false, false});
  };
  const Conv c{1, 4, 5, 5, 6, 3, 3};
  CHECK_THROWS("ERR_SHAPE", call(c, Json::object().set("groups", 4)));
  CHECK_THROWS("ERR_SHAPE", call(c, Json::object().set("stride", Shape{0, 1})));
  CHECK_THROWS("ERR_SHAPE", call(c, Json::object().set("padding", Shape{1, 1})));
  CHECK_THROWS("ERR_SHAPE", call({1, 4, 2, 5, 6, 3, 3}, Json::object()));
}

}  // namespace

int main() {
  channels();
  strides_and_padding();
  few_channels();
  small_pictures();
  groups();
  batches();
  depthwise();
  fused();
  joined();
  folding();
  errors();
  return check::result();
}
