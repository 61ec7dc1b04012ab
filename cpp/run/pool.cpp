#include "run/pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "run/memory.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace thaw {
namespace {

constexpr auto kSpin = std::chrono::microseconds(300);
constexpr size_t kKeptScratch = size_t{64} << 20;  // per thread, between regions

void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Stores past the caches are seen before whatever follows.
void drain() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_sfence();
#endif
}

template <class Condition>
bool spin_until(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (condition()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return condition();
}

// The gate of the current region, in one word, so that a worker joins only a region that is open and invites it:
// bits 0-31 workers inside, 32-47 workers invited, 48-62 number of the region, 63 open.
constexpr uint64_t kOpen = uint64_t{1} << 63;
uint64_t gate_of(uint64_t region, int invited) {
  return kOpen | ((region & 0x7fff) << 48) | (static_cast<uint64_t>(invited) << 32);
}
uint32_t inside(uint64_t gate) { return static_cast<uint32_t>(gate); }
int invited(uint64_t gate) { return static_cast<int>((gate >> 32) & 0xffff); }
uint64_t region_of(uint64_t gate) { return (gate >> 48) & 0x7fff; }

thread_local bool in_task = false;

}  // namespace

struct Pool::State {
  std::mutex region;  // held by the caller for a whole region
  std::atomic<uint64_t> gate{0};
  std::mutex mutex;
  std::condition_variable wake, left;
  std::atomic<int> sleeping{0};
  std::atomic<int> wanted{0};  // set_threads; 0: available
  int available = 1;
  int workers = 0;
  uint64_t regions = 0;

  // The open region. Written by the caller while the gate is closed and nobody is inside.
  Call call = nullptr;
  const void* body = nullptr;
  int64_t tasks = 0;
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;
  Memory scratch[kMaxThreads];  // one per thread, the caller's first

  // Claims tasks until none is left or one has failed.
  void work(int thread) noexcept {
    in_task = true;
    while (!failed.load(std::memory_order_relaxed)) {
      const int64_t task = next.fetch_add(1, std::memory_order_relaxed);
      if (task >= tasks) break;
      try {
        call(body, task, scratch[thread].data());
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    }
    in_task = false;
    drain();
  }

  bool may_join(uint64_t seen, int thread, uint64_t last) const {
    return (seen & kOpen) && thread <= invited(seen) && region_of(seen) != last;
  }

  // Waits for a region that this worker has not been in, enters it and returns its number.
  uint64_t join(int thread, uint64_t last) {
    while (true) {
      uint64_t seen = gate.load(std::memory_order_acquire);
      if (may_join(seen, thread, last)) {
        if (gate.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) return region_of(seen);
        continue;
      }
      const auto ready = [&] { return may_join(gate.load(), thread, last); };
      // A worker beyond the processors would spin at the cost of one that works.
      if (thread < available && spin_until(ready)) continue;
      std::unique_lock lock(mutex);
      sleeping.fetch_add(1);
      wake.wait(lock, ready);
      sleeping.fetch_sub(1);
    }
  }

  void leave() {
    const uint64_t before = gate.fetch_sub(1, std::memory_order_acq_rel);
    if ((before & kOpen) || inside(before) != 1) return;
    std::lock_guard lock(mutex);  // the caller is between its look at the gate and its sleep, or asleep
    left.notify_one();
  }

  void worker(int thread) {
    const FlushDenormals flush;
    uint64_t last = ~uint64_t{0};
    while (true) {
      last = join(thread, last);
      work(thread);
      leave();
    }
  }

  // Starts workers up to `helpers`; where the system refuses, those there are must do.
  int start_workers(int helpers) {
    try {
      for (; workers < helpers; ++workers) std::thread([this, thread = workers + 1] { worker(thread); }).detach();
    } catch (const std::system_error&) {
      return workers;
    }
    return helpers;
  }

  void reserve_scratch(int threads, size_t bytes) {
    if (bytes == 0) return;
    for (int i = 0; i < threads; ++i) {
      if (scratch[i].size() < bytes) scratch[i] = Memory(), scratch[i] = Memory(bytes);
    }
  }

  void trim_scratch(int threads) {
    for (int i = 0; i < threads; ++i) {
      if (scratch[i].size() > kKeptScratch) scratch[i] = Memory();
    }
  }

  void open(int helpers) {
    if (helpers == 0) return;
    gate.store(gate_of(++regions, helpers));
    if (sleeping.load() == 0) return;
    { std::lock_guard lock(mutex); }  // nobody is between its look at the gate and its sleep any more
    wake.notify_all();
  }

  void close(int helpers) {
    if (helpers == 0) return;
    gate.fetch_and(~kOpen);
    const auto empty = [&] { return inside(gate.load(std::memory_order_acquire)) == 0; };
    if (spin_until(empty)) return;
    std::unique_lock lock(mutex);
    left.wait(lock, empty);
  }
};

Pool::Pool() : state_(new State) { state_->available = available_threads(); }

Pool& Pool::shared() {
  static Pool* pool = new Pool;  // never destroyed: workers may run while the process exits
  return *pool;
}

int Pool::threads() const {
  const int wanted = state_->wanted.load(std::memory_order_relaxed);
  return wanted > 0 ? wanted : state_->available;
}

void Pool::set_threads(int threads) { state_->wanted = std::clamp(threads, 0, kMaxThreads); }

// A region inside a task: on this thread, with memory of its own.
static void run_inline(int64_t tasks, size_t scratch, Pool::Call call, const void* body) {
  const Memory memory = scratch ? Memory(scratch) : Memory();
  for (int64_t task = 0; task < tasks; ++task) call(body, task, memory.data());
}

void Pool::run(int64_t tasks, size_t scratch, Call call, const void* body, int limit) {
  if (tasks <= 0) return;
  if (in_task) return run_inline(tasks, scratch, call, body);
  State& s = *state_;
  const std::lock_guard region(s.region);
  const int most = limit > 0 ? std::min(limit, kMaxThreads) : this->threads();
  const int threads = static_cast<int>(std::min<int64_t>(most, tasks));
  const int helpers = s.start_workers(threads - 1);
  s.reserve_scratch(helpers + 1, scratch);
  s.call = call, s.body = body, s.tasks = tasks;
  s.next = 0;
  s.failed = false;
  {
    const FlushDenormals flush;
    s.open(helpers);
    s.work(0);
    s.close(helpers);
  }
  s.trim_scratch(helpers + 1);
  if (s.failed) std::rethrow_exception(std::exchange(s.error, nullptr));
}

}  // namespace thaw
