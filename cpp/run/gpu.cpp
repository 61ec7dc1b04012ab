#include "run/gpu.h"

#include <mutex>

#include "error.h"
#include "kernels/isa.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace thaw {
namespace gpu {
namespace {

using Entry = const GpuBackend* (*)();

const GpuBackend* opened = nullptr;
std::mutex opening;

#ifdef _WIN32
Entry load(const std::string& path, std::string& why) {
  const HMODULE library = LoadLibraryA(path.c_str());
  if (library) return reinterpret_cast<Entry>(GetProcAddress(library, "thaw_gpu_backend"));
  why = "error " + std::to_string(GetLastError());
  return nullptr;
}
#else
Entry load(const std::string& path, std::string& why) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library) {
    if (void* symbol = dlsym(library, "thaw_gpu_backend")) return reinterpret_cast<Entry>(symbol);
  }
  const char* error = dlerror();
  why = error ? error : "no reason given";
  return nullptr;
}
#endif

}  // namespace

void open(const std::string& path, const std::string& version) {
  const std::lock_guard<std::mutex> lock(opening);
  if (opened) return;
  std::string why;
  const Entry entry = load(path, why);
  if (!entry) fail_expected("ERR_DEVICE", "the binary of the package thaw-cuda", "'" + path + "'", why);
  const GpuBackend* found = entry();
  if (version != found->version)
    fail_expected("ERR_DEVICE", "version " + version, "the package thaw-cuda", std::string("version ") + found->version);
  opened = found;
}

const GpuBackend& backend() {
  const std::lock_guard<std::mutex> lock(opening);
  if (!opened) fail_expected("ERR_DEVICE", "the binary of the package thaw-cuda", "a GPU", "none");
  return *opened;
}

void check(const char* failure) {
  if (failure) fail("ERR_DEVICE", failure);
}

int count() {
  int32_t devices = 0;
  check(backend().count(&devices));
  return devices;
}

GpuDescription describe(int device) {
  GpuDescription description = {};
  check(backend().describe(device, &description));
  return description;
}

void use(int device) {
  const int devices = count();
  if (device >= devices)
    fail_expected("ERR_DEVICE", std::string("a GPU below ").append(std::to_string(devices)), std::string("'cuda:").append(std::to_string(device)) + "'",
                  std::to_string(device));
  check(backend().use(device));
}

void* allocate(size_t bytes) {
  void* memory = nullptr;
  check(backend().allocate(bytes, &memory));
  if (memory) return memory;
  size_t free = 0;
  check(backend().free_memory(&free));
  fail_expected("ERR_DEVICE_MEMORY", std::to_string(bytes) + " bytes", "a block of the GPU's memory",
                std::to_string(free) + " free bytes");
}

void* allocate_pinned(size_t bytes) {
  void* memory = nullptr;
  check(backend().allocate_pinned(bytes, &memory));
  if (memory) return memory;
  fail_expected("ERR_DEVICE_MEMORY", std::to_string(bytes) + " bytes", "a block of pinned memory", "none from the system");
}

}  // namespace gpu

const void* gpu_table(const char* name) {
  const void* table = gpu::backend().table(name);
  if (!table) fail_expected("ERR_INTERNAL", "kernels for a GPU", std::string("'") + name + "'", "none");
  return table;
}

}  // namespace thaw
