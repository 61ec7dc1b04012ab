// Products, activations and broadcasting arithmetic: values against double references, gradients against their
// central differences, on every instruction set and in both layouts.
#include <algorithm>

#include "harness.h"
#include "ops/broadcast.h"

using namespace harness;

namespace {

using Data = std::vector<std::vector<double>>;

Json json(const char* text) { return Json::parse(text); }

// ---- products ---------------------------------------------------------------------------------------------------

void linear() {
  for (const int64_t rows : {1, 2, 3, 15, 17, 33}) {
    for (const int64_t n : {1, 3, 16, 17, 33, 130}) {
      for (const int64_t k : {1, 7, 33, 300}) {
        if (rows * n * k > 33 * 17 * 33 && !(rows == 3 && n <= 33)) continue;  // differences are slow
        Case c{"linear", {{{rows, k}}, {{n, k}}, {{n}}}};
        c.reference = [=](const Data& d) {
          std::vector<double> y;
          for (int64_t r = 0; r < rows; ++r) {
            for (int64_t o = 0; o < n; ++o) {
              double sum = d[2][o];
              for (int64_t i = 0; i < k; ++i) sum += d[0][r * k + i] * d[1][o * k + i];
              y.push_back(sum);
            }
          }
          return y;
        };
        c.gradients = rows * n * k < 8000;
        VERIFY(c);
      }
    }
  }
}

/// A row has the same bits alone and among others.
void linear_rows_alone() {
  const int64_t rows = 37, k = 530, n = 70;
  const std::vector<double> x = noise(rows * k, 5);
  const Builder build = one("linear");
  for (const Isa isa : harness::isas(false)) {
    const Setup setup{isa, false, false, false, false};
    const std::vector<double> all = run_graph({{{rows, k}, x}, {{n, k}}, {{n}}}, build, setup).output;
    for (const int64_t part : {1, 2, 5, 14, 16}) {
      const std::vector<double> some(x.end() - part * k, x.end());
      const std::vector<double> y = run_graph({{{part, k}, some}, {{n, k}}, {{n}}}, build, setup).output;
      CHECK(std::equal(y.begin(), y.end(), all.end() - part * n));
    }
  }
}

double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }
double gelu_tanh(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

void linear_with_activation() {
  const std::vector<std::pair<const char*, Json>> kinds = {{"relu", Json::object()},
                                                          {"gelu", json(R"({"approximate": "tanh"})")}};
  for (const auto& [kind, attrs] : kinds) {
    const std::string name = kind;
    const Json given = attrs;
    const Builder build = [=](Graph& g, const std::vector<ValueId>& v) {
      const ValueId y = g.nodes[g.append("linear", "y", v, Json::object())].outputs[0];
      return g.nodes[g.append(name, "a", {y}, given)].outputs[0];
    };
    const std::vector<Operand> operands = {{{19, 40}}, {{35, 40}}, {{35}}};
    for (const Isa isa : harness::isas(false)) {
      const Result fused = run_graph(operands, build, {isa, false, false, false, true});
      const Result apart = run_graph(operands, build, {isa, false, false, false, false});
      CHECK(fused.output == apart.output);
    }
  }
}

std::vector<double> matmul_reference(const Data& d, Shape a, Shape b, bool ta, bool tb) {
  const size_t ra = a.size(), rb = b.size();
  const int64_t m = ta ? a[ra - 1] : a[ra - 2], k = ta ? a[ra - 2] : a[ra - 1], n = tb ? b[rb - 2] : b[rb - 1];
  const Shape batch_a(a.begin(), a.end() - 2), batch_b(b.begin(), b.end() - 2);
  Shape batch;
  broadcast_shapes(batch_a, batch_b, batch);
  const Shape sa = broadcast_strides(batch_a, batch), sb = broadcast_strides(batch_b, batch);
  std::vector<double> y;
  for (int64_t i = 0; i < count(batch); ++i) {
    int64_t rest = i, at_a = 0, at_b = 0;
    for (size_t dim = batch.size(); dim-- > 0; rest /= batch[dim]) {
      at_a += rest % batch[dim] * sa[dim];
      at_b += rest % batch[dim] * sb[dim];
    }
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t c = 0; c < n; ++c) {
        double sum = 0;
        for (int64_t j = 0; j < k; ++j) {
          sum += d[0][at_a * m * k + (ta ? j * m + r : r * k + j)] * d[1][at_b * k * n + (tb ? c * k + j : j * n + c)];
        }
        y.push_back(sum);
      }
    }
  }
  return y;
}

