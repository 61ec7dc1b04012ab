#pragma once
// Rows of features in files that outlive the process. Every row is `row_bytes` long, so a file is a table:
//
//   64 bytes   "thawrow1", row_bytes, check of both
//   n times    key, check of key and row (16 bytes each), the row
//
// There is nothing else to keep in step: the index is made by reading the keys. A row counts only if its check is
// right, whenever it is read; a writer that dies leaves at most one row that does not count. Any number of processes
// may read, and each writes to a file that it alone has locked. Files are read, not mapped: under a map, a file that
// somebody cuts would be a fault of the process instead of a row that is not there.
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "run/memory.h"
#include "session/digest.h"
#include "session/file.h"

namespace thaw {

/// A piece of a row in memory: what is written, or where it is read to.
struct Piece {
  void* data = nullptr;
  size_t bytes = 0;
};
using Pieces = std::vector<Piece>;

class RowFiles {
 public:
  /// Opens those of `paths` that can be opened and hold rows. New files are called `fresh` + number + ".rows", one begun
  /// whenever there is none that can be written to and is shorter than `file_bytes`.
  RowFiles(const std::vector<std::string>& paths, std::string fresh, uint64_t file_bytes);

  /// Is there a whole and right row of that key? Reads it, unless that was done before.
  bool has(const std::string& key);
  /// Reads the row to its places. False where there is none of that size, or it has gone bad meanwhile; then what lies at
  /// the places means nothing.
  bool read(const std::string& key, const Pieces& places);
  /// Writes a row. False where that failed: `failure` says why, and nothing more is written.
  bool put(const std::string& key, const Pieces& pieces);

  const std::string& failure() const { return failure_; }
  /// Bytes that were written by this process.
  uint64_t written() const { return written_; }

 private:
  struct File {
    std::unique_ptr<SharedFile> file;
    uint64_t row_bytes = 0;
    uint64_t rows = 0;  // looked at so far
    bool touched = false;
  };
  struct Slot {
    File* file;
    uint64_t offset;  // of the row itself
    Digest check;
    bool seen_right = false;
  };
  struct Hash {
    size_t operator()(const Digest& key) const { return static_cast<size_t>(key.low); }
  };
  using Index = std::unordered_multimap<Digest, Slot, Hash>;

  bool open(const std::string& path);
  void index(File& file);
  bool right(const Digest& key, Slot& slot, void* target);
  bool fits(const Slot& slot) const;
  void* scratch(uint64_t bytes);
  /// The file to write rows of that size to. Throws ERR_FILE, ERR_FILE_WRITE.
  File& writer(uint64_t row_bytes);
  File& create(uint64_t row_bytes);
  void append(File& file, const Digest& key, const Pieces& pieces);

  const std::string fresh_;
  const uint64_t file_bytes_;
  std::vector<std::unique_ptr<File>> files_;  // slots point into it
  Index index_;
  File* writer_ = nullptr;
  int created_ = 0;
  Memory scratch_;
  uint64_t written_ = 0;
  std::string failure_;
};

}  // namespace thaw
