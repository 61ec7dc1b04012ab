// GFLOP/s of conv2d, forward and backward, on one core, layer by layer: `conv2d_bench [batch] [isa] [filter] [bf16]`.
// The best of several runs is printed: the speed of the kernels, with operands wherever the caches left them.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "compile/compile.h"
#include "ops/op.h"

using namespace thaw;

namespace {

struct Layer {
  const char* name;
  int64_t c, size, k, kernel, stride, groups;
};

constexpr Layer kLayers[] = {
    {"resnet stem 7x7 s2", 3, 224, 64, 7, 2, 1},
    {"1x1 64-64 @56", 64, 56, 64, 1, 1, 1},
    {"1x1 64-256 @56", 64, 56, 256, 1, 1, 1},
    {"1x1 256-64 @56", 256, 56, 64, 1, 1, 1},
    {"3x3 64 @56", 64, 56, 64, 3, 1, 1},
    {"3x3 128 s2 @56", 128, 56, 128, 3, 2, 1},
    {"1x1 256-512 s2 @56", 256, 56, 512, 1, 2, 1},
    {"1x1 512-128 @28", 512, 28, 128, 1, 1, 1},
    {"1x1 128-512 @28", 128, 28, 512, 1, 1, 1},
    {"3x3 128 @28", 128, 28, 128, 3, 1, 1},
    {"1x1 1024-256 @14", 1024, 14, 256, 1, 1, 1},
    {"1x1 256-1024 @14", 256, 14, 1024, 1, 1, 1},
    {"3x3 256 @14", 256, 14, 256, 3, 1, 1},
    {"3x3 512 s2 @14", 512, 14, 512, 3, 2, 1},
    {"1x1 2048-512 @7", 2048, 7, 512, 1, 1, 1},
    {"1x1 512-2048 @7", 512, 7, 2048, 1, 1, 1},
    {"3x3 512 @7", 512, 7, 512, 3, 1, 1},
    {"3x3 64 @4 (cifar)", 64, 4, 64, 3, 1, 1},
    {"3x3 64 @8 (cifar)", 64, 8, 64, 3, 1, 1},
    {"3x3 32 @16 (cifar)", 32, 16, 32, 3, 1, 1},
    {"3x3 16 @32 (cifar)", 16, 32, 16, 3, 1, 1},
    {"resnext 3x3 128 g32 @56", 128, 56, 128, 3, 1, 32},
    {"alexnet 11x11 s4", 3, 224, 64, 11, 4, 1},
    {"depthwise 96 s2 @112", 96, 112, 96, 3, 2, 96},
    {"depthwise 192 @28", 192, 28, 192, 3, 1, 192},
    {"depthwise 960 @7", 960, 7, 960, 3, 1, 960},
};

class Memory {
 public:
  explicit Memory(size_t bytes)
      : pointer_(static_cast<char*>(std::aligned_alloc(4096, (bytes + 4096 + 64) / 4096 * 4096 + 4096))) {
    float* f = reinterpret_cast<float*>(pointer_.get());
    for (size_t i = 0; i < bytes / sizeof(float); ++i) f[i] = static_cast<float>(i % 17) * 0.01f - 0.08f;
  }
  void* get() const { return pointer_.get(); }

 private:
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  std::unique_ptr<char, Free> pointer_;
};

class BenchRun final : public Run {
 public:
  std::vector<Memory> memory;
  RandomState state;
  void* at(int32_t buffer) const override {
    return buffer == kNone ? nullptr : memory[static_cast<size_t>(buffer)].get();
  }
  const RandomState& random() const override { return state; }

 protected:
  void parallel_erased(int64_t tasks, size_t bytes, void (*call)(const void*, int64_t, void*),
                       const void* body) override {
    if (bytes > size_) scratch_ = Memory(size_ = bytes);
    for (int64_t i = 0; i < tasks; ++i) call(body, i, scratch_.get());
  }

 private:
  size_t size_ = 0;
  Memory scratch_{0};
};

class BenchLower final : public Lower {
 public:
  BenchLower(const Program& program, const Node& node, BenchRun& run) : program_(program), node_(node), run_(run) {}
  const Graph& graph() const override { return program_.graph; }
  const Node& node() const override { return node_; }
  Isa isa() const override { return program_.isa; }
  Buffer workspace(size_t bytes) override {
    run_.memory.emplace_back(bytes);
    return static_cast<Buffer>(run_.memory.size()) - 1;
  }
  Buffer table(const void* data, size_t bytes) override {
    const Buffer buffer = workspace(bytes);
    std::memcpy(run_.at(buffer), data, bytes);
    return buffer;
  }
  void add(std::function<void(Run&)> step) override { steps.push_back(std::move(step)); }
  void check(const std::vector<Buffer>&, std::function<void(Run&)> look) override { add(std::move(look)); }
  std::vector<std::function<void(Run&)>> steps;

