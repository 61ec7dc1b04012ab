#pragma once
// Owned memory: 64-byte aligned (one cache line, one 512-bit register), counted in an account that the
// session reports as its bytes. A block may lie on a GPU: its address means nothing to the processor then.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "run/gpu.h"

namespace thaw {

/// Bytes held by everything that counts itself here (a session's store, plans and caches).
class Account {
 public:
  void add(int64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> bytes_{0};
};

class Memory {
 public:
  Memory() = default;
  /// Takes `bytes`, not cleared unless `zero`. Throws ERR_MEMORY where the system refuses. `account` may be null.
  explicit Memory(size_t bytes, std::shared_ptr<Account> account = nullptr, bool zero = false);
  /// The same on a GPU, the thread's current one. Throws ERR_DEVICE_MEMORY.
  static Memory on_gpu(size_t bytes, std::shared_ptr<Account> account = nullptr);
  /// The host's, from where a GPU copies by itself. Throws ERR_DEVICE_MEMORY.
  static Memory pinned(size_t bytes, std::shared_ptr<Account> account = nullptr);
  ~Memory();
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    Memory taken(std::move(other));
    swap(taken);
    return *this;
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return data_ == nullptr; }
  template <class T>
  T* as() const { return static_cast<T*>(data_); }

 private:
  void count_in(size_t bytes, std::shared_ptr<Account> account);
  void swap(Memory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(place_, other.place_);
    std::swap(account_, other.account_);
  }
  void* data_ = nullptr;
  size_t size_ = 0;
  enum class Place : uint8_t { host, gpu, pinned } place_ = Place::host;
  std::shared_ptr<Account> account_;
};

/// Copies to a block that lies on a GPU or not, from the processor's memory; and back.
void copy_in(bool gpu, void* to, const void* from, size_t bytes);
void copy_out(bool gpu, void* to, const void* from, size_t bytes);

}  // namespace thaw
