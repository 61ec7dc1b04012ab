#include "run/queue.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "error.h"

namespace thaw {
namespace {

constexpr int kLanes = 2;

using JobPointer = std::shared_ptr<Job>;

// Ends a job that never began, and lets go of what it captured.
void drop(const JobPointer& job) {
  job->cancelled = true;
  if (job->done) job->done(false);
  job->run = nullptr;
  job->done = nullptr;
}

}  // namespace

void JobContext::check() const {
  if (stopped()) fail("ERR_ABORTED", "the operation was aborted");
}

struct Queue::State {
  // Jobs of one owner that wait. An owner is listed in the lane of its first job, unless one of its jobs runs.
  struct Owner {
    std::deque<JobPointer> waiting;
    bool listed = false;
    JobPointer running;
  };

  std::mutex mutex;
  std::condition_variable work[kLanes], ended;
  std::unordered_map<uint64_t, Owner> owners;
  std::deque<uint64_t> turns[kLanes];
  int started = 0;  // lanes that have their thread
  bool stopping = false;
  std::atomic<uint64_t> last_owner{0};

  void list(uint64_t id, Owner& owner) {
    if (owner.listed || owner.running || owner.waiting.empty()) return;
    const int lane = static_cast<int>(owner.waiting.front()->lane);
    owner.listed = true;
    turns[lane].push_back(id);
    work[lane].notify_one();
  }

  void start() {
    for (; started < kLanes; ++started) std::thread([this, lane = started] { serve(lane); }).detach();
  }

  // Takes the next job of this lane; null when the owner whose turn it is has none for it (it was cancelled).
  JobPointer take(int lane) {
    const uint64_t id = turns[lane].front();
    turns[lane].pop_front();
    const auto found = owners.find(id);
    if (found == owners.end()) return nullptr;
    Owner& owner = found->second;
    owner.listed = false;
    if (owner.waiting.empty() || static_cast<int>(owner.waiting.front()->lane) != lane) {
      settle(id);
      return nullptr;
    }
    owner.running = std::move(owner.waiting.front());
    owner.waiting.pop_front();
    return owner.running;
  }

  // After a change to an owner: gives it its next turn, or forgets it.
  void settle(uint64_t id) {
    const auto found = owners.find(id);
    if (found == owners.end()) return;
    Owner& owner = found->second;
    list(id, owner);
    if (owner.waiting.empty() && !owner.running && !owner.listed) owners.erase(found);
  }

  void serve(int lane) {
    std::unique_lock lock(mutex);
    while (true) {
      work[lane].wait(lock, [&] { return !turns[lane].empty() && !stopping; });
      const JobPointer job = take(lane);
      if (!job) continue;
      lock.unlock();
      const bool begin = !job->cancelled;
      if (begin) job->run(job->cancelled);
      job->run = nullptr;
      if (job->done) job->done(begin);
      job->done = nullptr;
      lock.lock();
      owners[job->owner].running = nullptr;
      settle(job->owner);
      ended.notify_all();
    }
  }

  // Takes an owner's waiting jobs out and marks all of its jobs.
  std::vector<JobPointer> clear(Owner& owner) {
    if (owner.running) owner.running->cancelled = true;
    std::vector<JobPointer> out(owner.waiting.begin(), owner.waiting.end());
    owner.waiting.clear();
    return out;
  }
};

Queue::Queue() : state_(new State) {}

Queue& Queue::shared() {
  static Queue* queue = new Queue;  // never destroyed: a lane may run while the process exits
  return *queue;
}

uint64_t Queue::owner() { return state_->last_owner.fetch_add(1) + 1; }

void Queue::submit(std::shared_ptr<Job> job) {
  {
    std::unique_lock lock(state_->mutex);
    if (!state_->stopping) {
      state_->start();
      State::Owner& owner = state_->owners[job->owner];
      owner.waiting.push_back(job);
      state_->list(job->owner, owner);
      return;
    }
  }
  drop(job);
}

void Queue::discard(std::shared_ptr<void> memory) {
  auto job = std::make_shared<Job>();
  job->owner = owner();
  job->lane = Lane::io;
  job->run = [memory = std::move(memory)](const std::atomic<bool>&) {};
  submit(std::move(job));
}

void Queue::cancel(const std::shared_ptr<Job>& job) {
  job->cancelled = true;
  {
    std::lock_guard lock(state_->mutex);
    const auto owner = state_->owners.find(job->owner);
    if (owner == state_->owners.end()) return;
    auto& waiting = owner->second.waiting;
    const auto found = std::find(waiting.begin(), waiting.end(), job);
    if (found == waiting.end()) return;
    waiting.erase(found);
  }
  drop(job);
}

void Queue::cancel_all(uint64_t id, bool wait) {
  std::vector<JobPointer> dropped;
  {
    std::lock_guard lock(state_->mutex);
    const auto owner = state_->owners.find(id);
    if (owner == state_->owners.end()) return;
    dropped = state_->clear(owner->second);
  }
  for (const JobPointer& job : dropped) drop(job);
  if (!wait) return;
  std::unique_lock lock(state_->mutex);
  state_->ended.wait(lock, [&] {
    const auto owner = state_->owners.find(id);
    return owner == state_->owners.end() || !owner->second.running;
  });
}

void Queue::shut_down(int milliseconds) {
  std::vector<JobPointer> dropped;
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  for (auto& [id, owner] : state_->owners) {
    for (JobPointer& job : state_->clear(owner)) dropped.push_back(std::move(job));
  }
  lock.unlock();
  for (const JobPointer& job : dropped) drop(job);
  lock.lock();
  state_->ended.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] {
    return std::none_of(state_->owners.begin(), state_->owners.end(), [](const auto& o) { return o.second.running; });
  });
}

}  // namespace thaw
