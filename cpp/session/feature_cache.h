#pragma once
// Cut values kept by key: what the frozen part of a network made of a picture. An entry holds one row of every cut
// value. What is in stays in; when the limit is reached, further entries are refused (a training run visits every
// picture once an epoch, where throwing out the oldest would keep nothing that is asked for again).
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "run/memory.h"

namespace thaw {

class FeatureCache {
 public:
  struct Piece {
    const void* data = nullptr;
    size_t bytes = 0;
  };
  using Row = std::vector<Piece>;

  FeatureCache(size_t limit_bytes, std::shared_ptr<Account> account);

  /// Copies a row, replacing one of that key. False where it would pass the limit: then nothing is kept.
  bool put(const std::string& key, const Row& pieces);
  /// The row's pieces in the order they were put; empty where there is none. Valid until the next put, clear or drop.
  Row find(const std::string& key) const;
  bool has(const std::string& key) const { return rows_.count(key) != 0; }
  void clear();

  size_t entries() const { return rows_.size(); }
  size_t bytes() const { return bytes_; }
  size_t limit() const { return limit_; }
  /// Has an entry been refused since the last clear?
  bool full() const { return full_; }

 private:
  struct Entry {
    Memory memory;
    std::vector<size_t> sizes;
    size_t cost = 0;
  };
  size_t limit_;
  std::shared_ptr<Account> account_;
  std::unordered_map<std::string, Entry> rows_;
  size_t bytes_ = 0;
  bool full_ = false;
};

}  // namespace thaw
