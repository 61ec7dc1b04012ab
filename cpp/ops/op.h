#pragma once
// What an operator is: its checks and shape rule, its gradient rule, its choice of kernel, its layouts and
// its lowering to launches. One file in ops/ defines one operator together with its backward operators.
#include <functional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "kernels/isa.h"
#include "run/run.h"

namespace thaw {

/// Shape rule: reads inputs and attributes, calls `output` once per output in order.
class Infer {
 public:
  Infer(const Graph& graph, const Node& node) : graph(graph), node(node) {}
  const Graph& graph;
  const Node& node;

  size_t inputs() const { return node.inputs.size(); }
  bool has(size_t i) const { return i < node.inputs.size() && node.inputs[i] != kNone; }
  const Value& in(size_t i) const;      // throws ERR_GRAPH when operand i is absent
  const Shape& shape(size_t i) const { return in(i).shape; }
  DType dtype(size_t i) const { return in(i).dtype; }
  const Json& attrs() const { return node.attrs; }

  void output(DType dtype, Shape shape);
  /// Operand i must be f32 with `rank` dimensions (-1: any rank).
  void expect_f32(size_t i, int rank = -1) const;
  void expect_shape(size_t i, const Shape& shape) const;
  /// Throws ERR_SHAPE: "expected <expected> for <operator> '<node>', received <received>".
  [[noreturn]] void fail(const std::string& expected, const std::string& received) const;

  struct Output { DType dtype; Shape shape; };
  std::vector<Output> outputs;
};

/// Gradient rule: emits nodes and adds contributions to the gradients of inputs.
class Gradient {
 public:
  virtual ~Gradient() = default;
  virtual const Graph& graph() const = 0;
  virtual const Node& node() const = 0;
  ValueId input(size_t i) const { return i < node().inputs.size() ? node().inputs[i] : kNone; }
  ValueId output(size_t i) const { return node().outputs[i]; }
  const Json& attrs() const { return node().attrs; }
  const Value& value(ValueId id) const { return graph().values[id]; }
  /// Gradient that arrives at output i; kNone where nothing depends on it.
  virtual ValueId grad(size_t i) const = 0;
  /// Does a trainable parameter need the gradient of input i? Emit nothing for inputs that do not.
  virtual bool needs(size_t i) const = 0;
  /// Emits a node and returns its outputs.
  virtual std::vector<ValueId> emit(const std::string& op, std::vector<ValueId> inputs, Json attrs = Json::object()) = 0;
  ValueId emit1(const std::string& op, std::vector<ValueId> inputs, Json attrs = Json::object()) {
    return emit(op, std::move(inputs), std::move(attrs))[0];
  }
  /// Adds a contribution to the gradient of input i; contributions are summed in node order.
  virtual void add(size_t i, ValueId gradient) = 0;
  /// A gradient that is zero but for some rows of the first dimension: rows [count, …], indices i32 [count].
  /// Indices may repeat (their rows are summed in order); negative indices are ignored.
  virtual void add_rows(size_t i, ValueId indices, ValueId rows) = 0;
};

/// Choice of kernel and packing of weights, before layouts are chosen.
class Select {
 public:
  virtual ~Select() = default;
  virtual Graph& graph() = 0;
  virtual Node& node() = 0;               // may be changed in place: inputs, attrs
  virtual Isa isa() const = 0;
  /// May this node compute in bf16?
  virtual bool bf16() const = 0;
  /// Does no gradient go through this node: is the plan inference, or does nothing that it trains change the results?
  virtual bool inference() const = 0;
  /// Inserts a node ahead of this one and returns its first output. What reads only parameters, states and other
  /// such values is computed once and kept until one of them changes (packing, folding).
  virtual ValueId before(const std::string& op, std::vector<ValueId> inputs, Json attrs = Json::object()) = 0;
  /// Records the kernel taken ("direct", "depthwise", "reference"): it becomes attrs["kernel"].
  virtual void choose(const std::string& kernel) = 0;
  virtual void declined(const std::string& kernel, const std::string& why) = 0;
};

/// The layouts a node wants. Both start as all plain, sized to the node's operands.
struct Layouts {
  std::vector<Layout> inputs;
  std::vector<Layout> outputs;
};

/// A place in memory while a plan runs: a value's, or one of a node's own (a workspace, a table).
using Buffer = int32_t;

/// Lowering: turns a node into launches. Pointers are resolved at run time by Run::at.
class Lower {
 public:
  virtual ~Lower() = default;
  virtual const Graph& graph() const = 0;
  virtual const Node& node() const = 0;
  virtual Isa isa() const = 0;
  bool has(size_t i) const { return i < node().inputs.size() && node().inputs[i] != kNone; }
  const Value& in(size_t i) const { return graph().values[node().inputs[i]]; }
  const Value& out(size_t i) const { return graph().values[node().outputs[i]]; }
  const Json& attrs() const { return node().attrs; }
  /// kNone for an absent operand: Run::at(kNone) is a null pointer.
  Buffer input(size_t i) const { return has(i) ? node().inputs[i] : kNone; }
  Buffer output(size_t i) const { return node().outputs[i]; }
  /// Blocks of others between two pictures of an operand or a result: see OpDef::parts.
  int64_t gap_in(size_t i) const { return has(i) ? graph().gap(node().inputs[i]) : 0; }
  int64_t gap_out(size_t i) const { return graph().gap(node().outputs[i]); }
  /// Memory that lives while this node runs (64-byte aligned, not cleared).
  virtual Buffer workspace(size_t bytes) = 0;
  /// Numbers that kernels read and no run changes (offsets, windows), where kernels can reach them.
  virtual Buffer table(const void* data, size_t bytes) = 0;
  template <class T>
  Buffer table(const std::vector<T>& numbers) {
    return table(numbers.data(), numbers.size() * sizeof(T));
  }
  /// Threads that share the tasks of a launch: a hint for cuts that change no bits.
  virtual int threads() const { return 1; }
  /// Is output i too large to be found in the caches again? Then it is written past them: a store into a cache reads the
  /// line first.
  virtual bool streams(size_t i) const { return (void)i, false; }
  virtual void add(std::function<void(Run&)> step) = 0;
  /// Looks at what launches left in `reads` (by Run::fetch) and throws where it is wrong: right after them, or on a GPU
  /// at the end of the run.
  virtual void check(const std::vector<Buffer>& reads, std::function<void(Run&)> look) = 0;
  /// Said before a launch whose tasks ask for so many bytes.
  virtual void announce(size_t scratch) { (void)scratch; }