void matmul() {
  struct Shapes {
    Shape a, b;
    bool ta, tb;
  };
  const Shapes all[] = {{{3, 5}, {5, 7}, false, false},       {{5, 3}, {5, 17}, true, false},
                        {{15, 16}, {33, 16}, false, true},    {{17, 3}, {33, 17}, true, true},
                        {{2, 3, 4}, {4, 5}, false, false},    {{2, 3, 4}, {5, 4}, false, true},
                        {{2, 4, 3}, {4, 5}, true, false},     {{2, 1, 3, 4}, {5, 4, 6}, false, false},
                        {{3, 4}, {2, 4, 5}, false, false},    {{2, 3, 4}, {2, 5, 4}, false, true},
                        {{1, 3, 4}, {2, 4, 5}, false, false}, {{2, 4, 3}, {1, 5, 4}, true, true}};
  for (const Shapes& s : all) {
    Case c{"matmul", {{s.a}, {s.b}}};
    c.attrs.set("transpose_a", s.ta).set("transpose_b", s.tb);
    c.reference = [=](const Data& d) { return matmul_reference(d, s.a, s.b, s.ta, s.tb); };
    VERIFY(c);
  }
}

// ---- elementwise ------------------------------------------------------------------------------------------------

template <class F>
Reference each(F f) {
  return [=](const Data& d) {
    std::vector<double> y;
    for (double x : d[0]) y.push_back(f(x));
    return y;
  };
}

void activations() {
  auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  const std::vector<std::pair<const char*, Reference>> all = {
      {"relu", each([](double x) { return std::max(x, 0.0); })},
      {"relu6", each([](double x) { return std::min(std::max(x, 0.0), 6.0); })},
      {"leaky_relu", each([](double x) { return x > 0 ? x : 0.2 * x; })},
      {"hard_swish", each([](double x) { return x * std::min(std::max(x + 3, 0.0), 6.0) / 6; })},
      {"hard_sigmoid", each([](double x) { return std::min(std::max(x + 3, 0.0), 6.0) / 6; })},
      {"silu", each([=](double x) { return x * sigmoid(x); })},
      {"sigmoid", each(sigmoid)},
      {"tanh", each([](double x) { return std::tanh(x); })},
      {"gelu", each(gelu)}};
  for (const auto& [name, reference] : all) {
    for (const Shape& shape : {Shape{1}, Shape{17}, Shape{2, 24, 3, 5}, Shape{2, 40, 19, 20}, Shape{5, 3333}}) {
      Case c{name, {{shape}}};
      c.attrs.set("alpha", 0.2);
      c.reference = reference;
      c.operands[0].data = noise(count(shape), 3);
      for (double& x : c.operands[0].data) x = static_cast<float>(x * 4);
      c.gradients = count(shape) < 2000;
      VERIFY(c);
    }
  }
  Case c{"gelu", {{{33}}}, json(R"({"approximate": "tanh"})"), each(gelu_tanh)};
  VERIFY(c);
}

std::vector<double> combined(const Data& d, const Shape& a, const Shape& b, bool multiply) {
  Shape out;
  broadcast_shapes(a, b, out);
  const Shape sa = broadcast_strides(a, out), sb = broadcast_strides(b, out);
  std::vector<double> y;
  for (int64_t i = 0; i < count(out); ++i) {
    int64_t rest = i, ia = 0, ib = 0;
    for (size_t dim = out.size(); dim-- > 0; rest /= out[dim]) {
      ia += rest % out[dim] * sa[dim];
      ib += rest % out[dim] * sb[dim];
    }
    y.push_back(multiply ? d[0][ia] * d[1][ib] : d[0][ia] + d[1][ib]);
  }
  return y;
}

