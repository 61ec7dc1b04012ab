#pragma once
// The next batch of a plan on a GPU. While the GPU computes a step, the host copies the batch that comes after it into pinned
// memory, and a second stream takes it to the GPU from there. The step of that batch then copies it to the plan's inputs,
// on the device: recorded graphs know one address of an input.
//
// A batch has a ticket, a number that is never given twice. A step that finds another ticket here, or none, takes its batch
// from the host itself, so that a batch which was brought in vain does no harm.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "run/memory.h"

namespace thaw {

/// The data of one input of a plan.
struct Binding {
  const void* data = nullptr;  // null: no data is bound to this input
  size_t bytes = 0;
};

class Staging {
 public:
  /// Begins to bring a batch, beside what was launched since `take`. Until the next `gpu::backend().wait()` it is under way.
  /// Throws ERR_DEVICE_MEMORY.
  void bring(int64_t ticket, const std::vector<Binding>& inputs, const std::shared_ptr<Account>& account, int threads);
  bool holds(int64_t ticket) const { return ticket != 0 && ticket == ticket_; }
  /// Copies the batch to the inputs; it is gone from here then.
  void take(const std::vector<void*>& inputs);

 private:
  Memory pinned_, on_gpu_;
  std::vector<size_t> bytes_;  // of each input, which begin on lines of their own
  int64_t ticket_ = 0;
};

}  // namespace thaw
