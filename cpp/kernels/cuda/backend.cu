// The second binary's interface: devices, memory, copies and recorded graphs by the CUDA runtime, and the tables of all
// kernels by name.
#include "kernels/cuda/backend.h"

#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/tables.h"

#ifndef THAW_VERSION
#define THAW_VERSION "0.0.0"
#endif

namespace thaw {
namespace cuda {

namespace {

constexpr int kDevices = 64;  // more than a machine has

struct Streams {
  cudaStream_t compute = nullptr, copies = nullptr;
  cudaEvent_t fence = nullptr;
  std::vector<cudaEvent_t> times;
};

struct ThreadState {
  Streams streams[kDevices];
  cudaError_t error = cudaSuccess;  // of a launch, not yet said
  char sentence[512];
};

ThreadState& state() {
  // Beside the thread's own variables, for which a library that is opened late has little room. Lanes live as long as the process.
  static thread_local ThreadState* const state = new ThreadState;
  return *state;
}

/// Null, or "expected … for <what>, received <CUDA's words>".
const char* failure(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return nullptr;
  cudaGetLastError();
  std::snprintf(state().sentence, sizeof(state().sentence), "expected success for %s on the GPU, received '%s' (%s)", what,
                cudaGetErrorString(error), cudaGetErrorName(error));
  return state().sentence;
}

void versions(int32_t* driver, int32_t* needed) {
  int found = 0;
  *driver = cudaDriverGetVersion(&found) == cudaSuccess ? found : 0;
  // Binaries of one major version of CUDA run on every driver of that major version.
  *needed = CUDART_VERSION / 1000 * 1000;
}

const char* count(int32_t* devices) {
  int found = 0;
  const cudaError_t error = cudaGetDeviceCount(&found);
  *devices = found;
  if (error == cudaSuccess && found > 0) return nullptr;
  cudaGetLastError();
  int32_t driver = 0, needed = 0;
  versions(&driver, &needed);
  char* sentence = state().sentence;
  const size_t size = sizeof(state().sentence);
  if (driver == 0) std::snprintf(sentence, size, "expected NVIDIA's driver for a GPU, received a system without it");
  else if (driver < needed)
    std::snprintf(sentence, size, "expected an NVIDIA driver for CUDA %d.%d or later for a GPU, received one for CUDA %d.%d",
                  needed / 1000, needed % 1000 / 10, driver / 1000, driver % 1000 / 10);
  else if (error == cudaSuccess || error == cudaErrorNoDevice)
    std::snprintf(sentence, size, "expected an NVIDIA GPU, received a machine on which the driver finds none");
  else return failure(error, "the list of GPUs");
  return sentence;
}

const char* describe(int32_t device, GpuDescription* description) {
  cudaDeviceProp found;
  if (const char* why = failure(cudaGetDeviceProperties(&found, device), "the properties of a device")) return why;
  std::snprintf(description->name, sizeof(description->name), "%s", found.name);
  description->compute_major = found.major;
  description->compute_minor = found.minor;
  description->multiprocessors = found.multiProcessorCount;
  description->memory = found.totalGlobalMem;
  return nullptr;
}

const char* use(int32_t device) {
  if (const char* why = failure(cudaSetDevice(device), "the choice of a device")) return why;
  Streams& streams = state().streams[device % kDevices];
  if (streams.fence) return nullptr;
  for (cudaStream_t* stream : {&streams.compute, &streams.copies})
    if (!*stream)
      if (const char* why = failure(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "a stream")) return why;
  return failure(cudaEventCreateWithFlags(&streams.fence, cudaEventDisableTiming), "an event");
}

Streams& streams() {
  int device = 0;
  cudaGetDevice(&device);
  return state().streams[device % kDevices];
}

/// Having no memory is no failure: the device is as well as before.
const char* allocated(cudaError_t error, void** memory) {
  if (error != cudaErrorMemoryAllocation) return failure(error, "a block of memory");
  cudaGetLastError();
  *memory = nullptr;
  return nullptr;
}

const char* allocate(size_t bytes, void** memory) {
  *memory = nullptr;
  return allocated(cudaMalloc(memory, bytes), memory);
}

void release(void* memory) { cudaFree(memory); }

const char* allocate_pinned(size_t bytes, void** memory) {
  *memory = nullptr;
  return allocated(cudaMallocHost(memory, bytes), memory);
}

void release_pinned(void* memory) { cudaFreeHost(memory); }

const char* free_memory(size_t* bytes) {
  size_t total = 0;
  return failure(cudaMemGetInfo(bytes, &total), "the free memory");
}

const char* wait() {
  const cudaError_t launched = state().error;
  state().error = cudaSuccess;
  const cudaError_t copied = cudaStreamSynchronize(streams().copies);
  const cudaError_t ran = cudaStreamSynchronize(stream());
  return failure(launched != cudaSuccess ? launched : ran != cudaSuccess ? ran : copied, "a launch");
}

const char* upload_beside(void* to, const void* from, size_t bytes) {
  return failure(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, streams().copies), "a copy to the device");
}

const char* fence() {
  if (const char* why = failure(cudaEventRecord(streams().fence, stream()), "an event")) return why;
  return failure(cudaStreamWaitEvent(streams().copies, streams().fence, 0), "an event");
}

const char* upload(void* to, const void* from, size_t bytes) {
  // From memory that is not pinned the runtime returns when it has taken its copy.
  return failure(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream()), "a copy to the device");
}

const char* download(void* to, const void* from, size_t bytes) {
  if (const char* why = failure(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream()), "a copy from the device"))
    return why;
  return wait();
}

