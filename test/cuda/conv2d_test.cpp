// Convolutions and their gradients on the GPU, lowered as a plan lowers them, against loops in double. Operands are numbers
// that bf16 holds, so that products are exact: an f32 sum may be off by a few units of the largest, a bf16 result by one
// rounding more. Every size of tile must give the same bits, whether parts of the depth are joined by one block or apart,
// and so must a picture alone and in a batch.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>

#include "compile/compile.h"
#include "gpu.h"
#include "kernels/conv2d_gemm.h"
#include "kernels/cuda/tables.h"
#include "numbers.h"
#include "ops/op.h"

using namespace thaw;
using harness::noise;

namespace {

/// What the test decides in place of the lowering.
struct Forced {
  bool tile = false, join = false;
  GemmTile size = GemmTile::large;
} forced;

template <const Conv2dGemmKernels& real>
void direct(const Conv2dGemm& args, int64_t tasks, void* scratch) {
  Conv2dGemm a = args;
  if (forced.tile) a.tile = forced.size;
  if (forced.join) a.partial = nullptr;
  real.direct(a, tasks, scratch);
}
template <const Conv2dGemmWeightsKernels& real>
void weights(const Conv2dGemmWeights& args, int64_t tasks, void* scratch) {
  Conv2dGemmWeights a = args;
  if (forced.tile) a.tile = forced.size;
  real.weights(a, tasks, scratch);
}
const Conv2dGemmKernels gemm = {direct<cuda::conv2d_gemm>, cuda::conv2d_gemm.pack};
const Conv2dGemmKernels gemm_bf16 = {direct<cuda::conv2d_gemm_bf16>, cuda::conv2d_gemm_bf16.pack};
const Conv2dGemmWeightsKernels gemm_weights = {weights<cuda::conv2d_gemm_weights>, cuda::conv2d_gemm_weights.join};
const Conv2dGemmWeightsKernels gemm_weights_bf16 = {weights<cuda::conv2d_gemm_weights_bf16>, cuda::conv2d_gemm_weights_bf16.join};

}  // namespace

/// The tables that are linked into this program, in place of those of a second binary.
const void* thaw::gpu_table(const char* name) {
  const std::string wanted = name;
  if (wanted == "conv2d_gemm") return &gemm;
  if (wanted == "conv2d_gemm_bf16") return &gemm_bf16;
  if (wanted == "conv2d_gemm_weights") return &gemm_weights;
  if (wanted == "conv2d_gemm_weights_bf16") return &gemm_weights_bf16;
  return cuda::table(name);
}

namespace {

using Bytes = ::gpu::Array<unsigned char>;

class GpuRun final : public Run {
 public:
  std::vector<std::unique_ptr<Bytes>> memory;
  RandomState state;

  void* at(int32_t buffer) const override { return buffer == kNone ? nullptr : memory[static_cast<size_t>(buffer)]->data(); }
  const RandomState& random() const override { return state; }
  const int64_t* samples() const override { return nullptr; }
  void fetch(void*, int32_t, size_t, size_t) const override {}

 protected:
  void parallel_erased(int64_t, size_t, void (*)(const void*, int64_t, void*), const void*) override { CHECK(false); }
};

class GpuLower final : public Lower {
 public:
  GpuLower(const Program& program, const Node& node, GpuRun& run) : program_(program), node_(node), run_(run) {}
  const Graph& graph() const override { return program_.graph; }
  const Node& node() const override { return node_; }
  Isa isa() const override { return program_.isa; }
  Buffer workspace(size_t bytes) override {
    run_.memory.push_back(std::make_unique<Bytes>(bytes));
    return static_cast<Buffer>(run_.memory.size()) - 1;
  }
  Buffer table(const void* data, size_t bytes) override {
    const unsigned char* from = static_cast<const unsigned char*>(data);
    run_.memory.push_back(std::make_unique<Bytes>(std::vector<unsigned char>(from, from + bytes)));
    return static_cast<Buffer>(run_.memory.size()) - 1;
  }
  void add(std::function<void(Run&)> step) override { step(run_); }
  void check(const std::vector<Buffer>&, std::function<void(Run&)>) override {}

