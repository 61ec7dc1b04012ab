#include "ops/whole_numbers.h"

namespace thaw {

namespace {

template <class T>
int64_t number_at(const Run& run, Buffer numbers, int64_t at) {
  T value = 0;
  run.fetch(&value, numbers, static_cast<size_t>(at) * sizeof(T), sizeof(T));
  return static_cast<int64_t>(value);
}

}  // namespace

void check_numbers(Lower& lower, Buffer numbers, bool wide, Buffer wrong, int64_t tasks, WrongNumber said) {
  if (tasks == 0) return;
  lower.check({wrong, numbers}, [=](Run& run) {
    std::vector<int64_t> found(static_cast<size_t>(tasks));
    run.fetch(found.data(), wrong, 0, found.size() * sizeof(int64_t));
    for (const int64_t at : found) {
      if (at < 0) continue;
      const int64_t value = wide ? number_at<int64_t>(run, numbers, at) : number_at<int32_t>(run, numbers, at);
      fail_expected(said.code, said.expected, said.subject, std::to_string(value) + " at position " + std::to_string(at));
    }
  });
}

}  // namespace thaw
