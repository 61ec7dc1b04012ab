// Part of the stand-in for CUDA: its devices, and the names of errors.
#include <cstdio>
#include <cstring>

#include "host.h"
#include "memory.h"
#include "report.h"
#include "shadow.h"

namespace {

thread_local int current = 0;

const struct {
  cudaError_t error;
  const char* name;
  const char* words;
} kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "the driver is older than the runtime"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no device is found"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access"},
    {cudaErrorAssert, "cudaErrorAssert", nullptr},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "a launch failed"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "not permitted while a stream is recorded"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "the recording was made invalid before"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched", "the recording was not begun on this stream"},
};

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  for (const auto& e : kErrors) {
    if (e.error == error) return e.name;
  }
  return "cudaErrorUnknown";
}

const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorAssert) return standin::last_violation();
  for (const auto& e : kErrors) {
    if (e.error == error) return e.words;
  }
  return "unknown error";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = standin::device_count();
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= standin::device_count()) return cudaErrorInvalidDevice;
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "stand-in on the host");
  properties->totalGlobalMem = standin::device_memory();
  properties->sharedMemPerBlockOptin = standin::kSharedBytes;
  properties->major = 9;
  properties->minor = 0;
  properties->multiProcessorCount = 132;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (standin::device_count() == 0) return cudaErrorNoDevice;
  if (device < 0 || device >= standin::device_count()) return cudaErrorInvalidDevice;
  current = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = current;
  return standin::device_count() == 0 ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* unused, size_t* total) {
  const std::lock_guard lock(standin::runtime_mutex());
  if (standin::device_count() == 0) return cudaErrorNoDevice;
  *total = standin::device_memory();
  *unused = *total > standin::memory_used() ? *total - standin::memory_used() : 0;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = standin::device_count() == 0 ? 0 : CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int value) {
  return value >= 0 && static_cast<size_t>(value) <= standin::kSharedBytes ? cudaSuccess : cudaErrorInvalidValue;
}
