#pragma once
// What the core asks of the second binary, as plain C: the two are built apart, by different compilers perhaps, and meet
// when a network is put on a GPU (run/device.cpp). Both are of one version: the core refuses another.
//
// Functions that can fail return null, or a sentence that is valid until the thread's next call. All work on the calling
// thread's current device; launches and copies go to that device's one compute stream, in order, unless it says otherwise.
#include <cstddef>
#include <cstdint>

namespace thaw {

struct GpuDescription {
  char name[256];
  int32_t compute_major, compute_minor;
  int32_t multiprocessors;
  uint64_t memory;         // bytes in all
};

/// A recorded run of launches.
struct GpuGraph;

struct GpuBackend {
  const char* version;     // of thaw
  /// The table of that name (`conv2d`, …), as kernels/<stem>.h declares it, or null.
  const void* (*table)(const char* name);

  /// Versions as CUDA counts them (13000 is 13.0): of the driver here (0: none) and the least that this binary runs on.
  void (*versions)(int32_t* driver, int32_t* needed);
  /// How many GPUs it can use; the sentence says why there is none.
  const char* (*count)(int32_t* devices);
  const char* (*describe)(int32_t device, GpuDescription* description);
  /// Makes the device the thread's current one; its first use starts it, which takes a moment.
  const char* (*use)(int32_t device);

  /// Memory of the device, aligned to 256 bytes. `*memory` is null where there is not so much; that is no failure.
  const char* (*allocate)(size_t bytes, void** memory);
  void (*release)(void* memory);
  const char* (*free_memory)(size_t* bytes);
  /// Memory of the host that the device copies from by itself; `*memory` is null where there is not so much.
  const char* (*allocate_pinned)(size_t bytes, void** memory);
  void (*release_pinned)(void* memory);

  /// Host to device. The source may change as soon as it returns.
  const char* (*upload)(void* to, const void* from, size_t bytes);
  /// Device to host, after everything before it. Waits.
  const char* (*download)(void* to, const void* from, size_t bytes);
  const char* (*copy)(void* to, const void* from, size_t bytes);
  const char* (*clear)(void* to, size_t bytes);
  /// Pinned memory to the device by a second stream, beside all launches and copies but those before the last `fence`. The
  /// source belongs to the copy until the next `wait`.
  const char* (*upload_beside)(void* to, const void* from, size_t bytes);
  const char* (*fence)();
  /// Waits for all of both streams; says what went wrong in them.
  const char* (*wait)();

  /// Notes when the compute stream comes here, as time `index`; after `wait`, the milliseconds between two of them.
  const char* (*note_time)(int32_t index);
  const char* (*between)(int32_t from, int32_t to, float* milliseconds);

  /// From `record_begin` to `record_end` launches are noted and not run. `*graph` belongs to the caller.
  const char* (*record_begin)();
  const char* (*record_end)(GpuGraph** graph);
  const char* (*replay)(GpuGraph* graph);
  void (*forget)(GpuGraph* graph);
};

}  // namespace thaw

/// The one symbol that the second binary exports.
extern "C" const thaw::GpuBackend* thaw_gpu_backend();
