#pragma once
// A program with the launches of its nodes and the workspaces that these ask for.
#include <functional>
#include <set>
#include <vector>

#include "compile/compile.h"
#include "run/arena.h"
#include "run/memory.h"
#include "run/run.h"

namespace thaw {

struct Lowered {
  using Step = std::function<void(Run&)>;

  /// `threads`: that will share each launch.
  Lowered(Program program, int threads);
  /// Adds the launches of node n.
  void lower(size_t n);
  size_t buffers() const { return program.graph.values.size() + extras.size(); }
  /// Is this buffer a table?
  bool is_table(size_t buffer) const {
    return buffer >= program.graph.values.size() && !extras[buffer - program.graph.values.size()].table.empty();
  }

  /// The time, in nodes, during which each value that `wanted` names and each workspace of those nodes needs memory; a
  /// part of another value needs none of its own.
  /// What leaves the program lives to its end.
  std::vector<Interval> intervals(const std::function<bool(ValueId)>& wanted,
                                  const std::function<bool(NodeId)>& wanted_node) const;
  /// The offsets of what was placed, and of the parts that lie in it.
  void set_offsets(const std::vector<Interval>& placed, std::vector<size_t>& offsets) const;

  Program program;
  int threads;
  std::vector<std::vector<Step>> steps;  // per node
  /// Buffers beyond the values: workspaces, and tables, which hold their numbers.
  struct Extra {
    size_t bytes = 0;
    NodeId node = kNone;
    Memory table;
  };
  std::vector<Extra> extras;
  std::vector<Step> checks;              // of a GPU: after all launches
  std::set<int32_t> checked;             // what they read lives to the end
  size_t scratch = 0;  // most bytes that a task of a launch asks for
};

/// The memory in which one buffer begins and ends on a cache line of its own.
inline size_t padded_bytes(size_t bytes) { return (bytes > 0 ? bytes + 63 : 64) / 64 * 64; }

}  // namespace thaw
