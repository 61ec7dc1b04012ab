#pragma once
// Runs small graphs through the passes and the operators' lowering on heap buffers, and compares values and gradients
// with references in double. A case is one operator call; the reference is a function from its operands to its result.
// Every buffer starts as NaN, so that what a kernel reads before it was written shows. Tasks run in both orders, which
// must give the same bits. Where THAW_CUDA_BINARY names a second binary, all of it runs on its GPU instead.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>

#include "check.h"
#include "harness_memory.h"
#include "numbers.h"
#include "ops/op.h"

namespace harness {

class NodeLower final : public Lower {
 public:
  NodeLower(const Program& program, const Node& node, SerialRun& run) : program_(program), node_(node), run_(run) {}
  int threads() const override { return run_.threads; }
  bool streams(size_t) const override { return true; }
  const Graph& graph() const override { return program_.graph; }
  const Node& node() const override { return node_; }
  Isa isa() const override { return program_.isa; }
  Buffer workspace(size_t bytes) override {
    run_.add(bytes);
    return static_cast<Buffer>(run_.memory.size()) - 1;
  }
  Buffer table(const void* data, size_t bytes) override {
    const Buffer buffer = workspace(bytes);
    run_.buffer(buffer).put(data, bytes);
    return buffer;
  }
  void add(std::function<void(Run&)> step) override { steps.push_back(std::move(step)); }
  void check(const std::vector<Buffer>&, std::function<void(Run&)> look) override { add(std::move(look)); }
  std::vector<std::function<void(Run&)>> steps;

