#pragma once
// Convolutions by loops in double, and what may be fused behind them.
#include "harness.h"

namespace conv2d_reference {

using namespace thaw;
using harness::distance;
using harness::noise;

struct Conv {
  int64_t n, c, h, w, k, kh, kw;
  std::vector<int64_t> stride = {1, 1}, padding = {0, 0, 0, 0}, dilation = {1, 1};
  int64_t groups = 1;
  bool bias = true;

  int64_t oh() const { return (h + padding[0] + padding[2] - dilation[0] * (kh - 1) - 1) / stride[0] + 1; }
  int64_t ow() const { return (w + padding[1] + padding[3] - dilation[1] * (kw - 1) - 1) / stride[1] + 1; }
  Shape x() const { return {n, c, h, w}; }
  Shape weight() const { return {k, c / groups, kh, kw}; }
  Shape y() const { return {n, k, oh(), ow()}; }
  Json attrs() const {
    return Json::object().set("stride", stride).set("padding", padding).set("dilation", dilation).set("groups", groups);
  }
  std::string text() const { return to_string(x()) + " * " + to_string(weight()) + " " + attrs().dump(); }
};

/// Calls body(y index, x index, weight index) for every product of the convolution.
template <class Body>
void each_product(const Conv& c, const Body& body) {
  const int64_t group_in = c.c / c.groups, group_out = c.k / c.groups;
  for (int64_t n = 0; n < c.n; ++n)
    for (int64_t k = 0; k < c.k; ++k)
      for (int64_t oy = 0; oy < c.oh(); ++oy)
        for (int64_t ox = 0; ox < c.ow(); ++ox)
          for (int64_t i = 0; i < group_in; ++i)
            for (int64_t ky = 0; ky < c.kh; ++ky)
              for (int64_t kx = 0; kx < c.kw; ++kx) {
                const int64_t iy = oy * c.stride[0] + ky * c.dilation[0] - c.padding[0];
                const int64_t ix = ox * c.stride[1] + kx * c.dilation[1] - c.padding[1];
                if (iy < 0 || ix < 0 || iy >= c.h || ix >= c.w) continue;
                body(((n * c.k + k) * c.oh() + oy) * c.ow() + ox,
                     ((n * c.c + k / group_out * group_in + i) * c.h + iy) * c.w + ix,
                     ((k * group_in + i) * c.kh + ky) * c.kw + kx);
              }
}

struct Expected {
  std::vector<double> y, dx, dweight, dbias;
};

inline Expected reference(const Conv& c, const std::vector<double>& x, const std::vector<double>& w,
                   const std::vector<double>& bias, const std::vector<double>& dy) {
  Expected e;
  const int64_t pixels = c.oh() * c.ow();
  e.y.resize(static_cast<size_t>(count(c.y())));
  e.dx.resize(x.size());
  e.dweight.resize(w.size());
  e.dbias.resize(static_cast<size_t>(c.k));
  for (size_t i = 0; i < e.y.size(); ++i) {
    const size_t k = i / static_cast<size_t>(pixels) % static_cast<size_t>(c.k);
    if (c.bias) e.y[i] = bias[k];
    e.dbias[k] += dy[i];
  }
  each_product(c, [&](int64_t y, int64_t xi, int64_t wi) {
    e.y[y] += x[xi] * w[wi];
    e.dx[xi] += dy[y] * w[wi];
    e.dweight[wi] += dy[y] * x[xi];
  });
  return e;
}

inline harness::Builder conv2d(const Conv& c) {
  return [c](Graph& graph, const std::vector<ValueId>& ids) {
    return graph.nodes[graph.append("conv2d", "node", ids, c.attrs())].outputs[0];
  };
}

/// The kernel that the convolution takes and why others declined.
inline std::pair<std::string, std::string> kernel_of(const Conv& c, Isa isa, Mode mode = Mode::run) {
  Program program;
  program.isa = isa;
  program.mode = mode;
  std::vector<ValueId> ids;
  for (const Shape& shape : {c.x(), c.weight()}) {
    Value value;
    value.name = std::to_string(ids.size());
    value.shape = shape;
    value.role = ids.empty() ? Role::input : Role::parameter;
    value.trainable = !ids.empty();
    ids.push_back(program.graph.add_value(value));
  }
  conv2d(c)(program.graph, ids);
  select(program);
  std::string why;
  for (const Declined& declined : program.declined) why += declined.kernel + ": " + declined.why + "\n";
  return {program.graph.nodes.back().attrs.at("kernel").as_string(), why};
}

/// Forward and both gradients, on every instruction set and in both orders of tasks.
inline void verify(const Conv& c) {
  const std::vector<harness::Operand> operands = {{c.x()}, {c.weight()}, {{c.k}, {}, DType::f32, !c.bias}};
  const std::vector<double> x = noise(count(c.x()), 1), w = noise(count(c.weight()), 2), bias = noise(c.k, 3);
  const Expected want = reference(c, x, w, bias, noise(count(c.y()), 77));
  std::vector<harness::Setup> setups;
  for (const Isa isa : harness::isas(false)) {
    setups.push_back({isa, true, true, false, false});
    // What a plan for AMX takes, on vectors: its other kernels are those of AVX-512.
    if (isa == Isa::avx512) setups.push_back(setups.back()), setups.back().chosen = Isa::amx;
  }
  for (harness::Setup setup : setups) {
    const harness::Result got = harness::run_graph(operands, conv2d(c), setup);
    const char* tiles = setup.chosen == Isa::amx ? " as for amx " : " ";
    const std::string where = isa_name(setup.isa) + std::string(tiles) + c.text();
    harness::expect_close(got.output, want.y, 3e-6, where);
    harness::expect_close(got.gradients[0], want.dx, 3e-6, where + " dx");
    harness::expect_close(got.gradients[1], want.dweight, 3e-6, where + " dweight");
    if (c.bias) harness::expect_close(got.gradients[2], want.dbias, 3e-6, where + " dbias");
    setup.backwards = true;
    const harness::Result again = harness::run_graph(operands, conv2d(c), setup);
    CHECK(again.output == got.output && again.gradients == got.gradients);
  }
}

/// The same in bf16: pictures, and the weights that this test puts into blocks too, are rounded before and after.
inline void verify_bf16(const Conv& c) {
  const std::vector<harness::Operand> operands = {{c.x()}, {c.weight()}, {{c.k}, {}, DType::f32, !c.bias}};
  const std::vector<double> x = harness::in_bf16(noise(count(c.x()), 1));
  const std::vector<double> weight = harness::in_bf16(noise(count(c.weight()), 2));
  const Expected want = reference(c, x, weight, noise(c.k, 3), harness::in_bf16(noise(count(c.y()), 77)));
  for (const Isa isa : harness::isas()) {
    harness::Setup setup{isa, true, true, false, false, true};
    const harness::Result got = harness::run_graph(operands, conv2d(c), setup);
    const std::string where = std::string(isa_name(isa)) + " bf16 " + c.text();
    harness::expect_close(got.output, want.y, harness::kBf16Error, where);
    harness::expect_close(got.gradients[0], want.dx, harness::kBf16Error, where + " dx");
    harness::expect_close(got.gradients[1], want.dweight, 3e-6, where + " dweight");
    setup.backwards = true;
    const harness::Result again = harness::run_graph(operands, conv2d(c), setup);
    CHECK(again.output == got.output && again.gradients == got.gradients);
  }
}

/// What a plan for AMX takes, on `isa`.
inline harness::Setup with_tiles(Isa isa, bool gradients = true) {
  harness::Setup setup{isa, true, gradients};
  setup.chosen = Isa::amx;
  return setup;
}

/// Residual and activation behind it, and the gate and the sum of a gradient by data before it.
inline void verify_fused(const std::string& form, const Conv& a, double error) {
  const std::vector<harness::Operand> operands = {{a.x()}, {a.weight()}, {a.weight()}, {a.x()}};
  for (const char* kind : {"relu", "leaky_relu", "silu"}) {
    const auto build = [&](Graph& graph, const std::vector<ValueId>& ids) {
      const auto append = [&](const char* op, std::vector<ValueId> in, const Json& attrs) {
        const std::string name = op + std::to_string(graph.nodes.size());
        return graph.nodes[graph.append(op, name, std::move(in), attrs)].outputs[0];
      };
      const ValueId first = append("relu", {append("conv2d", {ids[0], ids[1]}, a.attrs())}, Json::object());
      const ValueId sum = append("add", {append("conv2d", {first, ids[2]}, a.attrs()), ids[3]}, Json::object());
      return append("add", {append(kind, {sum}, Json::object().set("alpha", 0.1)), first}, Json::object());
    };
    harness::Setup apart = with_tiles(best_isa()), together = apart;
    together.fused = true;
    const harness::Result want = harness::run_graph(operands, build, apart);
    const harness::Result got = harness::run_graph(operands, build, together);
    const std::string where = form + " with " + kind;
    harness::expect_close(got.output, want.output, error, where);
    for (size_t i = 0; i < operands.size(); ++i)
      harness::expect_close(got.gradients[i], want.gradients[i], 2 * error, where + " gradient " + std::to_string(i));
  }
}

inline double activated(const std::string& kind, double v) {
  const double alpha = 0.1;
  if (kind == "relu") return std::max(v, 0.0);
  if (kind == "relu6") return std::min(std::max(v, 0.0), 6.0);
  if (kind == "leaky_relu") return v < 0 ? alpha * v : v;
  const double hard = std::min(std::max(v + 3, 0.0), 6.0) / 6;
  if (kind == "hard_swish") return v * hard;
  if (kind == "hard_sigmoid") return hard;
  if (kind == "silu") return v / (1 + std::exp(-v));
  if (kind == "sigmoid") return 1 / (1 + std::exp(-v));
  if (kind == "tanh") return std::tanh(v);
  if (kind == "gelu") return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
  return v;
}

/// Inputs so small that bounded activations are not compared at sums much larger than themselves.
inline std::vector<double> halved(std::vector<double> values, int times) {
  for (double& v : values) v = std::ldexp(v, -times);
  return values;
}

}  // namespace conv2d_reference
