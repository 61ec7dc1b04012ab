#pragma once
// For tests that plant faults: FOUND(words) waits for the launches, which must have broken a rule.
#include <string>
#include <vector>

#include "gpu.h"

namespace gpu {

/// What is said of the launches so far must hold all of these words.
inline void expect_found(const std::vector<const char*>& words, const char* file, int line) {
  const bool failed = backend().wait() != nullptr;
  std::string all;
  for (const std::string& sentence : standin::violations()) all += sentence + "\n";
  standin::forget_violations();
  check::that(failed && !all.empty(), "a violation", file, line);
  for (const char* word : words) {
    check::that(all.find(word) != std::string::npos, word, file, line);
    if (all.find(word) == std::string::npos) std::fprintf(stderr, "%s", all.c_str());
  }
}

}  // namespace gpu

#define FOUND(...) gpu::expect_found({__VA_ARGS__}, __FILE__, __LINE__)