void arithmetic() {
  const std::pair<Shape, Shape> all[] = {
      {{33}, {33}},           {{}, {}},                       {{3, 5}, {5}},          {{3, 1}, {1, 17}},
      {{2, 3, 4}, {3, 1}},    {{2, 17, 3, 4}, {2, 17, 3, 4}}, {{2, 17, 3, 4}, {2, 17, 1, 1}},
      {{2, 24, 3, 4}, {24, 1, 1}}, {{2, 24, 3, 4}, {2, 1, 3, 4}},  {{2, 3, 3, 4}, {}},
      {{1, 16, 2, 2}, {3, 1, 2, 2}},
      {{2, 1, 3, 3}, {2, 20, 1, 3}}, {{2, 5, 3, 4}, {4}},     {{2, 5, 3, 4}, {2, 1, 2, 5, 3, 4}},
      {{1, 3, 1, 1}, {2, 3, 5, 5}}};
  for (const auto& [a, b] : all) {
    for (const bool multiply : {false, true}) {
      const Shape x = a, y = b;
      Case c{multiply ? "multiply" : "add", {{x}, {y}}};
      c.reference = [=](const Data& d) { return combined(d, x, y, multiply); };
      VERIFY(c);
    }
  }
  const std::pair<Shape, Shape> larger[] = {
      {{40001}, {40001}}, {{2, 40, 19, 20}, {2, 40, 19, 20}}, {{3, 40, 19, 20}, {3, 40, 1, 1}}};
  for (const auto& [a, b] : larger) {
    const Shape x = a, y = b;
    Case large{"add", {{x}, {y}}};
    large.reference = [=](const Data& d) { return combined(d, x, y, false); };
    large.gradients = false;
    VERIFY(large);
  }
  Case scaled{"scale", {{{2, 17, 2, 2}}, {{}}}, json(R"({"factor": 0.5})")};
  scaled.reference = [](const Data& d) {
    std::vector<double> y;
    for (double x : d[0]) y.push_back(x * 0.5 * d[1][0]);
    return y;
  };
  VERIFY(scaled);
}

/// The gradient of a bias: all but the channels summed.
void channel_sums() {
  const Shape x = {3, 40, 11, 13};
  Case c{"sum_to", {{x}}, json(R"({"shape": [40], "channels": true})")};
  c.reference = [=](const Data& d) {
    std::vector<double> y(40, 0.0);
    for (size_t i = 0; i < d[0].size(); ++i) y[i / (11 * 13) % 40] += d[0][i];
    return y;
  };
  c.gradients = false;
  VERIFY(c);
}

void refusals() {
  Graph g;
  auto value = [&](const char* name, Shape shape, DType dtype = DType::f32) {
    Value v;
    v.name = name;
    v.shape = std::move(shape);
    v.dtype = dtype;
    return g.add_value(v);
  };
  const ValueId x = value("x", {4, 5}), w = value("w", {3, 6}), i = value("i", {4}, DType::i32), y = value("y", {2, 4});
  const std::string text = CHECK_THROWS("ERR_SHAPE", g.append("linear", "fc", {x, w}, Json::object()));
  CHECK(text == "expected an operand whose last dimension is 6 for linear 'fc', received [4, 5]");
  CHECK_THROWS("ERR_SHAPE", g.append("matmul", "m", {x, w}, Json::object()));
  CHECK_THROWS("ERR_SHAPE", g.append("add", "a", {x, y}, Json::object()));
  CHECK_THROWS("ERR_SHAPE", g.append("relu", "r", {i}, Json::object()));
  CHECK_THROWS("ERR_SHAPE", g.append("softmax", "s", {x}, json(R"({"axis": 2})")));
  CHECK_THROWS("ERR_SHAPE", g.append("cross_entropy", "c", {x, w}, Json::object()));
  CHECK_THROWS("ERR_SHAPE", g.append("sum_to", "t", {x}, json(R"({"shape": [3]})")));
  CHECK_THROWS("ERR_ATTRIBUTE", g.append("reduce", "u", {x}, json(R"({"kind": "median", "axes": [0]})")));
  CHECK_THROWS("ERR_GRAPH", g.append("linear", "f", {x}, Json::object()));
}

}  // namespace

int main() {
  linear();
  linear_rows_alone();
  linear_with_activation();
  matmul();
  activations();
  arithmetic();
  channel_sums();
  refusals();
  return check::result();
}
