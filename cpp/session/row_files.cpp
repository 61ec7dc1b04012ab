#include "session/row_files.h"

#include <cstddef>
#include <cstring>

#include "error.h"

namespace thaw {
namespace {

// Far beyond any row; keeps sums of sizes from files within 64 bits.
constexpr uint64_t kLargestRow = uint64_t{1} << 40;

struct Header {
  char magic[8] = {'t', 'h', 'a', 'w', 'r', 'o', 'w', '1'};
  uint64_t row_bytes = 0;
  Digest check;
  char rest[32] = {};
};
static_assert(sizeof(Header) == 64);

struct Label {
  Digest key, check;
};
static_assert(sizeof(Label) == 32);

Digest check_of(const Header& header) { return digest(&header, offsetof(Header, check)); }

Digest key_of(const std::string& key) { return digest(key.data(), key.size()); }

void gather(const Pieces& pieces, char* target) {
  for (const Piece& piece : pieces) {
    if (piece.bytes > 0) std::memcpy(target, piece.data, piece.bytes);
    target += piece.bytes;
  }
}

void scatter(const char* source, const Pieces& places) {
  for (const Piece& place : places) {
    if (place.bytes > 0) std::memcpy(place.data, source, place.bytes);
    source += place.bytes;
  }
}

uint64_t bytes_of(const Pieces& pieces) {
  uint64_t bytes = 0;
  for (const Piece& piece : pieces) bytes += piece.bytes;
  return bytes;
}

uint64_t stride(uint64_t row_bytes) { return sizeof(Label) + row_bytes; }

uint64_t rows_in(uint64_t file_bytes, uint64_t row_bytes) {
  return file_bytes < sizeof(Header) ? 0 : (file_bytes - sizeof(Header)) / stride(row_bytes);
}

}  // namespace

RowFiles::RowFiles(const std::vector<std::string>& paths, std::string fresh, uint64_t file_bytes)
    : fresh_(std::move(fresh)), file_bytes_(file_bytes) {
  for (const std::string& path : paths) open(path);
}

// A file that cannot be used is as good as none.
bool RowFiles::open(const std::string& path) {
  auto file = std::make_unique<File>();
  try {
    file->file = std::make_unique<SharedFile>(path, false);
  } catch (const Error&) {
    return false;
  }
  Header header;
  const Header good;
  if (!file->file->read(0, &header, sizeof(header)) || check_of(header) != header.check) return false;
  if (std::memcmp(header.magic, good.magic, sizeof(good.magic)) != 0) return false;
  if (header.row_bytes > kLargestRow) return false;
  file->row_bytes = header.row_bytes;
  index(*file);
  files_.push_back(std::move(file));
  return true;
}

// The rows that were not there when it was last looked at.
void RowFiles::index(File& file) {
  const uint64_t rows = rows_in(file.file->size(), file.row_bytes);
  for (; file.rows < rows; ++file.rows) {
    const uint64_t at = sizeof(Header) + file.rows * stride(file.row_bytes);
    Label label;
    if (!file.file->read(at, &label, sizeof(label))) return;
    index_.emplace(label.key, Slot{&file, at + sizeof(label), label.check});
  }
}

// Reads the row to `target` and checks it.
bool RowFiles::right(const Digest& key, Slot& slot, void* target) {
  File& file = *slot.file;
  if (!file.file->read(slot.offset, target, file.row_bytes)) return false;
  if (digest(target, file.row_bytes, key) != slot.check) return false;
  slot.seen_right = true;
  if (!file.touched) file.file->touch();
  file.touched = true;
  return true;
}

// The size of a row comes from a file: it must not ask for more memory than the file has bytes.
bool RowFiles::fits(const Slot& slot) const {
  return slot.offset + slot.file->row_bytes <= slot.file->file->size();
}

void* RowFiles::scratch(uint64_t bytes) {
  if (scratch_.size() < bytes) scratch_ = Memory(bytes);
  return scratch_.data();
}

bool RowFiles::has(const std::string& text) {
  const Digest key = key_of(text);
  auto [at, end] = index_.equal_range(key);
  while (at != end) {
    Slot& slot = at->second;
    if (slot.seen_right || (fits(slot) && right(key, slot, scratch(slot.file->row_bytes)))) return true;
    at = index_.erase(at);
  }
  return false;
}

bool RowFiles::read(const std::string& text, const Pieces& places) {
  const Digest key = key_of(text);
  const uint64_t bytes = bytes_of(places);
  auto [at, end] = index_.equal_range(key);
  while (at != end) {
    if (at->second.file->row_bytes != bytes) {
      ++at;
      continue;
    }
    void* target = places.size() == 1 ? places[0].data : scratch(bytes);
    if (right(key, at->second, target)) {
      if (places.size() > 1) scatter(static_cast<const char*>(target), places);
      return true;
    }
    at = index_.erase(at);
  }
  return false;
}

bool RowFiles::put(const std::string& text, const Pieces& pieces) {
  if (!failure_.empty()) return false;
  try {
    append(writer(bytes_of(pieces)), key_of(text), pieces);
  } catch (const Error& error) {
    failure_ = error.what();
    return false;
  }
  return true;
}

RowFiles::File& RowFiles::writer(uint64_t row_bytes) {
  const auto open_for = [&](const File& file) {
    return file.row_bytes == row_bytes && file.file->writable() && file.file->size() < file_bytes_;
  };
  if (writer_ && open_for(*writer_)) return *writer_;
  writer_ = nullptr;
  for (const auto& file : files_) {
    if (!open_for(*file) || !file->file->try_lock()) continue;
    writer_ = file.get();
    index(*writer_);  // whoever had it before may have added rows
    return *writer_;
  }
  writer_ = &create(row_bytes);
  return *writer_;
}

RowFiles::File& RowFiles::create(uint64_t row_bytes) {
  auto file = std::make_unique<File>();
  file->file = std::make_unique<SharedFile>(fresh_ + std::to_string(created_++) + ".rows", true);
  if (!file->file->try_lock()) fail("ERR_FILE", "expected to lock a new file, received one that is locked");
  Header header;
  header.row_bytes = file->row_bytes = row_bytes;
  header.check = check_of(header);
  file->file->write(0, &header, sizeof(header));
  file->touched = true;
  files_.push_back(std::move(file));
  return *files_.back();
}

// Overwrites what a writer that died may have left of its last row.
void RowFiles::append(File& file, const Digest& key, const Pieces& pieces) {
  const uint64_t at = sizeof(Header) + file.rows * stride(file.row_bytes);
  char* record = static_cast<char*>(scratch(stride(file.row_bytes)));
  gather(pieces, record + sizeof(Label));
  const Label label{key, digest(record + sizeof(Label), file.row_bytes, key)};
  std::memcpy(record, &label, sizeof(label));
  try {
    file.file->write(at, record, stride(file.row_bytes));
  } catch (const Error&) {
    file.file->truncate(at);
    throw;
  }
  ++file.rows;
  written_ += stride(file.row_bytes);
  index_.emplace(key, Slot{&file, at + sizeof(Label), label.check, true});
}

}  // namespace thaw
