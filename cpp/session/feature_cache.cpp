#include "session/feature_cache.h"

#include <cstring>

#include "error.h"

namespace thaw {
namespace {

// What an entry takes beside its rows: the node of the map, its key, the list of sizes.
constexpr size_t kOverhead = 160;

size_t cost_of(const std::string& key, const Pieces& pieces) {
  size_t cost = kOverhead + key.size() + pieces.size() * sizeof(size_t);
  for (const Piece& piece : pieces) cost += piece.bytes;
  return cost;
}

}  // namespace

FeatureCache::FeatureCache(size_t limit_bytes, std::shared_ptr<Account> account, std::unique_ptr<RowFiles> files)
    : limit_(limit_bytes), account_(std::move(account)), files_(std::move(files)) {}

bool FeatureCache::put(const std::string& key, const Pieces& pieces) {
  const bool passing = !key.empty() && key[0] == kPassing;
  return (files_ && !passing && files_->put(key, pieces)) || keep(key, pieces);
}

bool FeatureCache::keep(const std::string& key, const Pieces& pieces) {
  const auto old = rows_.find(key);
  const size_t cost = cost_of(key, pieces), others = bytes_ - (old == rows_.end() ? 0 : old->second.cost);
  if (cost > limit_ || others > limit_ - cost) {
    full_ = true;
    return false;
  }
  size_t bytes = 0;
  for (const Piece& piece : pieces) bytes += piece.bytes;
  Entry entry{Memory(bytes, account_), {}, cost};
  size_t at = 0;
  for (const Piece& piece : pieces) {
    if (piece.bytes > 0) std::memcpy(entry.memory.as<char>() + at, piece.data, piece.bytes);
    entry.sizes.push_back(piece.bytes);
    at += piece.bytes;
  }
  rows_.insert_or_assign(key, std::move(entry));
  bytes_ = others + cost;
  return true;
}

bool FeatureCache::copy(const std::string& key, const Pieces& places) {
  const auto found = rows_.find(key);
  if (found == rows_.end()) return files_ && files_->read(key, places);
  const Entry& entry = found->second;
  const char* at = entry.memory.as<char>();
  for (size_t i = 0; i < places.size(); ++i) {
    const size_t bytes = i < entry.sizes.size() ? entry.sizes[i] : 0;
    if (bytes != places[i].bytes) {
      fail_expected("ERR_INPUT", std::to_string(places[i].bytes) + " bytes", "a cached value", std::to_string(bytes));
    }
    if (bytes > 0) std::memcpy(places[i].data, at, bytes);
    at += bytes;
  }
  return true;
}

void FeatureCache::clear() {
  rows_.clear();
  bytes_ = 0;
  full_ = false;
}

}  // namespace thaw
