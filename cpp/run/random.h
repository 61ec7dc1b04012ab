#pragma once
// Counter-based random numbers: a draw is a pure function of a key and a counter, so it depends neither on the order
// nor on the thread in which it is made. Static functions only: kernels may include this file.
//
// Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
// (Philox4x32-10); FNV-1a, 64 bit: http://www.isthe.com/chongo/tech/comp/fnv/ .
#include <cstddef>
#include <cstdint>

// Kernels of a GPU draw too.
#ifdef __CUDACC__
#define THAW_DRAW static inline __host__ __device__
#else
#define THAW_DRAW static inline
#endif

namespace thaw {

struct PhiloxKey {
  uint32_t word[2];
};

/// The counter and, after the rounds, the draw: four uniform 32-bit numbers.
struct PhiloxBlock {
  uint32_t word[4];
};

/// 64-bit FNV-1a hash of a name.
static inline uint64_t name_hash(const char* text, size_t length) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (size_t i = 0; i < length; ++i) hash = (hash ^ static_cast<unsigned char>(text[i])) * 0x100000001b3ull;
  return hash;
}

/// Spreads every bit of x over all bits of the result (the finaliser of SplitMix64). One to one.
static inline uint64_t mix_bits(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// The key of a stream of draws. Nearby seeds and like names give unrelated streams.
static inline PhiloxKey stream_key(uint64_t seed, uint64_t hash) {
  const uint64_t key = mix_bits(mix_bits(seed) ^ hash);
  return {{static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)}};
}

/// The counter of the draws for elements 4*quad … 4*quad+3 of a sample in an epoch.
THAW_DRAW PhiloxBlock sample_counter(int64_t epoch, int64_t sample, uint64_t quad) {
  const uint64_t id = static_cast<uint64_t>(sample);
  // Quads beyond 2^32 (a sample of 16 Gi elements) fold into the epoch's word, of which few bits are ever used.
  const uint32_t high = static_cast<uint32_t>(epoch) ^ (static_cast<uint32_t>(quad >> 32) << 24);
  return {{static_cast<uint32_t>(quad), high, static_cast<uint32_t>(id), static_cast<uint32_t>(id >> 32)}};
}

THAW_DRAW PhiloxBlock philox_round(PhiloxBlock c, PhiloxKey k) {
  const uint64_t a = uint64_t{0xD2511F53u} * c.word[0];
  const uint64_t b = uint64_t{0xCD9E8D57u} * c.word[2];
  return {{static_cast<uint32_t>(b >> 32) ^ c.word[1] ^ k.word[0], static_cast<uint32_t>(b),
           static_cast<uint32_t>(a >> 32) ^ c.word[3] ^ k.word[1], static_cast<uint32_t>(a)}};
}

/// The key of the round after the one with key k.
THAW_DRAW PhiloxKey philox_next(PhiloxKey k) { return {{k.word[0] + 0x9E3779B9u, k.word[1] + 0xBB67AE85u}}; }

/// Philox4x32-10.
THAW_DRAW PhiloxBlock philox(PhiloxBlock c, PhiloxKey k) {
  for (int round = 0; round < 10; ++round, k = philox_next(k)) c = philox_round(c, k);
  return c;
}

/// In [0, 1), a multiple of 2^-24: exact in f32.
static inline float uniform01(uint32_t draw) { return static_cast<float>(draw >> 8) * 0x1p-24f; }

/// In (0, 1): safe for logarithms.
static inline double open_uniform(uint32_t draw) { return (static_cast<double>(draw) + 0.5) * 0x1p-32; }

}  // namespace thaw
