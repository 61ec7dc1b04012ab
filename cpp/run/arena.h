#pragma once
// One arena for all plans of the process, and one for each GPU: runs happen one at a time, so they can share their
// memory. It is as large as the largest plan that exists.
#include <cstddef>
#include <mutex>
#include <set>
#include <vector>

#include "run/memory.h"

namespace thaw {

class Arena {
 public:
  /// kHost or a GPU.
  static Arena& of(int device);
  void reserve(size_t bytes);
  void release(size_t bytes);
  /// At least `bytes`, for the run in progress. Called from the compute lane only.
  char* memory(size_t bytes);

 private:
  explicit Arena(int device) : device_(device) {}
  Memory take(size_t bytes) const { return device_ == kHost ? Memory(bytes) : Memory::on_gpu(bytes); }

  const int device_;
  std::mutex mutex_;
  std::multiset<size_t> wanted_;
  Memory memory_;
};

/// Assigns offsets to intervals of time so that those that overlap in time do not overlap in memory.
struct Interval {
  int32_t buffer = -1;
  size_t bytes = 0;
  int first = 0, last = 0;  // positions in the program, both inclusive
  size_t offset = 0;        // result
};
/// Returns the bytes that all together take.
size_t place(std::vector<Interval>& intervals);

}  // namespace thaw