 private:
  const Program& program_;
  const Node& node_;
  GpuRun& run_;
};

int64_t lanes_of(Layout layout) { return layout == Layout::blocked_bf16 ? kBlockBf16 : kBlock; }

/// Where element i of plain [N, C, H, W] lies in blocks.
size_t place(const Value& value, int64_t i) {
  const int64_t lanes = lanes_of(value.layout), channels = value.shape[1], pixels = value.shape[2] * value.shape[3];
  const int64_t s = i % pixels, c = i / pixels % channels, n = i / pixels / channels;
  return static_cast<size_t>(((n * ((channels + lanes - 1) / lanes) + c / lanes) * pixels + s) * lanes + c % lanes);
}

/// Lanes beyond the channels are 3: nobody's result may depend on them.
std::vector<unsigned char> encoded(const Value& value, const std::vector<double>& data) {
  std::vector<double> all = data;
  if (value.layout != Layout::plain) {
    all.assign(static_cast<size_t>(physical_count(value)), 3.0);
    for (size_t i = 0; i < data.size(); ++i) all[place(value, static_cast<int64_t>(i))] = data[i];
  }
  std::vector<unsigned char> bytes(physical_bytes(value));
  for (size_t i = 0; i < all.size(); ++i) {
    const uint16_t half = harness::bf16_bits(all[i]);
    const float whole = static_cast<float>(all[i]);
    if (value.layout == Layout::blocked_bf16) std::memcpy(bytes.data() + 2 * i, &half, 2);
    else std::memcpy(bytes.data() + 4 * i, &whole, 4);
  }
  return bytes;
}

/// Plain numbers; counts lanes beyond the channels that are not 0.
std::vector<double> decoded(const Value& value, const std::vector<unsigned char>& bytes, int64_t* stray) {
  const size_t size = value.layout == Layout::blocked_bf16 ? 2 : 4;
  std::vector<double> all(static_cast<size_t>(physical_count(value)));
  for (size_t i = 0; i < all.size(); ++i) {
    uint32_t bits = 0;
    std::memcpy(reinterpret_cast<char*>(&bits) + (4 - size), bytes.data() + size * i, size);
    float f;
    std::memcpy(&f, &bits, 4);
    all[i] = f;
  }
  if (value.layout == Layout::plain) return all;
  std::vector<double> result(static_cast<size_t>(count(value.shape)));
  *stray = static_cast<int64_t>(std::count_if(all.begin(), all.end(), [](double x) { return !(x == 0); }));
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = all[place(value, static_cast<int64_t>(i))];
    *stray -= !(result[i] == 0);
  }
  return result;
}

struct Operand {
  Shape shape;
  std::vector<double> data;
};

/// One operator's result. Absent operands have no shape.
std::vector<double> run(const std::string& op, const Json& attrs, const std::vector<Operand>& operands, bool bf16) {
  Program program;
  program.isa = Isa::cuda;
  if (bf16) program.precision = Precision::bf16;
  Graph& graph = program.graph;
  std::vector<ValueId> ids;
  for (size_t i = 0; i < operands.size(); ++i) {
    Value value;
    value.name = "operand" + std::to_string(i);
    value.shape = operands[i].shape;
    value.role = Role::parameter;
    ids.push_back(operands[i].shape.empty() ? kNone : graph.add_value(value));
  }
  graph.outputs = {graph.nodes[graph.append(op, "node", ids, attrs)].outputs[0]};
  select(program);
  const Node& node = graph.nodes.back();
  Layouts layouts{std::vector<Layout>(node.inputs.size(), Layout::plain), {Layout::plain}};
  node.op->layout(graph, node, layouts);
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (node.inputs[i] != kNone) graph.values[node.inputs[i]].layout = layouts.inputs[i];
  Value& output = graph.values[node.outputs[0]];
  output.layout = layouts.outputs[0];

  GpuRun gpu_run;
  for (const Value& value : graph.values) gpu_run.memory.push_back(std::make_unique<Bytes>(physical_bytes(value)));
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] != kNone) gpu_run.memory[static_cast<size_t>(ids[i])] = std::make_unique<Bytes>(encoded(graph.values[ids[i]], operands[i].data));
  for (const Node& n : graph.nodes) {
    GpuLower lower(program, n, gpu_run);
    n.op->lower(lower);
  }
  ::gpu::finish(__FILE__, __LINE__);
  int64_t stray = 0;
  std::vector<double> result = decoded(output, gpu_run.memory[static_cast<size_t>(node.outputs[0])]->read(), &stray);
  CHECK(stray == 0);
  return result;
}

