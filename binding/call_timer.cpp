#include <time.h>

#include <algorithm>
#include <chrono>

#include "environment.h"

namespace thaw::binding {

ThreadClock ThreadClock::now() {
  using Milliseconds = std::chrono::duration<double, std::milli>;
  const double wall = Milliseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
#if defined(CLOCK_THREAD_CPUTIME_ID)
  timespec time = {};
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0) {
    return {wall, static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6};
  }
#endif
  return {wall, wall};
}

CallTimer::~CallTimer() {
  const ThreadClock end = ThreadClock::now();
  ThreadClock& longest = environment_.longest_call;
  longest.wall = std::max(longest.wall, end.wall - begin_.wall);
  longest.processor = std::max(longest.processor, end.processor - begin_.processor);
}

}  // namespace thaw::binding
