#pragma once
// The one exception type of the core. `code` is stable and documented in docs/errors.md;
// the message says "expected … for …, received …".
#include <cstdio>
#include <stdexcept>
#include <string>

namespace thaw {

class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message)
      : std::runtime_error(message), code_(std::move(code)) {}
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

[[noreturn]] inline void fail(const char* code, const std::string& message) {
  throw Error(code, message);
}

[[noreturn]] inline void fail_expected(const char* code, const std::string& expected,
                                       const std::string& subject, const std::string& received) {
  throw Error(code, "expected " + expected + " for " + subject + ", received " + received);
}

}  // namespace thaw
