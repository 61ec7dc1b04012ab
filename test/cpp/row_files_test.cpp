// Rows in files: what is written is found again, by several at once; what is damaged is not there.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "session/feature_cache.h"
#include "session/row_files.h"

using namespace thaw;
namespace fs = std::filesystem;

namespace {

constexpr size_t kRow = 100, kStride = 32 + kRow * sizeof(float), kHeader = 64;
constexpr uint64_t kLarge = uint64_t{1} << 30;

struct Folder {
  fs::path path;
  int opened = 0;
  Folder() {
    path = fs::temp_directory_path() / ("thaw-rows-" + std::to_string(std::rand()) + "-" + std::to_string(clock()));
    fs::create_directory(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::vector<std::string> files() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(path)) out.push_back(entry.path().string());
    std::sort(out.begin(), out.end());
    return out;
  }
  std::unique_ptr<RowFiles> open(uint64_t file_bytes = kLarge) {
    return std::make_unique<RowFiles>(files(), (path / ("f" + std::to_string(opened++) + "-")).string(), file_bytes);
  }
};

std::vector<float> values(int seed) {
  std::vector<float> row(kRow);
  for (size_t i = 0; i < kRow; ++i) row[i] = static_cast<float>(seed * 1000 + static_cast<int>(i));
  return row;
}

bool put(RowFiles& rows, int seed) {
  std::vector<float> row = values(seed);
  return rows.put("key" + std::to_string(seed), {{row.data(), 40}, {row.data() + 10, kRow * 4 - 40}});
}

bool found(RowFiles& rows, int seed) {
  const std::string key = "key" + std::to_string(seed);
  std::vector<float> whole(kRow), parts(kRow);
  const bool has = rows.has(key), read = rows.read(key, {{whole.data(), kRow * 4}});
  const bool split = rows.read(key, {{parts.data(), 4}, {parts.data() + 1, kRow * 4 - 4}});
  CHECK(has == read && has == split);
  if (has) CHECK(whole == values(seed) && parts == values(seed));
  return has;
}

void flip(const std::string& path, size_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const char byte = static_cast<char>(file.get() ^ 4);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

void survive() {
  Folder folder;
  {
    const auto rows = folder.open();
    for (int i = 0; i < 5; ++i) CHECK(put(*rows, i));
    CHECK(found(*rows, 3) && !rows->has("other") && rows->written() == 5 * kStride);
    float few[4];
    CHECK(!rows->read("key3", {{few, sizeof(few)}}));  // another size is another row
  }
  const auto again = folder.open();
  for (int i = 0; i < 5; ++i) CHECK(found(*again, i));
  CHECK(put(*again, 5) && folder.files().size() == 1);  // goes on in the file that nobody writes to
  CHECK(found(*folder.open(), 5));
}

void several_at_once() {
  Folder folder;
  const auto a = folder.open();
  CHECK(put(*a, 0));
  const auto b = folder.open();
  CHECK(found(*b, 0) && put(*b, 1) && put(*a, 2) && put(*b, 3));
  CHECK(folder.files().size() == 2);  // each has its own
  const auto c = folder.open();
  for (int i = 0; i < 4; ++i) CHECK(found(*c, i));
}

void sizes() {
  Folder folder;
  const auto rows = folder.open(kHeader + 2 * kStride);
  for (int i = 0; i < 5; ++i) CHECK(put(*rows, i));
  CHECK(folder.files().size() == 3);
  for (int i = 0; i < 5; ++i) CHECK(found(*rows, i));
}

// Every byte of a file, one at a time: of the three rows at most the one that it belongs to is lost.
void flipped_bytes() {
  Folder folder;
  {
    const auto rows = folder.open();
    for (int i = 0; i < 3; ++i) put(*rows, i);
  }
  const std::string path = folder.files()[0];
  for (size_t at = 0; at < kHeader + 3 * kStride; at += at < kHeader + kStride ? 1 : 37) {
    flip(path, at);
    const auto rows = folder.open();
    const int hit = at < kHeader ? -1 : static_cast<int>((at - kHeader) / kStride);
    for (int i = 0; i < 3; ++i) {
      if (hit >= 0) CHECK(found(*rows, i) == (i != hit));
      if (hit < 0 && at < 32) CHECK(!found(*rows, i));
    }
    flip(path, at);
  }
  CHECK(found(*folder.open(), 0));
}

void replaced_after_damage() {
  Folder folder;
  {
    const auto rows = folder.open();
    for (int i = 0; i < 2; ++i) put(*rows, i);
    CHECK(found(*rows, 0));
    flip(folder.files()[0], kHeader + 50);  // while it is open, after it was seen to be right
    std::vector<float> row(kRow);
    CHECK(!rows->read("key0", {{row.data(), kRow * 4}}) && !rows->has("key0") && found(*rows, 1));
    CHECK(put(*rows, 0) && found(*rows, 0));
  }
  const auto rows = folder.open();
  CHECK(found(*rows, 0) && found(*rows, 1));
}

void cut_files() {
  Folder folder;
  {
    const auto rows = folder.open();
    for (int i = 0; i < 3; ++i) put(*rows, i);
  }
  const std::string path = folder.files()[0];
  for (const size_t size : {kHeader + 3 * kStride - 1, kHeader + 2 * kStride + 10, kHeader + kStride, kHeader + 1,
                            kHeader - 1, size_t{0}}) {
    fs::resize_file(path, size);
    const auto rows = folder.open();
    const size_t whole = size < kHeader ? 0 : (size - kHeader) / kStride;
    for (int i = 0; i < 3; ++i) CHECK(found(*rows, i) == (static_cast<size_t>(i) < whole));
  }
  // A row that was begun is overwritten.
  CHECK(put(*folder.open(), 7) && found(*folder.open(), 7));
}

void cut_while_open() {
  Folder folder;
  const auto rows = folder.open();
  for (int i = 0; i < 2; ++i) put(*rows, i);
  fs::resize_file(folder.files()[0], kHeader + kStride);
  std::vector<float> row(kRow);
  CHECK(!rows->read("key1", {{row.data(), kRow * 4}}) && found(*rows, 0));
}

void not_writable() {
  Folder folder;
  RowFiles rows({(folder.path / "absent.rows").string(), folder.path.string()}, "/no/such/folder/f", kLarge);
  CHECK(!put(rows, 0) && !rows.failure().empty() && !put(rows, 1));
  // The cache keeps in memory what the files do not take, and the places of a batch in any case.
  FeatureCache cache(100000, std::make_shared<Account>(), folder.open());
  float row[2] = {1, 2}, copied[2] = {};
  CHECK(cache.put(std::string("\0001", 2), {{row, 8}}) && cache.entries() == 1 && folder.files().empty());
  CHECK(cache.put("a", {{row, 8}}) && cache.entries() == 1 && folder.files().size() == 1);
  CHECK(cache.copy("a", {{copied, 8}}) && copied[1] == 2 && cache.has("a"));
  FeatureCache broken(100000, std::make_shared<Account>(),
                      std::make_unique<RowFiles>(std::vector<std::string>{}, "/no/such/folder/f", kLarge));
  CHECK(broken.put("a", {{row, 8}}) && broken.entries() == 1 && broken.copy("a", {{copied, 8}}));
}

void digests() {
  std::vector<char> bytes(1000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{1000}}) {
    const Digest whole = digest(bytes.data(), size);
    CHECK(whole == digest(bytes.data(), size) && whole.hex().size() == 32);
    for (size_t at = 0; at < size; ++at) {
      bytes[at] ^= 16;
      CHECK(digest(bytes.data(), size) != whole);
      bytes[at] ^= 16;
    }
    if (size > 0) CHECK(digest(bytes.data(), size - 1) != whole);
  }
  const char zeros[128] = {};
  CHECK(digest(zeros, 64) != digest(zeros, 128) && digest(zeros, 0) != digest(zeros, 1));
  CHECK(digest(bytes.data(), 10, digest(zeros, 5)) != digest(bytes.data(), 10, digest(zeros, 6)));
}

}  // namespace

int main() {
  survive();
  several_at_once();
  sizes();
  flipped_bytes();
  replaced_after_damage();
  cut_files();
  cut_while_open();
  not_writable();
  digests();
  return check::result();
}