 private:
  const Program& program_;
  const Node& node_;
  BenchRun& run_;
};

ValueId operand(Graph& graph, const char* name, const Shape& shape, Layout layout) {
  Value value;
  value.name = name;
  value.shape = shape;
  value.role = Role::parameter;
  value.layout = layout;
  return graph.add_value(value);
}

/// Seconds of the best of several runs of the last node of the program, what comes before it having run once.
double best_seconds(Program& program) {
  select(program);
  choose_layouts(program);
  BenchRun run;
  for (const Value& value : program.graph.values) run.memory.emplace_back(physical_bytes(value));
  double best = 1e9, total = 0;
  for (const Node& node : program.graph.nodes) {
    BenchLower lower(program, node, run);
    node.op->lower(lower);
    best = 1e9;
    for (int i = 0; i < 30 && (i < 3 || total < 0.4); ++i) {
      const auto begin = std::chrono::steady_clock::now();
      for (const auto& step : lower.steps) step(run);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      best = std::min(best, seconds);
      if (&node == &program.graph.nodes.back()) total += seconds;
      else break;
    }
  }
  return best;
}

Program program_of(const Layer& l, int64_t batch, Isa isa, Precision precision, const char* op) {
  Program program;
  program.precision = precision;
  const Layout pictures = precision == Precision::bf16 ? Layout::blocked_bf16 : Layout::blocked;
  program.isa = isa;
  Graph& graph = program.graph;
  const int64_t pad = l.kernel / 2 - (l.kernel == 11 ? 3 : 0), out = (l.size + 2 * pad - l.kernel) / l.stride + 1;
  const Shape x{batch, l.c, l.size, l.size}, weight{l.k, l.c / l.groups, l.kernel, l.kernel}, y{batch, l.k, out, out};
  Json attrs = Json::object()
                   .set("stride", Shape{l.stride, l.stride})
                   .set("padding", Shape{pad, pad, pad, pad})
                   .set("groups", l.groups);
  std::vector<ValueId> ids;
  if (!std::strcmp(op, "conv2d")) {
    ids = {operand(graph, "x", x, l.c < 4 ? Layout::plain : pictures), operand(graph, "weight", weight, Layout::plain)};
    attrs.set("activation", "relu");
  } else if (!std::strcmp(op, "conv2d_backward_data")) {
    ids = {operand(graph, "dy", y, pictures), operand(graph, "weight", weight, Layout::plain)};
    attrs.set("input_shape", x);
  } else {
    ids = {operand(graph, "x", x, pictures), operand(graph, "dy", y, pictures)};
    attrs.set("weight_shape", weight);
  }
  graph.append(op, "node", ids, attrs);
  return program;
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t batch = argc > 1 ? std::atoll(argv[1]) : 8;
  Isa isa = best_isa();
  for (const Isa other : kIsas)
    if (argc > 2 && !std::strcmp(argv[2], isa_name(other))) isa = other;
  const bool bf16 = argc > 4 && !std::strcmp(argv[4], "bf16");
  const Precision precision = bf16 ? Precision::bf16 : Precision::fp32;
  std::printf("batch %lld, %s, GFLOP/s on one core\n%-26s %9s %9s %9s\n", static_cast<long long>(batch), isa_name(isa),
              "layer", "forward", "data", "weights");
  for (const Layer& l : kLayers) {
    if (argc > 3 && !std::strstr(l.name, argv[3])) continue;
    std::printf("%-26s", l.name);
    for (const char* op : {"conv2d", "conv2d_backward_data", "conv2d_backward_weights"}) {
      Program program = program_of(l, batch, isa, precision, op);
      const int64_t pad = l.kernel / 2 - (l.kernel == 11 ? 3 : 0), out = (l.size + 2 * pad - l.kernel) / l.stride + 1;
      const double flops = 2.0 * static_cast<double>(batch * out * out * l.k * (l.c / l.groups) * l.kernel * l.kernel);
      std::printf(" %9.1f", flops / best_seconds(program) * 1e-9);
      std::fflush(stdout);
    }
    std::printf("\n");
  }
}
