#ifndef _WIN32
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "error.h"
#include "session/file.h"

namespace thaw {
namespace {

// Below the limit that Linux and macOS set to one call.
constexpr size_t kChunk = size_t{1} << 30;

std::string reason(int error) { return std::generic_category().message(error); }

[[noreturn]] void cannot_write(const std::string& path, const char* step) {
  const int error = errno;
  fail("ERR_FILE_WRITE", "expected to write '" + path + "', received '" + reason(error) + "' (" + step + ")");
}

// Names differ between processes (pid) and within one (counter); O_EXCL covers what is left.
std::string temporary_name(const std::string& path) {
  static std::atomic<uint64_t> counter{0};
  return path + "." + std::to_string(getpid()) + "-" + std::to_string(counter.fetch_add(1)) + ".tmp";
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

InputFile::InputFile(const std::string& path) : path_(path) {
  // Not blocking: a pipe of that name must not hold the thread. It is refused below.
  handle_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (handle_ < 0) {
    const int error = errno;
    fail(error == ENOENT ? "ERR_FILE_NOT_FOUND" : "ERR_FILE",
         "expected a readable file for '" + path + "', received '" + reason(error) + "'");
  }
  struct stat info = {};
  if (fstat(static_cast<int>(handle_), &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(static_cast<int>(handle_));
    fail("ERR_FILE", "expected a regular file for '" + path + "', received another kind");
  }
  size_ = static_cast<uint64_t>(info.st_size);
}

InputFile::~InputFile() { ::close(static_cast<int>(handle_)); }

void InputFile::read(uint64_t offset, void* target, size_t bytes) {
  char* at = static_cast<char*>(target);
  while (bytes > 0) {
    const ssize_t got = pread(static_cast<int>(handle_), at, std::min(bytes, kChunk), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("ERR_FILE", "expected to read '" + path_ + "', received '" + reason(errno) + "'");
    if (got == 0) {
      fail("ERR_FILE_TRUNCATED", "expected " + std::to_string(bytes) + " more bytes for '" + path_ + "' at byte " +
                                     std::to_string(offset) + ", received the end of the file");
    }
    at += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
}

OutputFile::OutputFile(const std::string& path) : path_(path), temporary_(temporary_name(path)) {
  handle_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (handle_ < 0) cannot_write(path_, "creating a temporary file beside it");
  exists_ = true;
}

OutputFile::~OutputFile() {
  close();
  if (exists_) unlink(temporary_.c_str());
}

void OutputFile::close() {
  if (handle_ >= 0) ::close(static_cast<int>(handle_));
  handle_ = -1;
}

void OutputFile::write(const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::write(static_cast<int>(handle_), at, std::min(bytes, kChunk));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) cannot_write(path_, "writing");
    at += put;
    bytes -= static_cast<size_t>(put);
  }
}

void OutputFile::commit() {
  if (fsync(static_cast<int>(handle_)) != 0) cannot_write(path_, "flushing");
  close();
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) cannot_write(path_, "renaming");
  exists_ = false;
  // The name itself must survive a power cut. Some file systems cannot flush a folder; there the rename must do.
  const int folder = open(folder_of(path_).c_str(), O_RDONLY | O_CLOEXEC);
  if (folder < 0) return;
  fsync(folder);
  ::close(folder);
}

SharedFile::SharedFile(const std::string& path, bool create) : path_(path) {
  const int common = O_CLOEXEC | O_NONBLOCK | (create ? O_CREAT | O_EXCL : 0);
  handle_ = open(path.c_str(), O_RDWR | common, 0600);
  if (handle_ < 0 && !create && (errno == EACCES || errno == EROFS || errno == EPERM)) {
    writable_ = false;
    handle_ = open(path.c_str(), O_RDONLY | common);
  }
  if (handle_ < 0) fail("ERR_FILE", "expected to open '" + path + "', received '" + reason(errno) + "'");
  struct stat info = {};
  if (fstat(static_cast<int>(handle_), &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(static_cast<int>(handle_));
    fail("ERR_FILE", "expected a regular file for '" + path + "', received another kind");
  }
}

SharedFile::~SharedFile() { ::close(static_cast<int>(handle_)); }

uint64_t SharedFile::size() const {
  struct stat info = {};
  return fstat(static_cast<int>(handle_), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

bool SharedFile::read(uint64_t offset, void* target, size_t bytes) const {
  char* at = static_cast<char*>(target);
  while (bytes > 0) {
    const ssize_t got = pread(static_cast<int>(handle_), at, std::min(bytes, kChunk), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

void SharedFile::write(uint64_t offset, const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = pwrite(static_cast<int>(handle_), at, std::min(bytes, kChunk), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) cannot_write(path_, "writing");
    at += put;
    offset += static_cast<uint64_t>(put);
    bytes -= static_cast<size_t>(put);
  }
}

void SharedFile::truncate(uint64_t size) {
  // What cannot be cut is no harm: readers check what they find.
  if (ftruncate(static_cast<int>(handle_), static_cast<off_t>(size)) != 0) return;
}

bool SharedFile::try_lock() { return flock(static_cast<int>(handle_), LOCK_EX | LOCK_NB) == 0; }

void SharedFile::touch() { futimens(static_cast<int>(handle_), nullptr); }

}  // namespace thaw
#endif
