#pragma once
// What tests of the GPU's kernels need: arrays on the device, and the end of a launch. By the backend's own functions, so
// that it runs on a GPU as on the stand-in.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "kernels/cuda/backend.h"
#ifndef __CUDACC__
#include "standin.h"
#endif

namespace gpu {

inline const thaw::GpuBackend& backend() {
  static const thaw::GpuBackend* const one = [] {
    const thaw::GpuBackend* b = thaw_gpu_backend();
    if (const char* why = b->use(0)) {
      std::fprintf(stderr, "%s\n", why);
      std::exit(1);
    }
    return b;
  }();
  return *one;
}

/// Ends the test's program with the sentence, if there is one.
inline void demand(const char* why) {
  if (why == nullptr) return;
  std::fprintf(stderr, "%s\n", why);
  std::exit(1);
}

/// An array on the device.
template <class T>
class Array {
 public:
  /// Unwritten.
  explicit Array(size_t count) : count_(count) {
    void* memory = nullptr;
    demand(backend().allocate(count * sizeof(T), &memory));
    if (memory == nullptr && count > 0) demand("expected memory on the device, received none");
    data_ = static_cast<T*>(memory);
  }
  Array(const std::vector<T>& values) : Array(values.size()) {
    demand(backend().upload(data_, values.data(), count_ * sizeof(T)));
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { backend().release(data_); }

  T* data() const { return data_; }
  operator T*() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    demand(backend().download(values.data(), data_, count_ * sizeof(T)));
    return values;
  }

 private:
  T* data_;
  size_t count_;
};

/// Waits for all launches; everything that went wrong in them is a failure, and printed.
inline void finish(const char* file, int line) {
  ++check::checks;
  const char* why = backend().wait();
  if (why != nullptr) {
    ++check::failures;
    std::fprintf(stderr, "%s:%d: %s\n", file, line, why);
  }
#ifndef __CUDACC__
  for (const std::string& violation : standin::violations()) std::fprintf(stderr, "  %s\n", violation.c_str());
  standin::forget_violations();
#endif
}

}  // namespace gpu

#define FINISH() gpu::finish(__FILE__, __LINE__)
