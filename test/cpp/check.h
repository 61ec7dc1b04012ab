#pragma once
// The little that the tests of the core need: a check that counts, and the exit code of main.
#include <cstdio>
#include <string>

#include "error.h"

namespace check {

inline int failures = 0;
inline int checks = 0;

inline void that(bool condition, const char* text, const char* file, int line) {
  ++checks;
  if (condition) return;
  ++failures;
  std::fprintf(stderr, "%s:%d: not true: %s\n", file, line, text);
}

/// Runs `body`, which must throw thaw::Error with `code`; returns its message.
template <class Body>
std::string throws(const char* code, Body body, const char* file, int line) {
  ++checks;
  try {
    body();
  } catch (const thaw::Error& error) {
    if (error.code() == code) return error.what();
    std::fprintf(stderr, "%s:%d: expected %s, received %s: %s\n", file, line, code, error.code().c_str(), error.what());
    ++failures;
    return error.what();
  }
  std::fprintf(stderr, "%s:%d: expected %s, received no error\n", file, line, code);
  ++failures;
  return "";
}

inline int result() {
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace check

#define CHECK(condition) check::that(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
#define CHECK_THROWS(code, ...) check::throws(code, [&] { __VA_ARGS__; }, __FILE__, __LINE__)
