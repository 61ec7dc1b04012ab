#pragma once
// A network as data: values, and nodes in an order in which every node comes after what it reads.
// The passes of compile/ rewrite graphs; ops/ says what each operator means.
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "error.h"
#include "graph/json.h"

namespace thaw {

enum class DType : uint8_t { f32, bf16, i32, i64, boolean };
size_t dtype_size(DType);
const char* dtype_name(DType);      // "f32", "bf16", "i32", "i64", "bool"
DType dtype_from(std::string_view);  // throws ERR_DTYPE

using Shape = std::vector<int64_t>;
int64_t count(const Shape&);          // product; 1 for a scalar
std::string to_string(const Shape&);  // "[16, 3, 224, 224]"

/// How the elements of a value lie in memory.
///  plain    row-major in the order of the shape.
///  blocked  rank 4 [N,C,H,W] in f32 only: [N][ceil(C/16)][H][W][16]. One pixel of one block is one
///           64-byte line. The lanes beyond C hold finite numbers that nobody's result depends on.
///  blocked_bf16  the same with [N][ceil(C/32)][H][W][32] in bf16, the value's type being f32 all the same.
enum class Layout : uint8_t { plain, blocked, blocked_bf16 };
const char* layout_name(Layout);
constexpr int64_t kBlock = 16, kBlockBf16 = 32;

/// Where a value comes from.
///  input      bound by the caller at each run
///  parameter  a named tensor of the store that training may change
///  state      a named tensor of the store that a run may rewrite (running statistics, hidden state)
///  computed   the output of a node
enum class Role : uint8_t { input, parameter, state, computed };

using ValueId = int32_t;
using NodeId = int32_t;
constexpr int32_t kNone = -1;

struct Value {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  Role role = Role::computed;
  Layout layout = Layout::plain;
  bool trainable = false;   // parameters only
  NodeId producer = kNone;
  /// A part of a concatenation of blocked pictures lies in the memory of `whole`, from this block of channels of each
  /// picture on (compile/in_place.cpp).
  ValueId whole = kNone;
  int64_t whole_block = 0;
};

/// Bytes that a value takes in its layout.
size_t physical_bytes(const Value&);
/// Elements that a value takes in its layout, padding lanes included; of two bytes each in blocked_bf16.
int64_t physical_count(const Value&);
/// Channels of a block of a blocked value, and its blocks.
int64_t block_channels(const Value&);
int64_t channel_blocks(const Value&);

struct OpDef;

struct Node {
  std::string name;            // "layer1.0.conv1"; gradient nodes get "<name>/<op>"
  const OpDef* op = nullptr;
  std::vector<ValueId> inputs;  // kNone: an optional operand that is absent
  std::vector<ValueId> outputs;
  Json attrs = Json::object();
};

struct Loss {
  ValueId value = kNone;
  double weight = 1;
};

/// A state and the value that replaces it when a training step has succeeded.
struct StateUpdate {
  ValueId state = kNone;
  ValueId value = kNone;
};

struct Graph {
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<ValueId> outputs;
  std::vector<Loss> losses;
  std::vector<StateUpdate> updates;
  std::unordered_map<std::string, ValueId> by_name;

  ValueId add_value(Value);
  ValueId find(std::string_view name) const;  // throws ERR_GRAPH when there is none
  /// Appends a node: checks it, infers its outputs and adds them (named "<name>", "<name>:1", …).
  /// Returns the node's id. The name is made unique.
  NodeId append(const std::string& op, std::string name, std::vector<ValueId> inputs, Json attrs);
  /// The same without adding to `nodes`: for passes that insert nodes elsewhere.
  Node make(const std::string& op, std::string name, std::vector<ValueId> inputs, Json attrs);
  /// Sets `producer` of every computed value from the order of `nodes`.
  void renumber();
  /// For each value the nodes that read it, in order.
  std::vector<std::vector<NodeId>> readers() const;
  /// The value in whose memory v lies: itself or its whole.
  ValueId home(ValueId v) const { return values[v].whole == kNone ? v : values[v].whole; }
  /// Blocks of channels of others that lie between two pictures of v.
  int64_t gap(ValueId v) const;
  /// Bytes from the beginning of the value's home to it.
  size_t offset_in_home(ValueId v) const;
};

/// Reads a graph description (see src/graph/types.ts for its form) at concrete input shapes.
/// `shapes` maps input names to shapes; symbolic dimensions must agree between inputs.
/// Throws ERR_GRAPH, ERR_SHAPE or ERR_OPERATOR.
Graph read_graph(const Json& description, const Json& shapes);

}  // namespace thaw
