#include "run/pool.h"

#include <atomic>
#include <chrono>
#include <ctime>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "run/queue.h"

using namespace thaw;

namespace {

double ms_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

void every_task_once() {
  for (const int threads : {1, 2, 3, 7, 16}) {
    for (const int64_t tasks : {0, 1, 2, 3, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(tasks) + 1);
      Pool::shared().parallel(tasks, 0, [&](int64_t task, void*) { ++seen[static_cast<size_t>(task)]; }, threads);
      for (int64_t t = 0; t < tasks; ++t) CHECK(seen[static_cast<size_t>(t)] == 1);
      CHECK(seen[static_cast<size_t>(tasks)] == 0);
    }
  }
}

void many_small_regions() {
  std::atomic<int64_t> sum{0};
  for (int i = 0; i < 20000; ++i) {
    Pool::shared().parallel(4, 0, [&](int64_t task, void*) { sum += task; }, 1 + i % 5);
    if (i % 4000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // workers fall asleep
  }
  CHECK(sum == 20000 * 6);
}

void scratch_is_private() {
  std::atomic<bool> broken{false};
  Pool::shared().parallel(64, 4096, [&](int64_t task, void* scratch) {
    if (reinterpret_cast<uintptr_t>(scratch) % 64 != 0) broken = true;
    auto* words = static_cast<int64_t*>(scratch);
    for (int round = 0; round < 20; ++round) {
      for (int i = 0; i < 512; ++i) words[i] = task;
      std::this_thread::yield();
      for (int i = 0; i < 512; ++i) broken = broken || words[i] != task;
    }
  }, 8);
  CHECK(!broken);
}

void exceptions_reach_the_caller() {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> inside{0};
    bool caught = false;
    try {
      Pool::shared().parallel(100, 0, [&](int64_t task, void*) {
        ++inside;
        if (task == 7) {
          --inside;
          throw std::runtime_error("seven");
        }
        std::this_thread::yield();
        --inside;
      }, 4);
    } catch (const std::runtime_error& error) {
      caught = std::string(error.what()) == "seven";
    }
    CHECK(caught && inside == 0);
  }
  CHECK_THROWS("ERR_MEMORY", Pool::shared().parallel(4, size_t{1} << 62, [](int64_t, void*) {}));
  std::atomic<int> done{0};
  Pool::shared().parallel(10, 0, [&](int64_t, void*) { ++done; });
  CHECK(done == 10);
}

void nested_and_concurrent_regions() {
  std::atomic<int> sum{0};
  const auto outer = [&] {
    Pool::shared().parallel(8, 64, [&](int64_t, void* mine) {
      Pool::shared().parallel(8, 64, [&](int64_t, void* inner) { sum += inner != mine; });
    }, 3);
  };
  std::thread other(outer);
  outer();
  other.join();
  CHECK(sum == 128);
}

// A denormal times one is the denormal itself, or zero where denormals are flushed.
bool flushes() {
  volatile float tiny = std::numeric_limits<float>::denorm_min() * 8, one = 1;
  volatile float product = tiny * one;
  return product == 0;
}

void one_denormal_mode() {
#if defined(__x86_64__) || defined(__aarch64__)
  CHECK(!flushes());
  std::atomic<int> flushed{0};
  Pool::shared().parallel(64, 0, [&](int64_t, void*) { flushed += flushes(); }, 4);
  CHECK(flushed == 64);
  CHECK(!flushes());
#endif
}

void thread_counts() {
  Pool& pool = Pool::shared();
  CHECK(available_threads() >= 1);
  CHECK(pool.threads() == available_threads());
  pool.set_threads(3);
  CHECK(pool.threads() == 3);
  pool.set_threads(0);
  CHECK(pool.threads() == available_threads());
}

void idle_threads_sleep() {
  Pool::shared().parallel(16, 0, [](int64_t, void*) {}, 4);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC < 0.02);
}

std::shared_ptr<Job> job_of(uint64_t owner, Lane lane, std::function<void(const std::atomic<bool>&)> run,
                            std::function<void(bool)> done = nullptr) {
  auto job = std::make_shared<Job>();
  job->owner = owner, job->lane = lane, job->run = std::move(run), job->done = std::move(done);
  return job;
}

