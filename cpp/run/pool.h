#pragma once
// The one thread pool of the process. A region of tasks runs on the calling thread and on workers; tasks are claimed
// through an atomic counter, so who runs a task is open and what it computes must not depend on that.
// Idle workers spin for about 300 microseconds, longer than most launches that have a single task, and then sleep. The pool is never destroyed: the process may exit while
// it works.
#include <cstddef>
#include <cstdint>

namespace thaw {

/// Processors this process may use: its affinity mask and the quota of its cgroup (v1 and v2), at least 1.
int available_threads();
/// Bytes of the second-level cache that a processor has for itself; 1 MiB where the system does not say.
size_t second_level_cache();

/// Denormal numbers count as zero (both as operands and as results) on this thread while the scope lives.
/// Every thread that computes holds one, so that the bits do not depend on who computed what.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  uint64_t before_ = 0;
};

class Pool {
 public:
  static constexpr int kMaxThreads = 256;

  static Pool& shared();

  /// Threads a region uses when it names no number: available_threads(), or what set_threads said.
  int threads() const;
  /// 0: back to available_threads(). More than there are processors is allowed (1 … kMaxThreads).
  void set_threads(int threads);

  /// Calls body(task, scratch) for task = 0 … tasks-1 and returns when all are done. `scratch` bytes (64-byte aligned,
  /// not cleared, null for 0) are private to the thread during one task. `limit` > 0: that many threads at most, the
  /// caller included. One region runs at a time; a second caller waits; within a task the region runs on that thread.
  /// The first exception of a task is thrown here after every running task has ended; no further task is begun.
  template <class Body>
  void parallel(int64_t tasks, size_t scratch, const Body& body, int limit = 0) {
    run(tasks, scratch, [](const void* b, int64_t task, void* memory) { (*static_cast<const Body*>(b))(task, memory); },
        &body, limit);
  }
  using Call = void (*)(const void* body, int64_t task, void* scratch);
  void run(int64_t tasks, size_t scratch, Call call, const void* body, int limit = 0);

 private:
  Pool();
  struct State;
  State* state_;
};

}  // namespace thaw
