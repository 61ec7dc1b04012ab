#pragma once
// Where the graphs of harness.h run: memory full of NaN on the processor or on the GPU of THAW_CUDA_BINARY, and a run that
// takes tasks in either order.
#include <cstdlib>
#include <memory>
#include <vector>

#include "compile/compile.h"
#include "run/memory.h"
#include "run/run.h"

namespace harness {

using namespace thaw;

/// The instruction sets that tests run: the processor's, or the GPU of THAW_CUDA_BINARY. AMX is asked for where
/// tiles may compute: in bf16.
inline std::vector<Isa> isas(bool bf16 = true) {
  if (const char* binary = std::getenv("THAW_CUDA_BINARY")) {
    gpu::open(binary, THAW_VERSION);
    gpu::use(0);
    return {Isa::cuda};
  }
  std::vector<Isa> list;
  for (const Isa isa : kIsas)
    if (isa_usable(isa) && (bf16 || isa != Isa::amx)) list.push_back(isa);
  return list;
}

/// 64-byte aligned memory, NaN all over.
class Memory {
 public:
  explicit Memory(size_t bytes, bool gpu = false)
      : memory_(gpu ? thaw::Memory::on_gpu(bytes) : thaw::Memory(bytes + 64)), gpu_(gpu) {
    const std::vector<char> nan(gpu ? bytes : bytes + 64, '\xff');
    copy_in(gpu, memory_.data(), nan.data(), nan.size());
  }
  void* get() const { return memory_.data(); }
  void put(const void* from, size_t bytes) const { copy_in(gpu_, memory_.data(), from, bytes); }
  void take(void* to, size_t bytes) const { copy_out(gpu_, to, memory_.data(), bytes); }

 private:
  thaw::Memory memory_;
  bool gpu_;
};

class SerialRun final : public Run {
 public:
  bool backwards = false;
  bool gpu = false;
  int threads = 1;  // for which launches are cut
  RandomState state;
  std::vector<Memory> memory;

  void add(size_t bytes) { memory.emplace_back(bytes, gpu); }
  const Memory& buffer(int32_t number) const { return memory[static_cast<size_t>(number)]; }

  void* at(int32_t buffer) const override {
    return buffer == kNone ? nullptr : memory[static_cast<size_t>(buffer)].get();
  }
  const RandomState& random() const override { return state; }
  const int64_t* samples() const override {
    if (!gpu) return Run::samples();
    const size_t bytes = state.samples.size() * sizeof(int64_t);
    samples_ = std::make_unique<Memory>(bytes, true);
    samples_->put(state.samples.data(), bytes);
    return static_cast<const int64_t*>(samples_->get());
  }
  void fetch(void* to, int32_t number, size_t offset, size_t bytes) const override {
    copy_out(gpu, to, static_cast<const char*>(at(number)) + offset, bytes);
  }

 protected:
  void parallel_erased(int64_t tasks, size_t scratch, void (*call)(const void*, int64_t, void*),
                       const void* body) override {
    if (gpu) fail("ERR_INTERNAL", "expected a launch on the GPU, received tasks for the processor");
    for (int64_t i = 0; i < tasks; ++i) {
      const Memory bytes(scratch);
      call(body, backwards ? tasks - 1 - i : i, bytes.get());
    }
  }

 private:
  mutable std::unique_ptr<Memory> samples_;
};

}  // namespace harness
