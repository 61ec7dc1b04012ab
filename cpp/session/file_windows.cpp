#ifdef _WIN32
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <algorithm>
#include <atomic>
#include <system_error>

#include "error.h"
#include "session/file.h"

namespace thaw {
namespace {

constexpr size_t kChunk = size_t{1} << 30;

HANDLE handle_of(intptr_t handle) { return reinterpret_cast<HANDLE>(handle); }

std::string last_reason() { return std::system_category().message(static_cast<int>(GetLastError())); }

std::wstring wide(const std::string& text) {
  const int size = MultiByteToWideChar(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), nullptr, 0);
  std::wstring out(static_cast<size_t>(size), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), out.data(), size);
  return out;
}

OVERLAPPED at_offset(uint64_t offset) {
  OVERLAPPED where = {};
  where.Offset = static_cast<DWORD>(offset);
  where.OffsetHigh = static_cast<DWORD>(offset >> 32);
  return where;
}

[[noreturn]] void cannot_write(const std::string& path, const char* step) {
  fail("ERR_FILE_WRITE", "expected to write '" + path + "', received '" + last_reason() + "' (" + step + ")");
}

std::string temporary_name(const std::string& path) {
  static std::atomic<uint64_t> counter{0};
  return path + "." + std::to_string(GetCurrentProcessId()) + "-" + std::to_string(counter.fetch_add(1)) + ".tmp";
}

}  // namespace

InputFile::InputFile(const std::string& path) : path_(path) {
  const DWORD share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
  const HANDLE file = CreateFileW(wide(path).c_str(), GENERIC_READ, share, nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL,
                                  nullptr);
  if (file == INVALID_HANDLE_VALUE) {
    const DWORD error = GetLastError();
    const bool absent = error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND;
    fail(absent ? "ERR_FILE_NOT_FOUND" : "ERR_FILE",
         "expected a readable file for '" + path + "', received '" + last_reason() + "'");
  }
  LARGE_INTEGER size = {};
  if (GetFileType(file) != FILE_TYPE_DISK || !GetFileSizeEx(file, &size)) {
    CloseHandle(file);
    fail("ERR_FILE", "expected a regular file for '" + path + "', received another kind");
  }
  handle_ = reinterpret_cast<intptr_t>(file);
  size_ = static_cast<uint64_t>(size.QuadPart);
}

InputFile::~InputFile() { CloseHandle(handle_of(handle_)); }

void InputFile::read(uint64_t offset, void* target, size_t bytes) {
  char* at = static_cast<char*>(target);
  while (bytes > 0) {
    OVERLAPPED where = at_offset(offset);
    DWORD got = 0;
    const BOOL done = ReadFile(handle_of(handle_), at, static_cast<DWORD>(std::min(bytes, kChunk)), &got, &where);
    if (!done && GetLastError() != ERROR_HANDLE_EOF) {
      fail("ERR_FILE", "expected to read '" + path_ + "', received '" + last_reason() + "'");
    }
    if (!done || got == 0) {
      fail("ERR_FILE_TRUNCATED", "expected " + std::to_string(bytes) + " more bytes for '" + path_ + "' at byte " +
                                     std::to_string(offset) + ", received the end of the file");
    }
    at += got;
    offset += got;
    bytes -= got;
  }
}

OutputFile::OutputFile(const std::string& path) : path_(path), temporary_(temporary_name(path)) {
  const HANDLE file =
      CreateFileW(wide(temporary_).c_str(), GENERIC_WRITE, 0, nullptr, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE) cannot_write(path_, "creating a temporary file beside it");
  handle_ = reinterpret_cast<intptr_t>(file);
  exists_ = true;
}

OutputFile::~OutputFile() {
  close();
  if (exists_) DeleteFileW(wide(temporary_).c_str());
}

void OutputFile::close() {
  if (handle_ != -1) CloseHandle(handle_of(handle_));
  handle_ = -1;
}

void OutputFile::write(const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    DWORD put = 0;
    if (!WriteFile(handle_of(handle_), at, static_cast<DWORD>(std::min(bytes, kChunk)), &put, nullptr)) {
      cannot_write(path_, "writing");
    }
    at += put;
    bytes -= put;
  }
}

void OutputFile::commit() {
  if (!FlushFileBuffers(handle_of(handle_))) cannot_write(path_, "flushing");
  close();
  if (!MoveFileExW(wide(temporary_).c_str(), wide(path_).c_str(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) {
    cannot_write(path_, "renaming");
  }
  exists_ = false;
}

SharedFile::SharedFile(const std::string& path, bool create) : path_(path) {
  const DWORD share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
  const DWORD how = create ? CREATE_NEW : OPEN_EXISTING;
  const std::wstring name = wide(path);
  HANDLE file = CreateFileW(name.c_str(), GENERIC_READ | GENERIC_WRITE, share, nullptr, how, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE && !create && GetLastError() == ERROR_ACCESS_DENIED) {
    writable_ = false;
    file = CreateFileW(name.c_str(), GENERIC_READ, share, nullptr, how, FILE_ATTRIBUTE_NORMAL, nullptr);
  }
  if (file == INVALID_HANDLE_VALUE) fail("ERR_FILE", "expected to open '" + path + "', received '" + last_reason() + "'");
  if (GetFileType(file) != FILE_TYPE_DISK) {
    CloseHandle(file);
    fail("ERR_FILE", "expected a regular file for '" + path + "', received another kind");
  }
  handle_ = reinterpret_cast<intptr_t>(file);
}

SharedFile::~SharedFile() { CloseHandle(handle_of(handle_)); }

uint64_t SharedFile::size() const {
  LARGE_INTEGER size = {};
  return GetFileSizeEx(handle_of(handle_), &size) ? static_cast<uint64_t>(size.QuadPart) : 0;
}

bool SharedFile::read(uint64_t offset, void* target, size_t bytes) const {
  char* at = static_cast<char*>(target);
  while (bytes > 0) {
    OVERLAPPED where = at_offset(offset);
    DWORD got = 0;
    if (!ReadFile(handle_of(handle_), at, static_cast<DWORD>(std::min(bytes, kChunk)), &got, &where)) return false;
    if (got == 0) return false;
    at += got;
    offset += got;
    bytes -= got;
  }
  return true;
}

void SharedFile::write(uint64_t offset, const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    OVERLAPPED where = at_offset(offset);
    DWORD put = 0;
    if (!WriteFile(handle_of(handle_), at, static_cast<DWORD>(std::min(bytes, kChunk)), &put, &where)) {
      cannot_write(path_, "writing");
    }
    at += put;
    offset += put;
    bytes -= put;
  }
}

void SharedFile::truncate(uint64_t size) {
  LARGE_INTEGER end;
  end.QuadPart = static_cast<LONGLONG>(size);
  // What cannot be cut is no harm: readers check what they find.
  if (SetFilePointerEx(handle_of(handle_), end, nullptr, FILE_BEGIN)) SetEndOfFile(handle_of(handle_));
}

bool SharedFile::try_lock() {
  // Locked bytes cannot be read by others: one far behind any content stands for the file.
  OVERLAPPED where = at_offset(uint64_t{1} << 62);
  return LockFileEx(handle_of(handle_), LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &where);
}

void SharedFile::touch() {
  FILETIME now;
  GetSystemTimeAsFileTime(&now);
  SetFileTime(handle_of(handle_), nullptr, nullptr, &now);
}

}  // namespace thaw
#endif
