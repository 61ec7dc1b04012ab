#pragma once
// The process-wide queue of jobs. Two lanes with one thread each: `compute` (which uses the whole pool) and `io`.
// Owners (sessions) take turns within a lane; an owner's jobs run one at a time in the order of submission, also
// across lanes. The queue is never destroyed: the process may exit while a job runs.
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace thaw {

enum class Lane : uint8_t { compute, io };

/// What a running job sees of its surroundings.
struct JobContext {
  const std::atomic<bool>* cancelled = nullptr;
  int threads = 0;  // limit for Pool::run; 0: the pool's number

  bool stopped() const { return cancelled && cancelled->load(std::memory_order_relaxed); }
  /// Throws ERR_ABORTED when the job was cancelled. Long jobs call it between launches.
  void check() const;
};

struct Job {
  uint64_t owner = 0;
  Lane lane = Lane::compute;
  /// Runs on the lane's thread unless the job was cancelled before its turn. Must not throw.
  std::function<void(const std::atomic<bool>& cancelled)> run;
  /// Called once, after `run` or instead of it; `started` says which. On the lane's thread, or, for a job that had
  /// not begun, on the thread that cancelled it. Must not throw.
  std::function<void(bool started)> done;
  std::atomic<bool> cancelled{false};
};

class Queue {
 public:
  static Queue& shared();

  /// A new owner's number.
  uint64_t owner();
  void submit(std::shared_ptr<Job> job);
  /// Lets go of something on a lane's thread: giving back much memory takes time that JavaScript's thread has not.
  void discard(std::shared_ptr<void> memory);
  /// Asks a job to stop: one that waits is taken out, one that runs sees its flag.
  void cancel(const std::shared_ptr<Job>& job);
  /// Cancels every job of an owner; with `wait` returns only when none of them runs any more.
  void cancel_all(uint64_t owner, bool wait);
  /// For the end of the process: cancels everything, waits up to `milliseconds` for running jobs, begins no more.
  void shut_down(int milliseconds);

 private:
  Queue();
  struct State;
  State* state_;
};

}  // namespace thaw