void wait_for(const std::atomic<int>& value, int expected) {
  const auto begin = std::chrono::steady_clock::now();
  while (value != expected && ms_since(begin) < 5000) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(value == expected);
}

// An owner's jobs keep their order across the lanes.
void queue_keeps_order() {
  Queue& queue = Queue::shared();
  const uint64_t owner = queue.owner();
  std::vector<int> order;
  std::atomic<int> done{0};
  for (int i = 0; i < 100; ++i) {
    queue.submit(job_of(owner, i % 3 ? Lane::compute : Lane::io, [&order, i](const auto&) { order.push_back(i); },
                        [&](bool) { ++done; }));
  }
  wait_for(done, 100);
  std::vector<int> expected(100);
  std::iota(expected.begin(), expected.end(), 0);
  CHECK(order == expected);
}

// An owner with many jobs does not keep another waiting for all of them; a slow read does not hold computing.
void queue_is_fair() {
  Queue& queue = Queue::shared();
  const uint64_t many = queue.owner(), one = queue.owner(), reader = queue.owner();
  std::atomic<int> finished{0}, at{-1};
  std::atomic<bool> reading{true};
  queue.submit(job_of(reader, Lane::io, [&](const auto& cancelled) {
    while (!cancelled) std::this_thread::yield();
    reading = false;
  }));
  const auto brief = [](const auto&) { std::this_thread::sleep_for(std::chrono::milliseconds(2)); };
  for (int i = 0; i < 20; ++i) queue.submit(job_of(many, Lane::compute, brief, [&](bool) { ++finished; }));
  queue.submit(job_of(one, Lane::compute, brief, [&](bool) { at = finished.load(); }));
  wait_for(finished, 20);
  CHECK(at >= 0 && at <= 3);
  CHECK(reading);
  queue.cancel_all(reader, true);
  CHECK(!reading);
}

void queue_cancels() {
  Queue& queue = Queue::shared();
  const uint64_t owner = queue.owner();
  std::atomic<int> started{0}, refused{0}, running{0};
  const auto endless = [&](const std::atomic<bool>& cancelled) {
    ++running;
    while (!cancelled) std::this_thread::yield();
  };
  const auto count = [&](bool begun) { ++(begun ? started : refused); };
  const auto first = job_of(owner, Lane::compute, endless, count);
  const auto second = job_of(owner, Lane::compute, endless, count);
  const auto third = job_of(owner, Lane::io, endless, count);
  for (const auto& job : {first, second, third}) queue.submit(job);
  wait_for(running, 1);
  queue.cancel(second);
  CHECK(refused == 1);
  queue.cancel(first);
  wait_for(running, 2);  // the third's turn
  CHECK(started == 1);
  queue.submit(job_of(owner, Lane::compute, endless, count));
  queue.cancel_all(owner, true);
  CHECK(started == 2 && refused == 2);
  queue.cancel(third);  // over already: nothing happens
}

void queue_shuts_down() {
  Queue& queue = Queue::shared();
  std::atomic<int> running{0}, ended{0};
  queue.submit(job_of(queue.owner(), Lane::compute, [&](const std::atomic<bool>& cancelled) {
    ++running;
    while (!cancelled) std::this_thread::yield();
  }, [&](bool) { ++ended; }));
  wait_for(running, 1);
  queue.shut_down(5000);
  CHECK(ended == 1);
  std::atomic<int> begun{0};
  queue.submit(job_of(queue.owner(), Lane::compute, [&](const auto&) { ++begun; },
                      [&](bool started) { ended += started ? 0 : 1; }));
  CHECK(ended == 2 && begun == 0);
}

}  // namespace

int main() {
  thread_counts();
  every_task_once();
  many_small_regions();
  scratch_is_private();
  exceptions_reach_the_caller();
  nested_and_concurrent_regions();
  one_denormal_mode();
  idle_threads_sleep();
  queue_keeps_order();
  queue_is_fair();
  queue_cancels();
  queue_shuts_down();
  return check::result();
}
