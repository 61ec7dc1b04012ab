#include "run/memory.h"

#include <cstring>
#include <new>
#include <string>

#include "error.h"

namespace thaw {
namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

Memory::Memory(size_t bytes, std::shared_ptr<Account> account, bool zero) : size_(bytes), account_(std::move(account)) {
  // Whole lines, and never none: an empty tensor still has an address.
  const size_t whole = bytes / 64 * 64 + 64;
  data_ = whole > bytes ? ::operator new(whole, kAlignment, std::nothrow) : nullptr;
  if (!data_) {
    size_ = 0;
    fail("ERR_MEMORY", "expected " + std::to_string(bytes) + " bytes of memory from the system, received none");
  }
  if (zero) std::memset(data_, 0, whole);
  if (account_) account_->add(static_cast<int64_t>(size_));
}

Memory::~Memory() {
  if (!data_) return;
  ::operator delete(data_, kAlignment);
  if (account_) account_->add(-static_cast<int64_t>(size_));
}

}  // namespace thaw
