#pragma once
// Numbers in f32 and in bf16 for kernels that move or choose numbers, and comparisons to the bit.
#include <cstring>
#include <limits>

#include "compare.h"

namespace values {

using gpu::number_of;
using gpu::run_tasks;

template <class T>
T encode(double x) {
  if constexpr (sizeof(T) == 2) return harness::bf16_bits(x);
  else return static_cast<T>(x);
}

template <class T>
std::vector<T> noise(int64_t count, uint64_t seed) {
  std::vector<T> result;
  for (const double x : harness::noise(count, seed)) result.push_back(encode<T>(x));
  return result;
}

/// Few different numbers, so that many are equal, with zeros of both signs, infinities and a NaN here and there.
template <class T>
std::vector<T> coarse(int64_t count, uint64_t seed) {
  std::vector<T> result;
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double x : harness::noise(count, seed)) {
    const int kind = static_cast<int>(std::abs(x) * 1e4) % 97;
    double value = std::round(2 * x) / 2;
    if (kind == 1) value = infinity;
    if (kind >= 2 && kind < 12) value = -infinity;
    if (kind == 13) value = std::nan("");
    result.push_back(encode<T>(value));
  }
  return result;
}

/// The same bits, or both not a number.
template <class T>
bool same(const std::vector<T>& got, const std::vector<T>& want) {
  if (got.size() != want.size()) return false;
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(number_of(got[i])) && std::isnan(number_of(want[i]))) continue;
    if (std::memcmp(&got[i], &want[i], sizeof(T)) != 0) return false;
  }
  return true;
}

/// No further apart than `relative` times the wanted number and `absolute`; both not a number, or the same infinity.
template <class T>
bool close(const std::vector<T>& got, const std::vector<T>& want, double relative, double absolute = 0) {
  if (got.size() != want.size()) return false;
  for (size_t i = 0; i < want.size(); ++i) {
    const double g = number_of(got[i]), w = number_of(want[i]);
    if (std::isnan(g) && std::isnan(w)) continue;
    if (g != w && !(std::abs(g - w) <= relative * std::abs(w) + absolute)) return false;
  }
  return true;
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace values
