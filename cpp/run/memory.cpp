#include "run/memory.h"

#include <cstring>
#include <new>
#include <string>

#include "error.h"

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#include <sys/mman.h>
#define THAW_MAP_LARGE 1
#endif

namespace thaw {
namespace {

constexpr std::align_val_t kAlignment{64};

#if THAW_MAP_LARGE
// Large blocks come from the system and go back to it at once: kept by malloc, they would lie in the heap of whichever
// thread freed them, and a process that makes and disposes networks would not shrink again.
constexpr size_t kMapped = size_t{256} << 10;
constexpr size_t kHuge = size_t{2} << 20;  // size and alignment of a huge page

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }
size_t mapped_size(size_t whole) { return round_up(whole, whole < 2 * kHuge ? 4096 : kHuge); }

void* map(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

// Several huge pages at least: aligned to them, so that weights and activations take few entries of the TLB.
void* map_huge(size_t bytes) {
  char* data = static_cast<char*>(map(bytes + kHuge));
  if (!data) return nullptr;
  const size_t before = (kHuge - reinterpret_cast<uintptr_t>(data) % kHuge) % kHuge;
  if (before > 0) munmap(data, before);
  if (before < kHuge) munmap(data + before + bytes, kHuge - before);
  madvise(data + before, bytes, MADV_HUGEPAGE);  // where the system has none, ordinary pages do
  return data + before;
}
#endif

// `whole` bytes, cleared where `zero`; null where the system refuses.
void* take(size_t whole, bool zero) {
#if THAW_MAP_LARGE
  if (whole >= kMapped) {
    const size_t mapped = mapped_size(whole);
    if (mapped < whole) return nullptr;
    return mapped < 2 * kHuge ? map(mapped) : map_huge(mapped);
  }
#endif
  void* data = ::operator new(whole, kAlignment, std::nothrow);
  if (data && zero) std::memset(data, 0, whole);
  return data;
}

void give_back(void* data, size_t whole) {
#if THAW_MAP_LARGE
  if (whole >= kMapped) {
    munmap(data, mapped_size(whole));
    return;
  }
#endif
  (void)whole;
  ::operator delete(data, kAlignment);
}

// Whole lines, and never none: an empty tensor still has an address.
size_t whole_lines(size_t bytes) { return bytes / 64 * 64 + 64; }

}  // namespace

Memory::Memory(size_t bytes, std::shared_ptr<Account> account, bool zero) {
  const size_t whole = whole_lines(bytes);
  data_ = whole > bytes ? take(whole, zero) : nullptr;
  if (!data_) fail_expected("ERR_MEMORY", std::to_string(bytes) + " bytes", "a block of memory", "none from the system");
  count_in(bytes, std::move(account));
}

void Memory::count_in(size_t bytes, std::shared_ptr<Account> account) {
  size_ = bytes;
  account_ = std::move(account);
  if (account_) account_->add(static_cast<int64_t>(size_));
}

Memory Memory::on_gpu(size_t bytes, std::shared_ptr<Account> account) {
  Memory memory;
  memory.data_ = gpu::allocate(bytes > 0 ? bytes : 1);
  memory.place_ = Place::gpu;
  memory.count_in(bytes, std::move(account));
  return memory;
}

Memory Memory::pinned(size_t bytes, std::shared_ptr<Account> account) {
  Memory memory;
  memory.data_ = gpu::allocate_pinned(bytes > 0 ? bytes : 1);
  memory.place_ = Place::pinned;
  memory.count_in(bytes, std::move(account));
  return memory;
}

void copy_in(bool gpu, void* to, const void* from, size_t bytes) {
  if (gpu) gpu::check(gpu::backend().upload(to, from, bytes));
  else if (bytes > 0) std::memcpy(to, from, bytes);
}

void copy_out(bool gpu, void* to, const void* from, size_t bytes) {
  if (gpu) gpu::check(gpu::backend().download(to, from, bytes));
  else if (bytes > 0) std::memcpy(to, from, bytes);
}

Memory::~Memory() {
  if (!data_) return;
  if (place_ == Place::gpu) gpu::backend().release(data_);
  else if (place_ == Place::pinned) gpu::backend().release_pinned(data_);
  else give_back(data_, whole_lines(size_));
  if (account_) account_->add(-static_cast<int64_t>(size_));
}

}  // namespace thaw
