#include "run/staging.h"

#include <algorithm>
#include <cstring>

#include "run/lowered.h"
#include "run/pool.h"

namespace thaw {
namespace {

constexpr size_t kPart = size_t{1} << 20;    // that one thread copies at a time
constexpr size_t kChunk = size_t{16} << 20;  // that is under way while the next is copied

void copy_by_all(char* to, const char* from, size_t bytes, int threads) {
  Pool::shared().parallel(static_cast<int64_t>((bytes + kPart - 1) / kPart), 0, [=](int64_t part, void*) {
    const size_t at = static_cast<size_t>(part) * kPart;
    std::memcpy(to + at, from + at, std::min(kPart, bytes - at));
  }, threads);
}

}  // namespace

void Staging::bring(int64_t ticket, const std::vector<Binding>& inputs, const std::shared_ptr<Account>& account, int threads) {
  ticket_ = 0;
  bytes_.clear();
  size_t all = 0;
  for (const Binding& input : inputs) {
    bytes_.push_back(input.bytes);
    all += padded_bytes(input.bytes);
  }
  if (on_gpu_.size() < all || on_gpu_.empty()) on_gpu_ = Memory::on_gpu(all, account);
  if (pinned_.size() < all || pinned_.empty()) pinned_ = Memory::pinned(all, account);
  size_t at = 0;
  for (const Binding& input : inputs) {
    for (size_t done = 0; done < input.bytes; done += kChunk) {
      const size_t bytes = std::min(kChunk, input.bytes - done);
      char* pinned = pinned_.as<char>() + at + done;
      copy_by_all(pinned, static_cast<const char*>(input.data) + done, bytes, threads);
      gpu::check(gpu::backend().upload_beside(on_gpu_.as<char>() + at + done, pinned, bytes));
    }
    at += padded_bytes(input.bytes);
  }
  ticket_ = ticket;
}

void Staging::take(const std::vector<void*>& inputs) {
  const char* next = on_gpu_.as<char>();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (bytes_[i] > 0) gpu::check(gpu::backend().copy(inputs[i], next, bytes_[i]));
    next += padded_bytes(bytes_[i]);
  }
  ticket_ = 0;
  // What is brought next overwrites what the copies read.
  gpu::check(gpu::backend().fence());
}

}  // namespace thaw
