#include "run/arena.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>

#include "error.h"

namespace thaw {

Arena& Arena::of(int device) {
  // Never destroyed: a job may run while the process exits.
  static auto* arenas = new std::map<int, std::unique_ptr<Arena>>;
  static std::mutex finding;
  const std::lock_guard<std::mutex> lock(finding);
  std::unique_ptr<Arena>& arena = (*arenas)[device];
  if (!arena) arena.reset(new Arena(device));
  return *arena;
}

void Arena::reserve(size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  wanted_.insert(bytes);
}

void Arena::release(size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto it = wanted_.find(bytes);
  if (it != wanted_.end()) wanted_.erase(it);
  // A plan can be let go on another lane while a run uses the arena; memory goes back when nobody wants any.
  if (wanted_.empty()) memory_ = Memory();
}

char* Arena::memory(size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  const size_t largest = wanted_.empty() ? bytes : std::max(bytes, *wanted_.rbegin());
  // Smaller than half of it being wanted: give the rest back.
  if (memory_.size() < bytes || memory_.size() / 2 > largest) {
    memory_ = Memory();
    // Where there is not enough for the largest of all plans, this one need not fail with it.
    try {
      memory_ = take(std::max<size_t>(largest, 64));
    } catch (const Error&) {
      if (largest <= bytes) throw;
      memory_ = take(std::max<size_t>(bytes, 64));
    }
  }
  return memory_.as<char>();
}

size_t place(std::vector<Interval>& intervals) {
  std::vector<size_t> order(intervals.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Largest first: what is big decides the total, the small ones fill gaps.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return intervals[a].bytes > intervals[b].bytes; });
  std::vector<const Interval*> placed;  // by offset
  size_t total = 0;
  for (size_t i : order) {
    Interval& mine = intervals[i];
    size_t offset = 0;
    for (const Interval* other : placed) {
      if (other->last < mine.first || mine.last < other->first) continue;
      if (offset + mine.bytes <= other->offset) break;
      offset = std::max(offset, other->offset + other->bytes);
    }
    mine.offset = offset;
    total = std::max(total, offset + mine.bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &mine,
                                   [](const Interval* a, const Interval* b) { return a->offset < b->offset; }),
                  &mine);
  }
  return total;
}

}  // namespace thaw
