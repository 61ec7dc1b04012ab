#pragma once
// What tests of kernels share: numbers to compute with, the CPU's tasks one after the other, and the comparison.
#include <algorithm>
#include <cmath>

#include "gpu.h"
#include "numbers.h"

namespace gpu {

inline std::vector<float> floats(int64_t count, uint64_t seed, double scale = 1) {
  std::vector<float> values;
  for (const double x : harness::noise(count, seed)) values.push_back(static_cast<float>(scale * x));
  return values;
}

/// All tasks of a kernel of the CPU.
template <class Args>
void run_tasks(void (*kernel)(const Args&, int64_t, void*), const Args& args, int64_t tasks, size_t scratch = 0) {
  std::vector<char> memory(scratch + 64);
  void* aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  for (int64_t task = 0; task < tasks; ++task) kernel(args, task, aligned);
}

inline float number_of(float x) { return x; }
inline double number_of(double x) { return x; }
inline float number_of(uint16_t bf16) {
  const uint32_t bits = static_cast<uint32_t>(bf16) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

/// Every number within `tolerance` of what is wanted, relative to `scale`, or to the largest number wanted. NaN where NaN
/// is wanted, infinities where they are.
template <class T>
void expect_close(const std::vector<T>& got, const std::vector<T>& want, double tolerance, const std::string& what,
                  double scale = 0) {
  ++check::checks;
  double largest = 0;
  for (const T x : want)
    if (std::isfinite(number_of(x))) largest = std::max<double>(largest, std::abs(static_cast<double>(number_of(x))));
  if (scale == 0) scale = largest > 0 ? largest : 1;
  double worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double g = number_of(got[i]), w = number_of(want[i]);
    if (g == w || (std::isnan(g) && std::isnan(w))) continue;
    const double error = std::isfinite(g) && std::isfinite(w) ? std::abs(g - w) : INFINITY;
    if (error > worst) worst = error, at = i;
  }
  if (got.size() == want.size() && worst <= tolerance * scale) return;
  ++check::failures;
  std::fprintf(stderr, "%s: number %zu of %zu is off by %g: %g, %g wanted (tolerance %g of %g)\n", what.c_str(), at,
               want.size(), worst, at < got.size() ? static_cast<double>(number_of(got[at])) : NAN,
               at < want.size() ? static_cast<double>(number_of(want[at])) : NAN, tolerance, scale);
}

}  // namespace gpu