struct Conv {
  int64_t n, c, h, w, k, kh, kw;
  std::vector<int64_t> stride = {1, 1}, padding = {0, 0, 0, 0}, dilation = {1, 1};
  int64_t groups = 1;

  int64_t out(size_t d) const {
    const int64_t size = d ? w : h, kernel = d ? kw : kh;
    return (size + padding[d] + padding[d + 2] - dilation[d] * (kernel - 1) - 1) / stride[d] + 1;
  }
  Shape x() const { return {n, c, h, w}; }
  Shape weight() const { return {k, c / groups, kh, kw}; }
  Shape y() const { return {n, k, out(0), out(1)}; }
  Json attrs() const {
    return Json::object().set("stride", stride).set("padding", padding).set("dilation", dilation).set("groups", groups);
  }
  std::string text() const { return to_string(x()) + " * " + to_string(weight()) + " " + attrs().dump(); }
};

struct Data {
  std::vector<double> x, weight, dy, bias, y, dx, dweight;
};

Data data_of(const Conv& c) {
  Data d{harness::in_bf16(noise(count(c.x()), 1)), harness::in_bf16(noise(count(c.weight()), 2)),
         harness::in_bf16(noise(count(c.y()), 3)), noise(c.k, 4), {}, {}, {}};
  d.y.resize(d.dy.size()), d.dx.resize(d.x.size()), d.dweight.resize(d.weight.size());
  const int64_t in = c.c / c.groups, each = c.k / c.groups, oh = c.out(0), ow = c.out(1);
  size_t weight = 0;
  for (int64_t k = 0; k < c.k; ++k)
    for (int64_t i = k / each * in; i < k / each * in + in; ++i)
      for (int64_t ky = 0; ky < c.kh; ++ky)
        for (int64_t kx = 0; kx < c.kw; ++kx, ++weight)
          for (int64_t n = 0; n < c.n; ++n)
            for (int64_t oy = 0; oy < oh; ++oy)
              for (int64_t ox = 0; ox < ow; ++ox) {
                const int64_t row = oy * c.stride[0] + ky * c.dilation[0] - c.padding[0];
                const int64_t column = ox * c.stride[1] + kx * c.dilation[1] - c.padding[1];
                if (row < 0 || column < 0 || row >= c.h || column >= c.w) continue;
                const size_t to = static_cast<size_t>(((n * c.k + k) * oh + oy) * ow + ox);
                const size_t from = static_cast<size_t>(((n * c.c + i) * c.h + row) * c.w + column);
                d.y[to] += d.x[from] * d.weight[weight];
                d.dx[from] += d.dy[to] * d.weight[weight];
                d.dweight[weight] += d.dy[to] * d.x[from];
              }
  return d;
}

