// Pooling, batch norm and local response norm against references in double and their finite differences.
#include <algorithm>

#include "harness.h"

using namespace harness;

namespace {

using Numbers = std::vector<double>;
using Inputs = std::vector<Numbers>;

Json json(const char* text) { return Json::parse(text); }

Operand within(const Shape& shape, double low, double high, uint64_t seed) {
  Operand o{shape, noise(count(shape), seed), DType::f32, false};
  for (double& x : o.data) x = static_cast<float>(low + (high - low) * (0.5 + 0.5 * std::sin(3 * x)));
  return o;
}

/// Pictures without two equal numbers in a plane, that bf16 holds as they are: no maximum is shared.
Operand distinct(const Shape& shape) {
  Operand o{shape, {}};
  const int64_t pixels = shape[2] * shape[3];
  for (int64_t i = 0; i < count(shape); ++i) {
    const int64_t place = (i % pixels * 37 + i / pixels * 11) % 101;  // 101 is prime
    o.data.push_back(static_cast<double>(place - 50) / 16);
  }
  return o;
}

// ---- pooling ----------------------------------------------------------------------------------------------------

struct Axis {
  int64_t size, kernel, stride, before, after, dilation, out;
};

Axis axis_of(int64_t size, int64_t kernel, int64_t stride, int64_t before, int64_t after, int64_t dilation, bool ceil) {
  const int64_t room = size + before + after - dilation * (kernel - 1) - 1;
  const double steps = static_cast<double>(room) / static_cast<double>(stride);
  int64_t out = static_cast<int64_t>(ceil ? std::ceil(steps) : std::floor(steps)) + 1;
  if (ceil && (out - 1) * stride >= size + before) --out;
  return {size, kernel, stride, before, after, dilation, out};
}

struct Pooling {
  Shape x;
  Axis h, w;
};

Pooling pooling_of(const Shape& x, const Json& attrs) {
  const auto k = attrs.at("kernel").as_ints(), s = attrs.get("stride", k);
  const auto d = attrs.get("dilation", std::vector<int64_t>{1, 1});
  const auto p = attrs.get("padding", std::vector<int64_t>{0, 0, 0, 0});
  const bool ceil = attrs.get("ceil_mode", false);
  return {x, axis_of(x[2], k[0], s[0], p[0], p[2], d[0], ceil), axis_of(x[3], k[1], s[1], p[1], p[3], d[1], ceil)};
}

/// Calls body(plane, output row, output column, window of in-picture values) and stores what it returns.
template <class Body>
Numbers windows(const Pooling& p, const Numbers& x, const Body& body) {
  Numbers y;
  for (int64_t plane = 0; plane < p.x[0] * p.x[1]; ++plane)
    for (int64_t i = 0; i < p.h.out; ++i)
      for (int64_t j = 0; j < p.w.out; ++j) {
        Numbers window;
        for (int64_t a = 0; a < p.h.kernel; ++a)
          for (int64_t b = 0; b < p.w.kernel; ++b) {
            const int64_t r = i * p.h.stride - p.h.before + a * p.h.dilation;
            const int64_t c = j * p.w.stride - p.w.before + b * p.w.dilation;
            if (r >= 0 && r < p.h.size && c >= 0 && c < p.w.size)
              window.push_back(x[static_cast<size_t>((plane * p.h.size + r) * p.w.size + c)]);
          }
        y.push_back(body(i, j, window));
      }
  return y;
}

void test_windows(const Shape& shape, const char* text) {
  const Json attrs = json(text);
  const Pooling p = pooling_of(shape, attrs);
  VERIFY({"max_pool", {distinct(shape)}, attrs, [=](const Inputs& in) {
    return windows(p, in[0], [](int64_t, int64_t, const Numbers& w) { return *std::max_element(w.begin(), w.end()); });
  }, 0});
  if (attrs.find("dilation")) return;
  for (const bool counted : {true, false}) {
    Json average = attrs;
    average.set("count_include_pad", counted);
    VERIFY({"average_pool", {{shape, {}}}, average, [=](const Inputs& in) {
      return windows(p, in[0], [&](int64_t i, int64_t j, const Numbers& w) {
        const auto extent = [](const Axis& a, int64_t o) {
          const int64_t start = o * a.stride - a.before;
          return std::min(start + a.kernel, a.size + a.after) - start;
        };
        double sum = 0;
        for (const double v : w) sum += v;
        return sum / (counted ? static_cast<double>(extent(p.h, i) * extent(p.w, j)) : static_cast<double>(w.size()));
      });
    }});
  }
}

void test_adaptive(const Shape& x, int64_t oh, int64_t ow, const char* op) {
  const bool global = std::string(op) != "adaptive_average_pool", max = std::string(op) == "global_max_pool";
  const Json attrs = global ? Json::object() : Json::object().set("output_size", std::vector<int64_t>{oh, ow});
  VERIFY({op, {max ? distinct(x) : Operand{x}}, attrs, [=](const Inputs& in) {
    Numbers y;
    for (int64_t plane = 0; plane < x[0] * x[1]; ++plane)
      for (int64_t i = 0; i < oh; ++i)
        for (int64_t j = 0; j < ow; ++j) {
          double sum = 0, most = -INFINITY, n = 0;
          for (int64_t r = i * x[2] / oh; r < ((i + 1) * x[2] + oh - 1) / oh; ++r)
            for (int64_t c = j * x[3] / ow; c < ((j + 1) * x[3] + ow - 1) / ow; ++c, ++n) {
              const double v = in[0][static_cast<size_t>((plane * x[2] + r) * x[3] + c)];
              sum += v;
              most = std::max(most, v);
            }
          y.push_back(max ? most : sum / n);
        }
    return y;
  }});
}

void test_pools() {
  for (const int64_t c : {1, 3, 16, 24}) {
    test_windows({2, c, 7, 5}, R"({"kernel":[3,3],"stride":[2,2],"padding":[1,1,1,1]})");
    test_windows({1, c, 6, 9}, R"({"kernel":[3,3],"stride":[2,2],"ceil_mode":true})");
  }
  for (const int64_t c : {58, 116}) test_windows({1, c, 4, 3}, R"({"kernel":[2,2]})");
  test_windows({1, 3, 8, 5}, R"({"kernel":[3,2],"stride":[2,3],"padding":[1,0,0,1],"ceil_mode":true})");
  test_windows({1, 3, 4, 4}, R"({"kernel":[3,3],"stride":[2,2],"padding":[1,1,1,1],"ceil_mode":true})");
  test_windows({1, 17, 9, 8}, R"({"kernel":[3,2],"stride":[1,2],"padding":[1,1,1,1],"dilation":[2,3]})");
  for (const int64_t c : {1, 3, 16, 24, 58, 116}) {
    test_adaptive({2, c, 5, 3}, 1, 1, "global_average_pool");
    test_adaptive({1, c, 3, 5}, 1, 1, "global_max_pool");
  }
  test_adaptive({1, 3, 7, 5}, 3, 2, "adaptive_average_pool");
  test_adaptive({1, 24, 3, 4}, 6, 7, "adaptive_average_pool");
}

/// Ties, NaN and infinities, as torch.nn.functional.max_pool2d (1.13) gives them.
void test_max_pool_rules() {
  const double nan = NAN, inf = INFINITY;
  const Builder build = [](Graph& g, const std::vector<ValueId>& ids) {
    return g.nodes[g.append("max_pool", "node", ids, json(R"({"kernel":[2,2],"stride":[1,1]})"))].outputs[0];
  };
  for (const Isa isa : harness::isas()) {
    for (const bool bf16 : {false, true}) {
      const Setup setup{.isa = isa, .blocked = true, .bf16 = bf16};
      for (const double sign : {1.0, -1.0}) {
        const double odd = std::copysign(nan, sign);
        const Result r = run_graph({{{1, 1, 3, 3}, {1, odd, 3, 3, odd, 2, 2, -inf, inf}}}, build, setup);
        for (const double y : r.output) CHECK(std::isnan(y));
        for (size_t i = 0; i < 9; ++i) CHECK((r.gradients[0][i] != 0) == (i == 4));  // the last NaN takes it
      }
      const Result low = run_graph({{{1, 1, 2, 2}, {-inf, -inf, -inf, -inf}}}, build, setup);
      CHECK(low.output[0] == -inf && low.gradients[0][0] != 0 && low.gradients[0][1] == 0 && low.gradients[0][3] == 0);
      const Result tie = run_graph({{{1, 1, 2, 2}, {1, 2, 2, 2}}}, build, setup);
      CHECK(tie.gradients[0][1] != 0 && tie.gradients[0][2] == 0 && tie.gradients[0][3] == 0);
      const Result high = run_graph({{{1, 1, 2, 2}, {3e38, inf, -3e38, -1e-30}}}, build, setup);
      CHECK(high.output[0] == inf && high.gradients[0][1] != 0);
      const Result below = run_graph({{{1, 1, 2, 2}, {-3, -2, -4, -inf}}}, build, setup);
      CHECK(below.output[0] == -2 && below.gradients[0][1] != 0);
    }
  }
}

/// torch 1.13: avg_pool2d(arange(n), (1, 3), (1, 2), (0, 1), ceil_mode=True): the last window counts what lies inside
/// picture and padding only.
void test_average_pool_rules() {
  const std::vector<Numbers> expected = {{1 / 3.0, 1}, {1 / 3.0, 2, 1.5}, {1 / 3.0, 2, 7 / 3.0}, {1 / 3.0, 2, 4, 2.5}};
  for (size_t n = 3; n < 7; ++n) {
    Operand x{{1, 1, 1, static_cast<int64_t>(n)}, {}};
    for (size_t i = 0; i < n; ++i) x.data.push_back(static_cast<double>(i));
    const Result r = run_graph({x}, [](Graph& g, const std::vector<ValueId>& ids) {
      const Json attrs = json(R"({"kernel":[1,3],"stride":[1,2],"padding":[0,1,0,1],"ceil_mode":true})");
      return g.nodes[g.append("average_pool", "node", ids, attrs)].outputs[0];
    }, {.gradients = false});
    expect_close(r.output, expected[n - 3], 1e-7, "average_pool of torch");
  }
}

Shape inferred(const char* op, const Shape& x, const Json& attrs) {
  Graph graph;
  Value value;
  value.name = "x";
  value.shape = x;
  return graph.values[graph.nodes[graph.append(op, "node", {graph.add_value(value)}, attrs)].outputs[0]].shape;
}

void test_pool_shapes() {
  // torch: max_pool2d(x, 3, 2, 1, ceil_mode=True) at sizes 3 … 11
  const int64_t expected[] = {2, 3, 3, 4, 4, 5, 5, 6, 6};
  for (int64_t n = 3; n < 12; ++n) {
    const Json attrs = json(R"({"kernel":[3,3],"stride":[2,2],"padding":[1,1,1,1],"ceil_mode":true})");
    CHECK(inferred("max_pool", {1, 1, n, n}, attrs)[3] == expected[n - 3]);
  }
  CHECK_THROWS("ERR_SHAPE", inferred("max_pool", {1, 1, 2, 2}, json(R"({"kernel":[3,3]})")));
  CHECK_THROWS("ERR_SHAPE", inferred("max_pool", {1, 1, 8, 8}, json(R"({"kernel":[3,3],"padding":[3,0,0,0]})")));
  CHECK_THROWS("ERR_SHAPE", inferred("average_pool", {1, 8, 8}, json(R"({"kernel":[3,3]})")));
  CHECK_THROWS("ERR_SHAPE", inferred("adaptive_average_pool", {1, 1, 8, 8}, json(R"({"output_size":[0,1]})")));
}

// ---- batch norm -------------------------------------------------------------------------------------------------

struct Moments {
  double mean = 0, var = 0;
};

Moments moments(const Shape& s, const Numbers& x, int64_t c) {
  const int64_t pixels = count(s) / (s[0] * s[1]);
  const double n = static_cast<double>(s[0] * pixels);
  Moments m;
  const auto each = [&](auto body) {
    for (int64_t i = 0; i < s[0]; ++i)
      for (int64_t p = 0; p < pixels; ++p) body(x[static_cast<size_t>((i * s[1] + c) * pixels + p)]);
  };
  each([&](double v) { m.mean += v / n; });
  each([&](double v) { m.var += (v - m.mean) * (v - m.mean) / n; });
  return m;
}

Reference batch_norm_reference(const Shape& s, bool frozen) {
  return [=](const Inputs& in) {
    const int64_t pixels = count(s) / (s[0] * s[1]);
    Numbers y(in[0].size());
    for (int64_t c = 0; c < s[1]; ++c) {
      const size_t k = static_cast<size_t>(c);
      const Moments m = frozen ? Moments{in[3][k], in[4][k]} : moments(s, in[0], c);
      const double factor = (in[1].empty() ? 1 : in[1][k]) / std::sqrt(m.var + 1e-5);
      const double bias = in[2].empty() ? 0 : in[2][k];
      for (int64_t i = 0; i < s[0]; ++i)
        for (int64_t p = 0; p < pixels; ++p) {
          const size_t at = static_cast<size_t>((i * s[1] + c) * pixels + p);
          y[at] = (in[0][at] - m.mean) * factor + bias;
        }
    }
    return y;
  };
}

std::vector<Operand> batch_norm_operands(const Shape& s, bool affine) {
  const Shape c = {s[1]};
  const Operand none{{}, {}, DType::f32, true};
  return {within(s, -1, 3, 5), affine ? within(c, 0.5, 2, 6) : none, affine ? within(c, -1, 1, 7) : none,
          within(c, -1, 1, 8), within(c, 0.5, 2, 9)};
}

void test_batch_norm() {
  const std::vector<Shape> shapes = {{2, 1, 3, 2}, {3, 3, 5, 3}, {2, 16, 3, 3}, {3, 24, 2, 3}, {2, 58, 2, 1},
                                     {2, 116, 1, 2}, {5, 7}, {3, 33}, {2, 5, 7}, {2, 3, 2, 2, 3}};
  for (const Shape& shape : shapes) {
    for (const char* mode : {"frozen", "train", "statistics"}) {
      for (const bool affine : {true, false}) {
        const bool frozen = std::string(mode) == "frozen";
        VERIFY({"batch_norm", batch_norm_operands(shape, affine), Json::object().set("mode", mode),
                batch_norm_reference(shape, frozen), 3e-6, 2e-5, true, {false, false, false, true, true}});
      }
    }
  }
  // Only the weight's gradient, or only the data's.
  for (const char* mode : {"frozen", "train"}) {
    for (const bool data : {false, true}) {
      const Shape shape = {2, 20, 3, 3};
      VERIFY({"batch_norm", batch_norm_operands(shape, true), Json::object().set("mode", mode),
              batch_norm_reference(shape, std::string(mode) == "frozen"), 3e-6, 2e-5, true,
              {!data, data, data, true, true}});
    }
  }
}

Numbers batch_norm_output(std::vector<Operand> operands, size_t output, Isa isa, const Json& attrs) {
  operands.push_back({{}, {41}, DType::i64, false});
  return run_graph(operands, [&](Graph& g, const std::vector<ValueId>& ids) {
    return g.nodes[g.append("batch_norm", "node", ids, attrs)].outputs[output];
  }, {.isa = isa, .blocked = true, .gradients = false}).output;
}

/// Means and variances far from what sums in f32 would give: many values, a mean far greater than the deviation.
void test_statistics() {
  const Shape shape = {9, 18, 31, 23};
  for (const double offset : {0.0, 1000.0}) {
    std::vector<Operand> operands = batch_norm_operands(shape, true);
    for (double& x : operands[0].data) x = static_cast<float>(x + offset);
    const Json attrs = json(R"({"mode":"train","momentum":0.25})");
    const double n = 9 * 31 * 23;
    for (const Isa isa : harness::isas(false)) {
      const auto output = [&](size_t i) { return batch_norm_output(operands, i, isa, attrs); };
      const Numbers mean = output(1), invstd = output(2), next_mean = output(3), next_var = output(4);
      for (int64_t c = 0; c < shape[1]; ++c) {
        const size_t k = static_cast<size_t>(c);
        const Moments m = moments(shape, operands[0].data, c);
        const auto near = [](double a, double b) { return std::abs(a - b) <= 1.3e-7 * std::max(std::abs(b), 0.01); };
        CHECK(near(mean[k], m.mean));
        CHECK(near(invstd[k], 1 / std::sqrt(m.var + 1e-5)));
        CHECK(near(next_mean[k], 0.75 * operands[3].data[k] + 0.25 * m.mean));
        CHECK(near(next_var[k], 0.75 * operands[4].data[k] + 0.25 * m.var * n / (n - 1)));
      }
      CHECK(output(5) == Numbers{42});
    }
  }
}

void test_batch_norm_errors() {
  Graph graph;
  const auto value = [&](const char* name, const Shape& shape) {
    Value v;
    v.name = name;
    v.shape = shape;
    return graph.add_value(v);
  };
  const ValueId x = value("x", {1, 4}), mean = value("mean", {4}), var = value("var", {4}), odd = value("odd", {5});
  const std::vector<ValueId> operands = {x, kNone, kNone, mean, var};
  CHECK_THROWS("ERR_BATCH_NORM", graph.append("batch_norm", "bn", operands, json(R"({"mode":"train"})")));
  CHECK_THROWS("ERR_SHAPE", graph.append("batch_norm", "bn", {x, odd, kNone, mean, var}, Json::object()));
  CHECK_THROWS("ERR_SHAPE", graph.append("batch_norm", "bn", operands, json(R"({"mode":"other"})")));
  CHECK_THROWS("ERR_GRAPH", graph.append("batch_norm", "bn", {x}, Json::object()));
}

// ---- local response norm ----------------------------------------------------------------------------------------

void test_local_response_norm() {
  struct Row { Shape shape; const char* attrs; };
  const Row rows[] = {{{2, 3, 3, 2}, R"({"size":5,"alpha":0.3})"},
                      {{1, 24, 3, 5}, R"({"size":4,"alpha":0.5,"beta":0.6,"k":2})"},
                      {{1, 16, 1, 70}, R"({"size":3,"alpha":1,"beta":0.5})"},
                      {{1, 58, 2, 2}, R"({"size":5,"alpha":1,"beta":1})"},
                      {{2, 1, 2, 2}, R"({"size":2,"alpha":1})"}};
  for (const auto& [s, text] : rows) {
    const Json attrs = json(text);
    VERIFY({"local_response_norm", {{s, {}}}, attrs, [s = s, attrs](const Inputs& in) {
      const int64_t size = attrs.at("size").as_int(), pixels = s[2] * s[3];
      Numbers y(in[0].size());
      for (int64_t n = 0; n < s[0]; ++n)
        for (int64_t c = 0; c < s[1]; ++c)
          for (int64_t p = 0; p < pixels; ++p) {
            const auto at = [&](int64_t i) { return in[0][static_cast<size_t>((n * s[1] + i) * pixels + p)]; };
            double sum = 0;
            const int64_t last = std::min(s[1] - 1, c + (size - 1) / 2);
            for (int64_t i = std::max<int64_t>(0, c - size / 2); i <= last; ++i) sum += at(i) * at(i);
            const double spread = attrs.get("k", 1.0) + attrs.get("alpha", 1e-4) / static_cast<double>(size) * sum;
            y[static_cast<size_t>((n * s[1] + c) * pixels + p)] = at(c) * std::pow(spread, -attrs.get("beta", 0.75));
          }
      return y;
    }});
  }
  // torch 1.13: local_response_norm(arange(12).reshape(1,6,1,2) / 7, 4, 0.3, 0.75, 1.5)
  Operand x{{1, 6, 1, 2}, {}, DType::f32, false};
  for (int i = 0; i < 12; ++i) x.data.push_back(i / 7.0);
  const Result r = run_graph({x}, [](Graph& g, const std::vector<ValueId>& ids) {
    return g.nodes[g.append("local_response_norm", "n", ids, json(R"({"size":4,"alpha":0.3,"k":1.5})"))].outputs[0];
  }, {.gradients = false});
  expect_close(r.output, {0.0, 0.10459879785776138, 0.20762664079666138, 0.30798161029815674, 0.4043833315372467,
                          0.49546942114830017, 0.5799089670181274, 0.6569488644599915, 0.7261807322502136,
                          0.787505030632019, 0.9169414043426514, 0.9771296977996826},
               3e-7, "local_response_norm of torch");
}

}  // namespace

int main() {
  test_pools();
  test_max_pool_rules();
  test_average_pool_rules();
  test_pool_shapes();
  test_batch_norm();
  test_statistics();
  test_batch_norm_errors();
  test_local_response_norm();
  return check::result();
}
