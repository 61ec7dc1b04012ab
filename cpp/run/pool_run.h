#pragma once
// A run on the shared pool: what the end of a step (update, clipping) and tests of kernels need of `Run`.
#include "run/pool.h"
#include "run/queue.h"
#include "run/run.h"

namespace thaw {

class PoolRun : public Run {
 public:
  explicit PoolRun(const JobContext& context, const RandomState& random = {}) : context_(context), random_(random) {}
  void* at(int32_t) const override { return nullptr; }
  const RandomState& random() const override { return random_; }

 protected:
  void parallel_erased(int64_t tasks, size_t scratch, void (*call)(const void*, int64_t, void*), const void* body) override {
    Pool::shared().run(tasks, scratch, call, body, context_.threads);
  }

 private:
  const JobContext& context_;
  RandomState random_;
};

}  // namespace thaw