/// `rounding`: of the result itself, relative to it.
void expect(const std::vector<double>& got, const std::vector<double>& want, double rounding, const std::string& what) {
  double most = 1e-3, worst = 0;
  for (double w : want) most = std::max(most, std::abs(w));
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(got[i] - want[i]) - rounding * std::abs(want[i]);
    worst = !(error <= worst) ? error : worst;
  }
  ++check::checks;
  if (got.size() == want.size() && worst <= 4e-6 * most) return;
  ++check::failures;
  std::fprintf(stderr, "%s: %g too far off, of %g\n", what.c_str(), worst, most);
}

/// Forward, both gradients, in both types; `tiles`: in every tile too.
void verify(const Conv& c, bool tiles = false) {
  const Data d = data_of(c);
  const Json data_attrs = c.attrs().set("input_shape", c.x()), weight_attrs = c.attrs().set("weight_shape", c.weight());
  for (const bool bf16 : {false, true}) {
    const auto all = [&] {
      return std::vector<std::vector<double>>{
          run("conv2d", c.attrs(), {{c.x(), d.x}, {c.weight(), d.weight}}, bf16),
          run("conv2d_backward_data", data_attrs, {{c.y(), d.dy}, {c.weight(), d.weight}}, bf16),
          run("conv2d_backward_weights", weight_attrs, {{c.x(), d.x}, {c.y(), d.dy}}, bf16)};
    };
    forced = {};
    const std::vector<std::vector<double>> got = all();
    const double rounding = bf16 ? 0x1p-8 : 0;
    const std::string where = (bf16 ? "bf16 " : "f32 ") + c.text();
    expect(got[0], d.y, rounding, where);
    expect(got[1], d.dx, rounding, where + " dx");
    expect(got[2], d.dweight, 0, where + " dweight");
    if (!tiles) continue;
    for (const GemmTile size : {GemmTile::large, GemmTile::medium, GemmTile::small, GemmTile::narrow})
      for (const bool join : {false, true}) {
        forced = {true, join, size};
        CHECK(all() == got);
      }
  }
}

double activated(const std::string& kind, double v) {
  if (kind == "relu") return std::max(v, 0.0);
  if (kind == "relu6") return std::min(std::max(v, 0.0), 6.0);
  if (kind == "leaky_relu") return v < 0 ? 0.1 * v : v;
  if (kind == "silu") return v / (1 + std::exp(-v));
  if (kind == "gelu") return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
  return v;
}

/// Bias, residual and activation behind the forward product; residual and gate behind the backward one.
void verify_fused(const Conv& c) {
  const Data d = data_of(c);
  const std::vector<double> residual = harness::in_bf16(noise(count(c.y()), 5)), other = harness::in_bf16(noise(count(c.x()), 6)),
                            gate = harness::in_bf16(noise(count(c.x()), 7));
  for (const bool bf16 : {false, true}) {
    forced = {};
    for (const char* kind : {"none", "relu", "relu6", "leaky_relu", "silu", "gelu"}) {
      std::vector<double> want = d.y;
      const size_t pixels = static_cast<size_t>(c.out(0) * c.out(1));
      for (size_t i = 0; i < want.size(); ++i)
        want[i] = activated(kind, want[i] + d.bias[i / pixels % static_cast<size_t>(c.k)] + residual[i]);
      const Json attrs = c.attrs().set("activation", kind).set("alpha", 0.1);
      expect(run("conv2d", attrs, {{c.x(), d.x}, {c.weight(), d.weight}, {{c.k}, d.bias}, {c.y(), residual}}, bf16), want,
             bf16 ? 0x1p-8 : 0, std::string(kind) + (bf16 ? " bf16 " : " f32 ") + c.text());
    }
    std::vector<double> want = d.dx;
    for (size_t i = 0; i < want.size(); ++i) want[i] = gate[i] > 0 ? want[i] + other[i] : 0;
    expect(run("conv2d_backward_data", c.attrs().set("input_shape", c.x()),
               {{c.y(), d.dy}, {c.weight(), d.weight}, {c.x(), other}, {c.x(), gate}}, bf16),
           want, bf16 ? 0x1p-8 : 0, "gate " + c.text());
  }
}