 private:
  const Program& program_;
  const Node& node_;
  SerialRun& run_;
};

/// One operand: f32 numbers, or integers (then nothing is differentiated by it). An empty shape list is a scalar.
struct Operand {
  Shape shape;
  std::vector<double> data = {};  // empty: noise
  DType dtype = DType::f32;
  bool absent = false;
};

/// What a run of a graph gave.
struct Result {
  std::vector<double> output;
  std::vector<std::vector<double>> gradients;  // by operand; empty where it has none
  size_t nodes;                                // of the program that ran
};

inline void write(const Memory& memory, DType dtype, const std::vector<double>& data) {
  std::vector<char> bytes(data.size() * dtype_size(dtype));
  void* to = bytes.data();
  for (size_t i = 0; i < data.size(); ++i) {
    if (dtype == DType::f32) static_cast<float*>(to)[i] = static_cast<float>(data[i]);
    if (dtype == DType::bf16) static_cast<uint16_t*>(to)[i] = bf16_bits(data[i]);
    if (dtype == DType::i32) static_cast<int32_t*>(to)[i] = static_cast<int32_t>(data[i]);
    if (dtype == DType::i64) static_cast<int64_t*>(to)[i] = static_cast<int64_t>(data[i]);
    if (dtype == DType::boolean) static_cast<uint8_t*>(to)[i] = data[i] != 0;
  }
  memory.put(bytes.data(), bytes.size());
}

inline std::vector<double> read(const Memory& memory, const Value& value) {
  std::vector<double> result;
  std::vector<char> bytes(static_cast<size_t>(count(value.shape)) * dtype_size(value.dtype));
  memory.take(bytes.data(), bytes.size());
  const void* from = bytes.data();
  for (int64_t i = 0; i < count(value.shape); ++i) {
    if (value.dtype == DType::f32) result.push_back(static_cast<const float*>(from)[i]);
    if (value.dtype == DType::i32) result.push_back(static_cast<const int32_t*>(from)[i]);
    if (value.dtype == DType::i64) result.push_back(static_cast<double>(static_cast<const int64_t*>(from)[i]));
  }
  return result;
}

struct Setup {
  Isa isa = Isa::scalar;
  bool blocked = false;    // operands of rank 4 come in blocks
  bool gradients = true;   // of sum(output * noise)
  bool backwards = false;  // order of tasks
  bool fused = false;
  bool bf16 = false;       // the blocks are in bf16
  bool again = false;      // whatever can be made again in the backward pass is
  int threads = 1;         // for which launches are cut
  bool joined = false;     // convolutions whose results are added become one node
  Isa chosen = Isa::scalar;  // kernels are chosen as for this instruction set, if it is better, and run on `isa`
};

/// Runs the nodes of a program whose operands lie in `run.memory`.
inline void execute(Program& program, SerialRun& run, const std::function<void()>& bind) {
  for (const Value& value : program.graph.values) run.add(physical_bytes(value));
  bind();
  for (const Node& node : program.graph.nodes) {
    NodeLower lower(program, node, run);
    node.op->lower(lower);
    for (const auto& step : lower.steps) step(run);
  }
}

/// Plain [N,C,H,W] to blocks. The padding lanes are 3: nobody's result may depend on them.
inline std::vector<double> in_blocks(const Value& value, const std::vector<double>& data) {
  std::vector<double> blocks(static_cast<size_t>(physical_count(value)), 3.0);
  const int64_t lanes = value.layout == Layout::blocked_bf16 ? kBlockBf16 : kBlock;
  const int64_t channels = value.shape[1], pixels = value.shape[2] * value.shape[3];
  const int64_t rounded = (channels + lanes - 1) / lanes;
  for (int64_t i = 0; i < static_cast<int64_t>(data.size()); ++i) {
    const int64_t s = i % pixels, c = i / pixels % channels, n = i / pixels / channels;
    blocks[static_cast<size_t>(((n * rounded + c / lanes) * pixels + s) * lanes + c % lanes)] = data[static_cast<size_t>(i)];
  }
  return blocks;
}

/// A gradient with its rows summed where they belong.
inline std::vector<double> dense_gradient(const Graph& graph, const SerialRun& run, const ParameterGradient& g) {
  const std::vector<double> rows = read(run.buffer(g.value), graph.values[g.value]);
  if (g.indices == kNone) return rows;
  const std::vector<double> at = read(run.buffer(g.indices), graph.values[g.indices]);
  const Shape& shape = graph.values[g.parameter].shape;
  std::vector<double> total(static_cast<size_t>(count(shape)), 0.0);
  const size_t width = total.size() / static_cast<size_t>(shape[0]);
  for (size_t r = 0; r < at.size(); ++r) {
    if (at[r] < 0) continue;
    for (size_t c = 0; c < width; ++c) total[static_cast<size_t>(at[r]) * width + c] += rows[r * width + c];
  }
  return total;
}

/// Builds: given the graph and the operands' values, returns the output.
using Builder = std::function<ValueId(Graph&, const std::vector<ValueId>&)>;

/// One node of that operator; its first output.
inline Builder one(const std::string& op, Json attrs = Json::object()) {
  return [=](Graph& graph, const std::vector<ValueId>& ids) {
    return graph.nodes[graph.append(op, op, ids, attrs)].outputs[0];
  };
}

inline Result run_graph(const std::vector<Operand>& operands, const Builder& build, const Setup& setup) {
  Program program;
  program.isa = setup.isa;
  if (setup.bf16) program.precision = Precision::bf16;
  if (setup.gradients) program.mode = Mode::gradients;
  Graph& graph = program.graph;
  std::vector<ValueId> sources;
  for (size_t i = 0; i < operands.size(); ++i) {
    Value value;
    value.name = "operand" + std::to_string(i);
    value.shape = operands[i].shape;
    value.dtype = operands[i].dtype;
    value.role = Role::parameter;
    value.trainable = setup.gradients && value.dtype == DType::f32 && !operands[i].absent;
    sources.push_back(operands[i].absent ? kNone : graph.add_value(value));
  }
  const ValueId output = build(graph, sources);
  graph.outputs = {output};
  ValueId weight = kNone;
  if (setup.gradients) {
    Value w;
    w.name = "weight of the output";
    w.shape = graph.values[output].shape;
    w.role = Role::input;
    weight = graph.add_value(w);
    const NodeId product = graph.append("multiply", "product", {output, weight}, Json::object());
    const Json scalar = Json::object().set("shape", Json(Shape{}));
    const NodeId sum = graph.append("sum_to", "sum", {graph.nodes[product].outputs[0]}, scalar);
    graph.losses.push_back({graph.nodes[sum].outputs[0], 1});
    differentiate(program);
  }
  if (setup.fused) fuse(program);
  if (setup.again) recompute(program, 0);
  program.isa = std::max(setup.isa, setup.chosen);
  select(program);
  program.isa = setup.isa;
  for (ValueId id : sources) {
    if (id != kNone && setup.blocked && graph.values[id].shape.size() == 4 && graph.values[id].dtype == DType::f32) {
      graph.values[id].layout = setup.bf16 ? Layout::blocked_bf16 : Layout::blocked;
    }
  }
  choose_layouts(program);
  if (setup.joined) join_shortcuts(program);

  SerialRun run;
  run.gpu = setup.isa == Isa::cuda;
  run.backwards = setup.backwards;
  run.threads = setup.threads;
  execute(program, run, [&] {
    for (size_t i = 0; i < operands.size(); ++i) {
      if (sources[i] == kNone) continue;
      const Value& value = graph.values[sources[i]];
      const std::vector<double> data = operands[i].data.empty() ? noise(count(value.shape), i + 1) : operands[i].data;
      write(run.buffer(sources[i]), value.layout == Layout::blocked_bf16 ? DType::bf16 : value.dtype,
            value.layout == Layout::plain ? data : in_blocks(value, data));
    }
    if (weight != kNone) write(run.buffer(weight), DType::f32, noise(count(graph.values[weight].shape), 77));
    if (program.loss_scale != kNone) write(run.buffer(program.loss_scale), DType::f32, {1.0});
  });

  Result result;
  result.output = read(run.buffer(graph.outputs[0]), graph.values[graph.outputs[0]]);
  result.gradients.resize(operands.size());
  result.nodes = graph.nodes.size();
  for (const ParameterGradient& g : program.gradients) {
    for (size_t i = 0; i < sources.size(); ++i) {
      if (sources[i] != g.parameter) continue;
      result.gradients[i] = dense_gradient(graph, run, g);
    }
  }
  return result;
}

/// Operands in, result out, in double.
using Reference = std::function<std::vector<double>(const std::vector<std::vector<double>>&)>;

struct Case {
  std::string op;
  std::vector<Operand> operands;
  Json attrs = Json::object();
  Reference reference = {};
  double tolerance = 2e-6;           // of values, relative to the largest of them
  double gradient_tolerance = 1e-5;  // the same of gradients
  bool gradients = true;
  std::vector<bool> frozen = {};     // by operand: no gradient is wanted
};

inline double largest(const std::vector<double>& values) {
  double result = 1e-30;
  for (double v : values) result = std::max(result, std::abs(v));
  return result;
}

inline void expect_close(const std::vector<double>& got, const std::vector<double>& want, double tolerance,
                         const std::string& what) {
  ++check::checks;
  double worst = got.size() == want.size() ? 0 : INFINITY;
  for (size_t i = 0; i < got.size() && i < want.size(); ++i) {
    const double error = std::abs(got[i] - want[i]);
    worst = !(error <= worst) ? error : worst;
    if (std::isnan(error)) worst = INFINITY;
  }
  const double scale = std::max(largest(want), 1e-3);
  if (worst <= tolerance * scale) return;
  ++check::failures;
  std::fprintf(stderr, "%s: error %g of %g, %zu values (%zu wanted)\n", what.c_str(), worst,
               scale, got.size(), want.size());
}

/// Central differences of sum(reference * weight) by operand i.
inline std::vector<double> differences(const Case& c, std::vector<std::vector<double>> at, size_t i,
                                       const std::vector<double>& weight) {
  std::vector<double> result;
  auto loss = [&] {
    const std::vector<double> y = c.reference(at);
    double sum = 0;
    for (size_t k = 0; k < y.size(); ++k) sum += y[k] * weight[k];
    return sum;
  };
  constexpr double h = 1e-5;
  for (double& x : at[i]) {
    const double before = x;
    x = before + h;
    const double up = loss();
    x = before - h;
    const double down = loss();
    x = before;
    result.push_back((up - down) / (2 * h));
  }
  return result;
}

enum class Way { plain, blocked, bf16 };

/// The numbers a kernel gets: pictures in bf16 are rounded before.
inline std::vector<std::vector<double>> operands_of(const Case& c, Way way) {
  std::vector<std::vector<double>> data;
  for (size_t i = 0; i < c.operands.size(); ++i) {
    const Operand& o = c.operands[i];
    data.push_back(o.absent ? std::vector<double>{} : o.data.empty() ? noise(count(o.shape), i + 1) : o.data);
    if (way == Way::bf16 && o.shape.size() == 4 && o.dtype == DType::f32) data.back() = in_bf16(data.back());
  }
  return data;
}

/// Values and gradients against the reference in one layout, on every instruction set and in both orders of tasks. In
/// bf16 results may be off by its rounding, of operands that are rounded already.
inline void verify_way(const Case& c, Way way, const char* file, int line) {
  const std::vector<std::vector<double>> data = operands_of(c, way);
  const std::vector<double> want = c.reference(data);
  const std::vector<double> weight = noise(static_cast<int64_t>(want.size()), 77);
  std::vector<std::vector<double>> slopes(data.size());
  for (size_t i = 0; c.gradients && i < data.size(); ++i) {
    const bool frozen = i < c.frozen.size() && c.frozen[i];
    if (c.operands[i].dtype == DType::f32 && !c.operands[i].absent && !frozen)
      slopes[i] = differences(c, data, i, weight);
  }
  const Builder build = [&](Graph& graph, const std::vector<ValueId>& ids) {
    for (size_t i = 0; i < ids.size(); ++i) {
      if (i < c.frozen.size() && c.frozen[i] && ids[i] != kNone) graph.values[ids[i]].trainable = false;
    }
    return graph.nodes[graph.append(c.op, "node", ids, c.attrs)].outputs[0];
  };
  const bool bf16 = way == Way::bf16;
  // Forward one rounding, to a place of 2^-8; the incoming gradient is rounded too.
  const double tolerance = bf16 ? std::max(c.tolerance, 0x1p-8) : c.tolerance;
  const double gradient_tolerance = bf16 ? std::max(c.gradient_tolerance, 0x1p-7) : c.gradient_tolerance;
  for (const Isa isa : isas(bf16)) {
    Setup setup{.isa = isa, .blocked = way != Way::plain, .gradients = c.gradients, .bf16 = bf16};
    const std::string where = std::string(file) + ":" + std::to_string(line) + " " + c.op + " " + isa_name(isa) +
                              (bf16 ? " bf16" : way == Way::blocked ? " blocked" : "") + " " + c.attrs.dump() + " " +
                              to_string(c.operands[0].shape);
    const Result got = run_graph(c.operands, build, setup);
    expect_close(got.output, want, tolerance, where);
    for (size_t i = 0; i < slopes.size(); ++i) {
      if (slopes[i].empty()) continue;
      expect_close(got.gradients[i], slopes[i], gradient_tolerance, where + " gradient " + std::to_string(i));
    }
    setup.backwards = true;
    const Result again = run_graph(c.operands, build, setup);
    const bool same = again.output == got.output && again.gradients == got.gradients;
    check::that(same, "bits follow from values alone", file, line);
  }
}

/// The same in every layout that the operator has kernels for.
inline void verify(const Case& c, const char* file, int line) {
  verify_way(c, Way::plain, file, line);
  const bool images = std::any_of(c.operands.begin(), c.operands.end(), [](const Operand& o) {
    return o.shape.size() == 4 && o.dtype == DType::f32;
  });
  if (images) verify_way(c, Way::blocked, file, line);
  if (images && find_op(c.op)->bf16) verify_way(c, Way::bf16, file, line);
}

}  // namespace harness

#define VERIFY(...) harness::verify(__VA_ARGS__, __FILE__, __LINE__)
