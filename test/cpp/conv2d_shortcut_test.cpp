// Two convolutions whose results are added, as one node: against loops in double in fp32 and bf16, the same bits in
// both orders of tasks, for any number of threads and pictures, and in bf16 on every instruction set.
#include "conv2d_reference.h"

using namespace thaw;
using conv2d_reference::Conv;
using harness::noise;

namespace {

struct Case {
  Conv first, last;  // in the order of the graph
  bool relu = true;
  bool fp32 = true;    // false: the 3x3 may be Winograd's there
  bool joined = true, joined_bf16 = true;
};

Conv of_pictures(Conv c, int64_t pictures) {
  c.n = pictures;
  return c;
}

harness::Builder sum_of(const Case& c) {
  return [c](Graph& graph, const std::vector<ValueId>& ids) {
    const auto append = [&](const char* op, const char* name, std::vector<ValueId> inputs, Json attrs) {
      return graph.nodes[graph.append(op, name, std::move(inputs), std::move(attrs))].outputs[0];
    };
    const ValueId first = append("conv2d", "first", {ids[0], ids[1], ids[2]}, c.first.attrs());
    const ValueId last = append("conv2d", "last", {ids[3], ids[4], ids[5]}, c.last.attrs());
    const ValueId sum = append("add", "sum", {first, last}, Json::object());
    return c.relu ? append("relu", "relu", {sum}, Json::object()) : sum;
  };
}

std::vector<harness::Operand> operands_of(const Case& c, bool bf16) {
  std::vector<harness::Operand> operands;
  for (const Conv* conv : {&c.first, &c.last}) {
    const uint64_t seed = operands.size() + 1;
    const auto stored = [&](std::vector<double> data) { return bf16 ? harness::in_bf16(data) : data; };
    operands.push_back({conv->x(), stored(noise(count(conv->x()), seed))});
    operands.push_back({conv->weight(), stored(noise(count(conv->weight()), seed + 1))});
    operands.push_back({{conv->k}, noise(conv->k, seed + 2), DType::f32, !conv->bias});
  }
  return operands;
}

std::vector<double> expected(const Case& c, const std::vector<harness::Operand>& o) {
  const std::vector<double> none(static_cast<size_t>(count(c.first.y())), 0.0);
  std::vector<double> y = conv2d_reference::reference(c.first, o[0].data, o[1].data, o[2].data, none).y;
  const std::vector<double> other = conv2d_reference::reference(c.last, o[3].data, o[4].data, o[5].data, none).y;
  for (size_t i = 0; i < y.size(); ++i) y[i] = c.relu ? std::max(y[i] + other[i], 0.0) : y[i] + other[i];
  return y;
}

/// A batch of one picture gives the first picture of a larger one.
void verify_alone(const Case& c, const harness::Setup& setup, const std::vector<double>& all) {
  Case one = c;
  one.first = of_pictures(c.first, 1), one.last = of_pictures(c.last, 1);
  std::vector<harness::Operand> operands = operands_of(c, setup.bf16);
  for (const size_t i : {0, 3}) {
    operands[i].shape[0] = 1;
    operands[i].data.resize(static_cast<size_t>(count(operands[i].shape)));
  }
  const std::vector<double> alone = harness::run_graph(operands, sum_of(one), setup).output;
  CHECK(std::equal(alone.begin(), alone.end(), all.begin()));
}

/// Gradients go through both, as they stand.
void verify_training(const Case& c, harness::Setup setup) {
  setup.gradients = true, setup.joined = false;
  const std::vector<harness::Operand> operands = operands_of(c, setup.bf16);
  const size_t apart = harness::run_graph(operands, sum_of(c), setup).nodes;
  setup.joined = true;
  CHECK(harness::run_graph(operands, sum_of(c), setup).nodes == apart);
}

void verify(const Case& c, bool bf16) {
  const std::vector<harness::Operand> operands = operands_of(c, bf16);
  const std::vector<double> want = expected(c, operands);
  std::vector<double> first;
  for (const Isa isa : bf16 ? harness::isas() : harness::isas(false)) {
    harness::Setup setup{isa, true, false, false, true, bf16};
    const size_t apart = harness::run_graph(operands, sum_of(c), setup).nodes;
    setup.joined = true;
    const harness::Result got = harness::run_graph(operands, sum_of(c), setup);
    const std::string where =
        std::string(isa_name(isa)) + (bf16 ? " bf16 " : " ") + c.first.text() + " + " + c.last.text();
    harness::expect_close(got.output, want, bf16 ? harness::kBf16Error : 3e-6, where);
    CHECK(apart - got.nodes == ((bf16 ? c.joined_bf16 : c.joined) && isa != Isa::cuda ? 1 : 0));
    if (first.empty() || !bf16) first = got.output;
    CHECK(got.output == first);
    verify_alone(c, setup, got.output);
    verify_training(c, setup);
    for (const int threads : {2, 3}) {
      setup.threads = threads, setup.backwards = !setup.backwards;
      CHECK(harness::run_graph(operands, sum_of(c), setup).output == got.output);
    }
  }
}

void verify(const Case& c) {
  if (c.fp32) verify(c, false);
  verify(c, true);
}

}  // namespace

