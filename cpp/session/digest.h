#pragma once
// 128 bits that tell contents apart: for finding what was computed before and for noticing damage. Not for contents
// that somebody shapes on purpose to collide.
#include <cstddef>
#include <cstdint>
#include <string>

namespace thaw {

struct Digest {
  uint64_t low = 0, high = 0;
  bool operator==(const Digest& other) const { return low == other.low && high == other.high; }
  bool operator!=(const Digest& other) const { return !(*this == other); }
  std::string hex() const;
};

/// Of `bytes` bytes. `before` chains: digest(b, n, digest(a, m)) stands for a and then b, with the border between them.
Digest digest(const void* data, size_t bytes, const Digest& before = {});

}  // namespace thaw
