#pragma once
// What a launch sees while a plan runs: memory, threads and the randomness of the step.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace thaw {

class Pool;

/// Random draws depend on (seed, epoch, sample, node name) alone.
struct RandomState {
  uint64_t seed = 0;
  int64_t epoch = 0;
  /// One identity per row of the batch; empty: the row's index.
  std::vector<int64_t> samples;
};

class Run {
 public:
  virtual ~Run() = default;
  /// Pointer to a value or workspace; null for kNone.
  virtual void* at(int32_t buffer) const = 0;
  float* f32(int32_t buffer) const { return static_cast<float*>(at(buffer)); }
  virtual const RandomState& random() const = 0;
  /// random().samples where kernels can read them.
  virtual const int64_t* samples() const { return random().samples.data(); }
  /// Copies bytes of a buffer to the host, once all launches before have written them.
  virtual void fetch(void* to, int32_t buffer, size_t offset, size_t bytes) const {
    std::memcpy(to, static_cast<const char*>(at(buffer)) + offset, bytes);
  }

  /// Calls body(task, scratch) for task = 0 … tasks-1 on the pool's threads, in any order, and returns when all are done.
  template <class Body>
  void parallel(int64_t tasks, size_t scratch, const Body& body) {
    parallel_erased(tasks, scratch, [](const void* b, int64_t task, void* memory) {
      (*static_cast<const Body*>(b))(task, memory);
    }, &body);
  }

 protected:
  virtual void parallel_erased(int64_t tasks, size_t scratch, void (*call)(const void*, int64_t, void*), const void* body) = 0;
};

}  // namespace thaw
