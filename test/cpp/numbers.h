#pragma once
// Numbers for tests to compute with, and their rounding to bf16.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace harness {

/// Numbers like a normal distribution's (a sum of uniforms), the same on every machine.
inline std::vector<double> noise(int64_t n, uint64_t seed) {
  std::vector<double> result(static_cast<size_t>(n));
  uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  for (double& value : result) {
    value = -2;
    for (int i = 0; i < 4; ++i) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      value += static_cast<double>(state >> 40) / static_cast<double>(1 << 24);
    }
    value = static_cast<float>(value * 1.7);
  }
  return result;
}

/// Relative, by the L2 norm.
inline double distance(const std::vector<double>& got, const std::vector<double>& want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i)
    difference += (got[i] - want[i]) * (got[i] - want[i]), norm += want[i] * want[i];
  return std::sqrt(difference / norm);
}

/// To the nearest, ties to even.
inline uint16_t bf16_bits(double x) {
  const float f = static_cast<float>(x);
  uint32_t bits;
  std::memcpy(&bits, &f, sizeof(bits));
  return static_cast<uint16_t>((std::isnan(f) ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline double rounded_to_bf16(double x) {
  const uint32_t bits = static_cast<uint32_t>(bf16_bits(x)) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof(f));
  return f;
}

constexpr double kBf16Error = 1.0 / 256;  // the spacing of bf16 just above 1 is twice this

/// The numbers as bf16 holds them.
inline std::vector<double> in_bf16(std::vector<double> values) {
  for (double& value : values) value = rounded_to_bf16(value);
  return values;
}

}  // namespace harness