int main() {
  const std::vector<int64_t> one = {1, 1, 1, 1}, two = {2, 2}, none = {0, 0, 0, 0}, dense = {1, 1};
  // A block's last 1x1, at strides 1 and 2, odd sizes, channels beside whole blocks.
  verify({{3, 64, 9, 10, 70, 1, 1}, {3, 40, 9, 10, 70, 1, 1}});
  verify({{3, 64, 9, 10, 70, 1, 1}, {3, 33, 17, 20, 70, 1, 1, two}});
  verify({{16, 96, 7, 7, 64, 1, 1}, {16, 64, 14, 13, 64, 1, 1, two}, false});
  verify({{5, 20, 3, 5, 33, 1, 1}, {5, 7, 7, 13, 33, 1, 1, {3, 3}}});
  verify({{1, 32, 40, 41, 40, 1, 1}, {1, 36, 40, 41, 40, 1, 1}, false});
  verify({{2, 24, 1, 1, 32, 1, 1}, {2, 40, 2, 2, 32, 1, 1, two}});
  // More channels than are summed at a time in fp32.
  verify({{2, 600, 5, 6, 40, 1, 1}, {2, 1050, 9, 11, 40, 1, 1, two}});
  // A block's last 3x3; the shortcut before it in the graph; without biases.
  verify({{3, 32, 7, 7, 48, 3, 3, dense, one}, {3, 24, 13, 14, 48, 1, 1, two}, true, false});
  verify({{16, 32, 4, 4, 48, 3, 3, dense, one}, {16, 24, 4, 4, 48, 1, 1}, true, false});
  verify({{3, 24, 30, 30, 48, 1, 1, two}, {3, 32, 15, 15, 48, 3, 3, dense, {2, 2, 2, 2}, two}});
  verify({{2, 20, 15, 15, 40, 3, 3, two, one}, {2, 20, 15, 15, 40, 1, 1, two}});
  verify({{2, 20, 15, 15, 40, 1, 1, two, none, dense, 1, false}, {2, 20, 8, 8, 40, 1, 1, dense, none, dense, 1, false}});
  verify({{2, 20, 15, 15, 40, 1, 1, two, none, dense, 1, false}, {2, 20, 8, 8, 40, 1, 1}});
  // Groups, and no 1x1 among the two.
  verify({{2, 64, 8, 8, 64, 1, 1, dense, none, dense, 2}, {2, 64, 8, 8, 64, 1, 1}, true, true, false, false});
  verify({{2, 20, 15, 15, 40, 3, 3, two, one}, {2, 20, 15, 15, 40, 3, 3, two, one}, true, true, false, false});
  // Weights that leave the first-level cache only together.
  verify({{2, 256, 4, 5, 40, 1, 1}, {2, 290, 7, 9, 40, 1, 1, two}, true, true, true, false});
  return check::result();
}
