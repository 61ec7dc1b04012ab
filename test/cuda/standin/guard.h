#pragma once
// Part of the stand-in for CUDA: the host cannot touch the device's memory, where processor and system have protection
// keys (x86-64). Elsewhere it can, and nobody notices.
#include <cstddef>

namespace standin {

/// From now on only who holds an Opened may touch these pages; a crash for others, with a sentence before it.
void guard_memory(void* begin, size_t bytes);

/// The calling thread may touch the device's memory.
class Opened {
 public:
  Opened();
  ~Opened();
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  bool was_open_;
};

}  // namespace standin
