#include "session/feature_cache.h"

#include <cstring>

namespace thaw {
namespace {

// What an entry takes beside its rows: the node of the map, its key, the list of sizes.
constexpr size_t kOverhead = 160;

size_t cost_of(const std::string& key, const FeatureCache::Row& pieces) {
  size_t cost = kOverhead + key.size() + pieces.size() * sizeof(size_t);
  for (const FeatureCache::Piece& piece : pieces) cost += piece.bytes;
  return cost;
}

}  // namespace

FeatureCache::FeatureCache(size_t limit_bytes, std::shared_ptr<Account> account)
    : limit_(limit_bytes), account_(std::move(account)) {}

bool FeatureCache::put(const std::string& key, const Row& pieces) {
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

FeatureCache::Row FeatureCache::find(const std::string& key) const {
  Row row;
  const auto found = rows_.find(key);
  if (found == rows_.end()) return row;
  const char* at = found->second.memory.as<char>();
  for (const size_t bytes : found->second.sizes) {
    row.push_back({at, bytes});
    at += bytes;
  }
  return row;
}

void FeatureCache::clear() {
  rows_.clear();
  bytes_ = 0;
  full_ = false;
}

}  // namespace thaw
