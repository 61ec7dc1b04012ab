#include "session/cached_rows.h"

#include <algorithm>
#include <cstring>

#include "error.h"

namespace thaw {
namespace {

/// Bytes of one row of a value of the cut, whose first dimension is the batch, as a cache keeps it.
size_t row_bytes(const Plan& plan, ValueId v, size_t rows) {
  const Value& value = plan.value(v);
  if (value.shape.empty() || static_cast<size_t>(value.shape[0]) != rows)
    fail_expected("ERR_INPUT", std::to_string(rows) + " rows", "cached value '" + value.name + "'", to_string(value.shape));
  return plan.cached_bytes(v) / std::max<size_t>(rows, 1);
}

// To nearest, ties to even; what is not a number stays so.
uint16_t to_bf16(const float* x) {
  uint32_t bits;
  std::memcpy(&bits, x, sizeof(bits));
  const uint32_t quiet = (bits >> 16) | 0x40, rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

void narrow(const float* row, uint16_t* target, size_t count) {
  for (size_t i = 0; i < count; ++i) target[i] = to_bf16(row + i);
}

// `row` holds `count` numbers of bf16 in the upper half of its place: each is read before it is overwritten.
void widen(char* row, size_t count) {
  const char* upper = row + count * sizeof(uint16_t);
  for (size_t i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, upper + i * sizeof(half), sizeof(half));
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    std::memcpy(row + i * sizeof(bits), &bits, sizeof(bits));
  }
}

}  // namespace

void make_room(const Session& session, const Plan& plan, std::vector<Memory>& values) {
  const std::vector<ValueId>& cut = plan.program().cut;
  values.resize(cut.size());
  for (size_t c = 0; c < cut.size(); ++c) {
    const size_t bytes = physical_bytes(plan.value(cut[c]));
    if (values[c].empty() || values[c].size() != bytes) values[c] = Memory(bytes, session.account);
  }
}

void read_cache(Session& session, const Plan& plan, const Json& request, std::vector<Memory>& values) {
  FeatureCache& cache = session.cache(request.at("cache").as_int());
  const std::vector<std::string> keys = request.at("keys").as_strings();
  const std::vector<ValueId>& cut = plan.program().cut;
  make_room(session, plan, values);
  std::string missing;
  for (size_t row = 0; row < keys.size(); ++row) {
    Pieces places;
    for (size_t c = 0; c < cut.size(); ++c) {
      const size_t bytes = row_bytes(plan, cut[c], keys.size()), wide = physical_bytes(plan.value(cut[c])) / keys.size();
      places.push_back({values[c].as<char>() + (row + 1) * wide - bytes, bytes});
    }
    if (!cache.copy(keys[row], places)) {
      missing += (missing.empty() ? "" : ", ") + std::to_string(row);
      continue;
    }
    for (size_t c = 0; c < cut.size(); ++c)
      if (plan.cached_in_bf16(cut[c])) {
        const size_t count = places[c].bytes / sizeof(uint16_t);
        widen(values[c].as<char>() + row * count * sizeof(float), count);
      }
  }
  if (!missing.empty()) fail_expected("ERR_CACHE_MISS", "every row in the cache", "cacheRead", "none for rows " + missing);
}

int64_t write_cache(Session& session, const Plan& plan, const Json& request) {
  FeatureCache& cache = session.cache(request.at("cache").as_int());
  const std::vector<std::string> keys = request.at("keys").as_strings();
  const std::vector<ValueId>& cut = plan.program().graph.outputs;
  std::vector<Memory> halves;    // a row of each value that is kept in bf16
  std::vector<Memory> fetched;   // from a GPU
  std::vector<char*> results;
  for (ValueId v : cut) {
    fetched.emplace_back(plan.on_gpu() ? physical_bytes(plan.value(v)) : 0, session.account);
    if (plan.on_gpu()) plan.read(v, fetched.back().data(), fetched.back().size());
    results.push_back(plan.on_gpu() ? fetched.back().as<char>() : const_cast<char*>(static_cast<const char*>(plan.result(v))));
    const size_t bytes = row_bytes(plan, v, keys.size());
    halves.emplace_back(plan.cached_in_bf16(v) ? bytes : 0, session.account);
  }
  int64_t stored = 0;
  for (size_t row = 0; row < keys.size(); ++row) {
    Pieces pieces;
    for (size_t c = 0; c < cut.size(); ++c) {
      const size_t bytes = row_bytes(plan, cut[c], keys.size());
      char* result = results[c];
      if (plan.cached_in_bf16(cut[c])) {
        const size_t count = bytes / sizeof(uint16_t);
        narrow(reinterpret_cast<const float*>(result) + row * count, halves[c].as<uint16_t>(), count);
        pieces.push_back({halves[c].data(), bytes});
      } else {
        pieces.push_back({result + row * bytes, bytes});
      }
    }
    stored += cache.put(keys[row], pieces);
  }
  return stored;
}

}  // namespace thaw
