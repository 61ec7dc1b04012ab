#include "session/digest.h"

#include <bit>
#include <cstdio>
#include <cstring>

namespace thaw {
namespace {

constexpr size_t kLanes = 8, kBlock = kLanes * sizeof(uint64_t);
// Odd, bits drawn at random: a product with one of them can be undone, so a lane never forgets a difference.
constexpr uint64_t kFactor[kLanes] = {0xb5a3c9d17e4f2861, 0x8d61f3a9c25b7e4d, 0xe92b47d58c1fa637, 0x9f4d2e8b613ac57b,
                                      0xc73e91a5f8d0264f, 0xa1d86b3f5e97c413, 0xd42f7c85ab63e91d, 0x87be5a19d3c4f26b};

// Every bit of x reaches every bit of the result, and no two x have the same.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 32)) * kFactor[0];
  x = (x ^ (x >> 29)) * kFactor[1];
  return x ^ (x >> 32);
}

// Eight independent chains of xor, rotate and multiply keep the multiplier busy: memory sets the speed.
void absorb(uint64_t* lanes, const char* block) {
  for (size_t i = 0; i < kLanes; ++i) {
    uint64_t word;
    std::memcpy(&word, block + i * sizeof(word), sizeof(word));
    lanes[i] = std::rotl(lanes[i] ^ word, 29) * kFactor[i];
  }
}

}  // namespace

Digest digest(const void* data, size_t bytes, const Digest& before) {
  uint64_t lanes[kLanes];
  for (size_t i = 0; i < kLanes; ++i) lanes[i] = mix((i % 2 ? before.high : before.low) + kFactor[i]);
  const char* at = static_cast<const char*>(data);
  size_t left = bytes;
  for (; left >= kBlock; left -= kBlock, at += kBlock) absorb(lanes, at);
  if (left > 0) {
    char last[kBlock] = {};
    std::memcpy(last, at, left);
    absorb(lanes, last);
  }
  Digest out{mix(before.low ^ bytes), mix(before.high + bytes)};
  for (size_t i = 0; i < kLanes; ++i) {
    out.low = mix(out.low ^ lanes[i]);
    out.high = mix(out.high + std::rotl(lanes[i], 23));
  }
  return out;
}

std::string Digest::hex() const {
  char text[33];
  std::snprintf(text, sizeof(text), "%016llx%016llx", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text;
}

}  // namespace thaw
