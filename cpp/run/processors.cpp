// How many processors this process may use, and the denormal mode of a thread.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "run/pool.h"

#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace thaw {
namespace {

int processors() {
#if defined(__linux__)
  cpu_set_t* set = CPU_ALLOC(4096);
  const size_t bytes = CPU_ALLOC_SIZE(4096);
  const int allowed = set && sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
  CPU_FREE(set);
  if (allowed > 0) return allowed;
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

#if defined(__linux__)
// One line of numbers; "max" and a file that is not there count as no limit.
double quota_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  double quota = 0, period = 0;
  return file >> quota >> period && quota > 0 && period > 0 ? quota / period : 0;
}

double quota_v1(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  return quota_file >> quota && period_file >> period && quota > 0 && period > 0 ? quota / period : 0;
}

// The tightest quota from a group up to the root: a parent's limit binds its children.
template <class Read>
double tightest(const std::string& root, std::string path, Read read) {
  double tightest = 0;
  while (true) {
    const double quota = read(root + path);
    if (quota > 0 && (tightest == 0 || quota < tightest)) tightest = quota;
    const size_t slash = path.rfind('/');
    if (path.empty() || slash == std::string::npos) return tightest;
    path.resize(slash);
  }
}

// Lines of /proc/self/cgroup: "0::/path" (v2) and "4:cpu,cpuacct:/path" (v1).
double cgroup_quota() {
  std::ifstream groups("/proc/self/cgroup");
  double least = 0;
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    double quota = 0;
    if (controllers == ",,") {
      quota = tightest("/sys/fs/cgroup", path, quota_v2);
    } else if (controllers.find(",cpu,") != std::string::npos) {
      quota = tightest("/sys/fs/cgroup/cpu", path, quota_v1);
    }
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
  }
  return least;
}
#endif

}  // namespace

int available_threads() {
  int threads = processors();
#if defined(__linux__)
  const double quota = cgroup_quota();
  // Rounded down: a thread more than the quota pays for is stopped in the middle of each period.
  if (quota > 0) threads = std::min(threads, std::max(1, static_cast<int>(quota)));
#endif
  return std::clamp(threads, 1, Pool::kMaxThreads);
}

size_t second_level_cache() {
#if defined(__linux__) && defined(_SC_LEVEL2_CACHE_SIZE)
  const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return static_cast<size_t>(bytes);
#endif
  return size_t{1} << 20;
}

#if defined(__x86_64__) || defined(_M_X64)
// Bits of MXCSR: flush to zero (results) and denormals are zero (operands).
FlushDenormals::FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(static_cast<unsigned>(before_) | 0x8040u); }
FlushDenormals::~FlushDenormals() { _mm_setcsr(static_cast<unsigned>(before_)); }
#elif defined(__aarch64__) && !defined(_MSC_VER)
// FPCR.FZ covers operands and results.
FlushDenormals::FlushDenormals() {
  asm volatile("mrs %0, fpcr" : "=r"(before_));
  asm volatile("msr fpcr, %0" : : "r"(before_ | (uint64_t{1} << 24)));
}
FlushDenormals::~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }
#else
FlushDenormals::FlushDenormals() = default;
FlushDenormals::~FlushDenormals() { (void)before_; }
#endif

}  // namespace thaw