/// A picture's results have the same bits alone and among others.
void verify_alone(Conv c) {
  const Data d = data_of(c);
  for (const bool bf16 : {false, true}) {
    forced = {};
    c.n = 3;
    const std::vector<double> batch = run("conv2d", c.attrs(), {{c.x(), d.x}, {c.weight(), d.weight}}, bf16);
    c.n = 1;
    const ptrdiff_t in = count(c.x()), out = count(c.y());
    const std::vector<double> last(d.x.begin() + 2 * in, d.x.end());
    for (const bool join : {false, true}) {
      forced.join = join;
      const std::vector<double> alone = run("conv2d", c.attrs(), {{c.x(), last}, {c.weight(), d.weight}}, bf16);
      CHECK(std::equal(alone.begin(), alone.end(), batch.begin() + 2 * out));
    }
  }
}

}  // namespace

int main() {
  const std::vector<int64_t> one = {1, 1, 1, 1}, none = {0, 0, 0, 0};
  verify({3, 40, 7, 9, 70, 3, 3, {1, 1}, one}, true);
  verify({1, 100, 5, 6, 33, 1, 1}, true);
  verify({2, 33, 9, 8, 24, 3, 3, {2, 2}, one});
  verify({1, 24, 12, 11, 64, 5, 5, {1, 1}, {2, 2, 2, 2}});
  verify({1, 20, 13, 12, 36, 3, 3, {2, 2}, {2, 3, 4, 1}, {3, 2}});
  verify({3, 20, 8, 8, 36, 1, 1, {2, 2}});
  verify({1, 64, 1, 1, 40, 3, 3, {1, 1}, one});
  // Few channels.
  verify({1, 3, 21, 19, 40, 7, 7, {2, 2}, {3, 3, 3, 3}});
  verify({3, 1, 9, 9, 8, 3, 3, {1, 1}, one});
  verify({1, 3, 20, 35, 100, 3, 3, {1, 1}, {2, 2, 2, 2}, {2, 1}});
  verify({1, 4, 14, 17, 70, 11, 3, {4, 3}, {2, 0, 1, 2}});
  // Groups within a block, across blocks, of whole blocks.
  verify({1, 64, 6, 7, 64, 3, 3, {1, 1}, one, {1, 1}, 32});
  verify({1, 96, 5, 5, 48, 1, 1, {1, 1}, none, {1, 1}, 3});
  verify({2, 58, 4, 6, 58, 1, 1, {1, 1}, none, {1, 1}, 2});
  verify({1, 64, 6, 5, 128, 3, 3, {2, 2}, one, {1, 1}, 2}, true);
  verify({1, 24, 6, 6, 40, 3, 3, {1, 1}, one, {1, 1}, 8});
  // Depths that are cut into parts.
  verify({1, 600, 3, 3, 40, 1, 1}, true);
  verify_alone({3, 520, 4, 4, 33, 1, 1});
  // Depthwise.
  verify({2, 40, 9, 10, 40, 3, 3, {1, 1}, one, {1, 1}, 40});
  verify({1, 33, 12, 11, 33, 5, 5, {2, 2}, {2, 2, 2, 2}, {1, 1}, 33});
  verify({3, 20, 7, 7, 20, 7, 7, {1, 1}, {3, 3, 3, 3}, {1, 1}, 20});
  verify({1, 16, 9, 14, 16, 3, 3, {2, 1}, {2, 0, 1, 3}, {2, 3}, 16});
  verify_fused({1, 40, 6, 7, 33, 3, 3, {1, 1}, one});
  verify_fused({1, 40, 7, 7, 40, 3, 3, {2, 2}, one, {1, 1}, 40});
  verify_fused({1, 520, 3, 3, 33, 1, 1});
  verify_fused({1, 3, 17, 20, 33, 7, 7, {2, 2}, {3, 3, 3, 3}});
  return check::result();
}
