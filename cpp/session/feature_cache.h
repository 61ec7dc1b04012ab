#pragma once
// Cut values kept by key: what the frozen part of a network made of a picture. An entry holds one row of every cut
// value. They are kept in memory, or in files as long as these can be written. What is in stays in; when the limit is
// reached, further entries are refused (a training run visits every picture once an epoch, where throwing out the oldest
// would keep nothing that is asked for again).
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "run/memory.h"
#include "session/row_files.h"

namespace thaw {

class FeatureCache {
 public:
  /// Keys that begin with it are places of a batch that passes: they are never written to files.
  static constexpr char kPassing = '\0';

  /// `files` may be null. The limit is that of the memory.
  FeatureCache(size_t limit_bytes, std::shared_ptr<Account> account, std::unique_ptr<RowFiles> files = nullptr);

  /// Copies a row, replacing one of that key. False where it would pass the limit: then nothing is kept.
  bool put(const std::string& key, const Pieces& pieces);
  /// Copies the row's pieces, in the order they were put, to their places. False where there is none, or what a file
  /// holds is damaged. Throws ERR_INPUT where the sizes of a row in memory are others.
  bool copy(const std::string& key, const Pieces& places);
  bool has(const std::string& key) { return rows_.count(key) != 0 || (files_ && files_->has(key)); }
  void clear();

  size_t entries() const { return rows_.size(); }
  size_t bytes() const { return bytes_; }
  size_t limit() const { return limit_; }
  /// Has an entry been refused since the last clear?
  bool full() const { return full_; }
  /// Null where all is kept in memory.
  const RowFiles* files() const { return files_.get(); }

 private:
  struct Entry {
    Memory memory;
    std::vector<size_t> sizes;
    size_t cost = 0;
  };
  bool keep(const std::string& key, const Pieces& pieces);

  size_t limit_;
  std::shared_ptr<Account> account_;
  std::unordered_map<std::string, Entry> rows_;
  size_t bytes_ = 0;
  bool full_ = false;
  std::unique_ptr<RowFiles> files_;
};

}  // namespace thaw
