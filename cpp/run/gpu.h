#pragma once
// GPUs, by way of the second binary (kernels/cuda/backend.h), which is opened when a network is put on one. A process
// without it knows no GPU; nothing here runs unless it is asked for.
#include <string>

#include "kernels/cuda/backend.h"

namespace thaw {

/// Where memory lies and launches run: a GPU's number, or the processor.
constexpr int kHost = -1;

namespace gpu {

/// Opens the second binary; once is enough, and a later call with another path changes nothing. Throws ERR_DEVICE where
/// it cannot be loaded or is of another version of thaw than `version`.
void open(const std::string& path, const std::string& version);
/// Throws ERR_DEVICE where none is open.
const GpuBackend& backend();

/// How many there are. Throws ERR_DEVICE, which says what is missing (driver, its version, a device).
int count();
GpuDescription describe(int device);
/// Makes it the thread's current one. Throws ERR_DEVICE.
void use(int device);

/// Throws ERR_DEVICE where a function of the backend failed.
void check(const char* failure);

/// Memory of the thread's current GPU. Throws ERR_DEVICE_MEMORY, which names the bytes wanted and free.
void* allocate(size_t bytes);
/// Memory of the host that the GPU copies from by itself. Throws ERR_DEVICE_MEMORY.
void* allocate_pinned(size_t bytes);

}  // namespace gpu
}  // namespace thaw