const char* copy(void* to, const void* from, size_t bytes) {
  return failure(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "a copy on the device");
}

const char* clear(void* to, size_t bytes) { return failure(cudaMemsetAsync(to, 0, bytes, stream()), "clearing memory"); }

const char* note_time(int32_t index) {
  std::vector<cudaEvent_t>& times = streams().times;
  if (times.size() <= static_cast<size_t>(index)) times.resize(static_cast<size_t>(index) + 1);
  if (!times[index])
    if (const char* why = failure(cudaEventCreate(&times[index]), "an event")) return why;
  return failure(cudaEventRecord(times[index], stream()), "an event");
}

const char* between(int32_t from, int32_t to, float* milliseconds) {
  return failure(cudaEventElapsedTime(milliseconds, streams().times[from], streams().times[to]), "a time");
}

const char* record_begin() {
  return failure(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "the begin of a graph");
}

const char* record_end(GpuGraph** graph) {
  *graph = nullptr;
  cudaGraph_t recorded = nullptr;
  if (const char* why = failure(cudaStreamEndCapture(stream(), &recorded), "the end of a graph")) return why;
  cudaGraphExec_t made = nullptr;
  const char* why = failure(cudaGraphInstantiate(&made, recorded, 0), "a graph");
  cudaGraphDestroy(recorded);
  *graph = reinterpret_cast<GpuGraph*>(made);
  return why;
}

const char* replay(GpuGraph* graph) {
  return failure(cudaGraphLaunch(reinterpret_cast<cudaGraphExec_t>(graph), stream()), "a graph's launch");
}

void forget(GpuGraph* graph) { cudaGraphExecDestroy(reinterpret_cast<cudaGraphExec_t>(graph)); }

}  // namespace

cudaStream_t stream() { return streams().compute; }

void note(cudaError_t error) {
  if (error != cudaSuccess && state().error == cudaSuccess) state().error = error;
}

const GpuBackend backend = {
    THAW_VERSION, table,           versions,       count,  describe, use,  allocate,      release,
    free_memory,  allocate_pinned, release_pinned, upload, download, copy, clear,         upload_beside,
    fence,        wait,            note_time,      between, record_begin, record_end, replay,     forget};

}  // namespace cuda
}  // namespace thaw

#ifdef _WIN32
#define THAW_EXPORT extern "C" __declspec(dllexport)
#else
#define THAW_EXPORT extern "C" __attribute__((visibility("default")))
#endif

THAW_EXPORT const thaw::GpuBackend* thaw_gpu_backend() { return &thaw::cuda::backend; }
