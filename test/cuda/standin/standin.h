#pragma once
// What tests see of the stand-in for CUDA.
#include <cstddef>
#include <string>
#include <vector>

namespace standin {

/// Sentences on what kernels did wrong since the last `forget_violations`, each place of the source once, at most 32.
std::vector<std::string> violations();
void forget_violations();

/// The memory of each device in bytes. At the start 4 GiB, or the environment's THAW_STANDIN_MEMORY.
void set_memory(size_t bytes);
/// How many devices there are, 0 to 8; all share one memory. At the start 1, or the environment's THAW_STANDIN_DEVICES.
void set_devices(int devices);
/// Are reads of device memory reported that nobody has written? At the start they are.
void set_check_initialised(bool check);

/// Host memory that kernels may touch, like an allocation of the device; all of it counts as written. Aligned to 16 bytes.
class Registered {
 public:
  Registered(void* memory, size_t bytes);
  ~Registered();
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;

 private:
  void* memory_;
};

}  // namespace standin
