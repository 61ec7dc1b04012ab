#pragma once
// One network's native side: its tensors, plans and caches, and the commands that work on them.
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "optim/optimizer_gpu.h"
#include "session/command.h"
#include "session/feature_cache.h"
#include "session/store.h"

namespace thaw {

class Plan;            // compile/: what `compile` makes and `run` runs
struct PreparedCache;  // compile/: packed and folded weights, shared between plans

/// How a command ended: `code` is empty on success.
struct Outcome {
  std::string reply;  // JSON text
  Buffers buffers;
  std::string code;
  std::string message;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  struct Options {
    int threads = 0;  // limit for each job; 0: the pool's number
  };
  /// Sessions live in shared pointers: a job in flight keeps its session.
  static std::shared_ptr<Session> create(const Options& options);
  ~Session();

  /// Queues a command. `request` is JSON text, parsed on the native thread. `done` is called once, from a native thread
  /// (or from the caller of cancel and close for a job that had not begun). Throws ERR_COMMAND for an unknown command
  /// and ERR_DISPOSED after close.
  std::shared_ptr<Job> submit(const std::string& command, std::string request, Buffers buffers,
                              std::function<void(Outcome)> done);
  /// Cancels what is queued and in flight and takes no more; with `wait` returns when nothing of it runs any more.
  void close(bool wait);
  /// Lets go of a session on a native thread, since giving back much memory takes time.
  static void release(std::shared_ptr<Session> session);

  int64_t bytes() const { return account->bytes(); }

  const Options options;
  const std::shared_ptr<Account> account = std::make_shared<Account>();

  // What commands work on. Touched by the session's running command only.
  Store store{account};
  std::map<int64_t, std::shared_ptr<Plan>> plans;
  std::shared_ptr<PreparedCache> prepared;
  std::map<int64_t, FeatureCache> caches;
  std::vector<Memory> cut;  // values of a cut on their way to what lies above it
  int device = kHost;  // where its plans run
  GpuOptimizer gpu_optimizer{account};
  int64_t next_id = 1;  // for plans and caches

  /// The cache of that number. Throws ERR_CACHE.
  FeatureCache& cache(int64_t id);

 private:
  explicit Session(const Options& options);
  const uint64_t owner_;
  std::atomic<bool> closed_{false};
};

}  // namespace thaw
