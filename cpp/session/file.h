#pragma once
// Files as the store needs them: reading ranges with checked bounds, and writing that either replaces the whole file or
// leaves no trace. Paths are UTF-8.
#include <cstddef>
#include <cstdint>
#include <string>

namespace thaw {

class InputFile {
 public:
  /// Opens a regular file. Throws ERR_FILE_NOT_FOUND or ERR_FILE.
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Bytes in the file when it was opened.
  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  /// Reads exactly `bytes` from `offset`. Throws ERR_FILE_TRUNCATED where the file ends before (it may have shrunk).
  void read(uint64_t offset, void* target, size_t bytes);

 private:
  std::string path_;
  intptr_t handle_ = -1;
  uint64_t size_ = 0;
};

/// A file that appears under its name only when it is complete and on the disk. Until commit it is a temporary file
/// in the same folder, which the destructor removes.
class OutputFile {
 public:
  /// Throws ERR_FILE_WRITE, as do the others.
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, size_t bytes);
  /// Flushes to the disk, takes the name, flushes the folder.
  void commit();

 private:
  void close();
  std::string path_, temporary_;
  intptr_t handle_ = -1;
  bool exists_ = false;
};

/// A file that many processes read at any place while one of them writes to it. Removing its name takes nothing from
/// those who have it open.
class SharedFile {
 public:
  /// Opens a regular file, for reading alone where writing is not allowed; with `create` makes one that must not exist,
  /// readable by its owner alone. Throws ERR_FILE.
  SharedFile(const std::string& path, bool create);
  ~SharedFile();
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;

  bool writable() const { return writable_; }
  /// Bytes in the file now; 0 where the system does not say.
  uint64_t size() const;
  /// False where the file ends before, or the system cannot read it.
  bool read(uint64_t offset, void* target, size_t bytes) const;
  /// Throws ERR_FILE_WRITE.
  void write(uint64_t offset, const void* data, size_t bytes);
  /// Cuts the file, as far as the system lets it.
  void truncate(uint64_t size);
  /// Takes the right to write until the file is closed (or the process ends, however it ends); false where another has
  /// it, in this process too.
  bool try_lock();
  /// Marks the file as used now: its time of modification.
  void touch();

 private:
  std::string path_;
  intptr_t handle_ = -1;
  bool writable_ = true;
};

}  // namespace thaw
