#pragma once
// Part of the stand-in for CUDA: the memory of its device.
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include "host.h"

namespace standin {

/// Held by every call of the runtime, while kernels run too.
std::recursive_mutex& runtime_mutex();
/// Forgets who touched what, so that stamps may begin anew.
void forget_records();
/// What lies at an address, in words.
std::string describe_address(uintptr_t address);
/// Is it pinned memory of the host?
bool is_pinned(const void* memory);
int device_count();
size_t device_memory();
size_t memory_used();
cudaError_t allocate(void** memory, size_t bytes);
cudaError_t release(void* memory);
cudaError_t pin(void** memory, size_t bytes);
cudaError_t unpin(void* memory);

/// Copies as cudaMemcpy does, and carries along what is known to have been written. False where device memory is meant
/// and none is there.
bool copy_bytes(void* to, const void* from, size_t bytes, bool to_device, bool from_device);
bool set_bytes(void* to, int value, size_t bytes);

}  // namespace standin
