// linear in bf16 against loops in double on rounded operands: tails of rows, inputs and outputs, bias, activation; the same
// bits on every instruction set, in both orders of tasks, for any number of threads, and for a row alone.
#include "harness.h"

using namespace thaw;
using harness::noise;

namespace {

struct Linear {
  int64_t rows, inputs, outputs;
  bool bias;
  const char* activation = "none";
  std::string text() const {
    return to_string({rows, inputs, outputs}) + (bias ? " with bias " : " ") + activation;
  }
};

/// Behind the layer comes an addition of zero: a last layer would not take bf16.
harness::Builder graph_of(const Linear& l) {
  return [l](Graph& graph, const std::vector<ValueId>& ids) {
    const Json attrs = Json::object().set("activation", l.activation);
    const std::vector<ValueId> operands(ids.begin(), ids.begin() + 3);
    const ValueId y = graph.nodes[graph.append("linear", "node", operands, attrs)].outputs[0];
    return graph.nodes[graph.append("add", "sum", {y, ids[3]}, Json::object())].outputs[0];
  };
}

std::vector<double> reference(const Linear& l, const std::vector<double>& x, const std::vector<double>& w,
                              const std::vector<double>& bias) {
  std::vector<double> y;
  for (int64_t r = 0; r < l.rows; ++r)
    for (int64_t o = 0; o < l.outputs; ++o) {
      double sum = l.bias ? bias[static_cast<size_t>(o)] : 0;
      for (int64_t k = 0; k < l.inputs; ++k)
        sum += x[static_cast<size_t>(r * l.inputs + k)] * w[static_cast<size_t>(o * l.inputs + k)];
      y.push_back(l.activation == std::string("relu") ? std::max(sum, 0.0) : sum);
    }
  return y;
}

std::vector<double> run(const Linear& l, const std::vector<double>& x, const std::vector<double>& w, harness::Setup setup) {
  harness::Operand bias{{l.outputs}};
  bias.absent = !l.bias;
  const harness::Operand zero{{1}, {0.0}};
  return harness::run_graph({{{l.rows, l.inputs}, x}, {{l.outputs, l.inputs}, w}, bias, zero}, graph_of(l), setup).output;
}

void verify(const Linear& l) {
  // Not rounded: the layer does that.
  const std::vector<double> x = noise(l.rows * l.inputs, 1), w = noise(l.outputs * l.inputs, 2);
  const std::vector<double> want = reference(l, harness::in_bf16(x), harness::in_bf16(w), noise(l.outputs, 3));
  std::vector<double> first;
  for (const Isa isa : harness::isas()) {
    harness::Setup setup{.isa = isa, .gradients = false, .bf16 = true};
    const std::vector<double> got = run(l, x, w, setup);
    harness::expect_close(got, want, 3e-6, std::string(isa_name(isa)) + " linear " + l.text());
    if (first.empty()) first = got;
    CHECK(got == first);
    for (const int threads : {2, 3}) {
      setup.threads = threads, setup.backwards = !setup.backwards;
      CHECK(run(l, x, w, setup) == got);
    }
    setup.threads = 1;
    const Linear one{1, l.inputs, l.outputs, l.bias, l.activation};
    const std::vector<double> last(x.end() - l.inputs, x.end());
    CHECK(std::equal(first.end() - l.outputs, first.end(), run(one, last, w, setup).begin()));
  }
}

}  // namespace

int main() {
  for (const bool bias : {false, true})
    for (const int64_t rows : {1, 3, 16, 17, 33, 300})
      for (const int64_t inputs : {1, 16, 31, 32, 100})
        for (const int64_t outputs : {1, 17, 32, 70}) verify({rows, inputs, outputs, bias, bias ? "relu" : "none"});
  verify({5, 1030, 600, true});
  verify({700, 96, 384, true, "relu"});
  return check::result();
}
