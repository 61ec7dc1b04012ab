#pragma once
// The optimizers on the thread's current GPU: the same updates as optimizer.h, all parameters in one launch. Pointers of the
// slots are the GPU's, but for `steps`.
#include <map>

#include "kernels/optim_gpu.h"
#include "optim/optimizer.h"
#include "run/memory.h"

namespace thaw {

class GpuOptimizer {
 public:
  explicit GpuOptimizer(std::shared_ptr<Account> account = nullptr) : account_(std::move(account)) {}
  /// Row gradients become dense ones.
  void densify(std::vector<ParameterSlot>& slots);
  /// sums[i] = or += slot i's gradient, dense.
  void accumulate(const std::vector<ParameterSlot>& slots, const std::vector<float*>& sums, bool begin);
  /// The norm of all gradients together; `update` multiplies them by clip_factor(norm, limit) then. Waits.
  double clip(const std::vector<ParameterSlot>& slots, double limit);
  void update(const OptimizerSettings& settings, const std::vector<ParameterSlot>& slots);

 private:
  /// The slots as kernels read them, in `table_`.
  GpuSlots upload(const OptimizerSettings& settings, const std::vector<ParameterSlot>& slots);
  /// Makes the block that large; it may lie elsewhere then.
  char* room(Memory& memory, size_t bytes) const;

  std::shared_ptr<Account> account_;
  Memory table_, sums_;
  std::map<std::string, Memory> dense_;  // by parameter: where its rows were summed
  bool clipped_ = false;
};

}  // namespace thaw