  /// The usual launch: `fill` makes the kernel's arguments from the run, then `kernel` runs once per task.
  /// `tasks` must follow from shapes alone, so that the bits do not depend on the number of threads.
  /// `scratch` bytes are private to a thread while it runs one task.
  template <class Args, class Fill>
  void launch(void (*kernel)(const Args&, int64_t task, void* scratch), int64_t tasks, size_t scratch, Fill fill) {
    announce(scratch);
    add([=, gpu = isa() == Isa::cuda](Run& run) {
      const Args args = fill(run);
      // A GPU's entry launches all tasks (kernels/cuda).
      if (gpu) return kernel(args, tasks, nullptr);
      run.parallel(tasks, scratch, [&](int64_t task, void* memory) { kernel(args, task, memory); });
    });
  }
};

constexpr int kResult = -1;

/// The rows of operand 0 that a row of the result reads: row i those from i * stride - top on, `size` of them (0: no bands). Other
/// pictures it reads at row i itself.
struct RowWindow {
  int64_t size = 1, stride = 1, top = 0;
  int64_t multiple = 1;    // of rows, counted from the picture's first, that are computed together
  bool has_padding = false;  // above and below, by which a band reads an operand that has other rows than it needs
};
inline RowWindow same_row(const Node&) { return {}; }

struct OpDef {
  const char* name;
  void (*infer)(Infer&) = nullptr;
  void (*gradient)(Gradient&) = nullptr;               // null: not differentiable
  void (*select)(Select&) = nullptr;                   // null: nothing to choose
  void (*layout)(const Graph&, const Node&, Layouts&) = nullptr;  // null: plain everywhere
  void (*lower)(Lower&) = nullptr;
  /// It has kernels for pictures in Layout::blocked_bf16 (in the layout rules that operators share).
  bool bf16 = false;
  /// Row i of each result depends on row i of the operands that have rows alone, so that a batch can run in parts.
  bool per_picture = false;
  /// May operand i, or its result (kResult), be a part of a concatenation, so that others' blocks lie between two of its
  /// pictures (Graph::gap)? Asked of nodes with their kernels and layouts; null: none may. Not on a GPU.
  bool (*parts)(const Graph&, const Node&, int operand) = nullptr;
  /// Can it run on a band of rows? Null: its results need whole pictures.
  RowWindow (*rows)(const Node&) = nullptr;
  /// Its result differs between runs with equal operands (dropout): never computed ahead.
  bool random = false;
  /// Pairs (input, output): the output replaces the state that the input names, where the node has that output.
  std::vector<std::pair<int, int>> states = {};
};

// Layout rules that many operators share.
/// Every f32 operand of rank 4 is blocked: in bf16 where one is already and the operator has kernels for that.
void layout_images(const Graph&, const Node&, Layouts&);
/// The same where some f32 operand of rank 4 is blocked already, else plain (elementwise operators).
void layout_follow(const Graph&, const Node&, Layouts&);

/// The operator of that name, or null.
const OpDef* find_op(std::string_view name);

// One function per row of ops.def: ops/<file>.cpp defines `const OpDef& op_<name>()`.
#define OP(name) const OpDef& op_##name();
#include "ops.def"
#undef OP

}  // namespace thaw
