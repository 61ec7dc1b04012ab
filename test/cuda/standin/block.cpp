// Part of the stand-in for CUDA: runs the threads of a block in turns. A warp runs until each of its threads waits for
// the block's barrier or is done, then the next; the order of warps and lanes is another after every barrier.
#include "block.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "guard.h"
#include "memory.h"
#include "report.h"

namespace standin {

thread_local Block* block = nullptr;

namespace {

uint32_t stamp = 0;
constexpr uint32_t kLastStamp = 0xf0000000u;  // with which a launch may begin

/// The i-th of 32 in an order that follows from `seed`.
unsigned shuffled(unsigned i, uint32_t seed) {
  const uint32_t mixed = seed * 2654435761u;
  return (i * (mixed >> 8 | 1u) + (mixed >> 27)) & 31u;
}

bool same(const Where& a, const Where& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

void entry() {
  Block& b = *block;
  b.launch->call.run(b.launch->call.parameters);
  end_async(*b.current);
  b.current->wait = Wait::done;
  running = nullptr;
  Context nowhere;
  switch_to(nowhere, b.scheduler);
}

void resume(Block& b, Thread& t) {
  if (t.stack == nullptr) {
    t.stack = take_stack();
    // Stacks begin at different lines of their pages, or they would drive each other out of the caches.
    prepare(t.context, t.stack, kStackBytes - t.number * 320 % 4096, entry);
  }
  b.current = &t;
  b.running.stack = reinterpret_cast<uintptr_t>(t.stack);
  b.running.me = static_cast<uint64_t>(b.warp_stamps[t.number / 32]) << kStampBits | static_cast<uint64_t>(t.number) << kThreadShift;
  running = &b.running;
  switch_to(b.scheduler, t.context);
  if (t.wait == Wait::done) {
    give_stack(t.stack);
    t.stack = nullptr;
  }
}

std::string describe(const Thread& t) {
  const std::string who = "thread " + std::to_string(t.number);
  switch (t.wait) {
    case Wait::done: return who + " has returned";
    case Wait::barrier: return who + " waits for the block at " + name_place(t.where);
    case Wait::exchange: return who + " is at " + kind_name(t.kind) + " at " + name_place(t.where);
    case Wait::phase: return who + " waits for an mbarrier at " + name_place(t.where);
    case Wait::nothing: break;
  }
  return who + " runs";
}

/// The lanes of a warp that an exchange of thread t still needs. Those that have returned are none of it, but for
/// instructions that take a whole warp.
unsigned missing(const Thread* warp, unsigned lanes, const Thread& t) {
  const bool whole = t.kind == Kind::mma || t.kind == Kind::matrices || t.kind == Kind::warpgroup;
  unsigned result = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((t.mask >> lane & 1) == 0) continue;
    const bool gone = lane >= lanes || warp[lane].wait == Wait::done;
    const bool here = !gone && warp[lane].wait == Wait::exchange && warp[lane].kind == t.kind && warp[lane].mask == t.mask &&
                      (t.kind == Kind::sync || same(warp[lane].where, t.where));
    if (!here && !(gone && !whole)) result |= 1u << lane;
  }
  return result;
}

void report_missing(const Thread* warp, unsigned lanes, const Thread& t, unsigned absent) {
  const unsigned lane = static_cast<unsigned>(__builtin_ctz(absent));
  report(std::string(kind_name(t.kind)) + ": " + std::to_string(__builtin_popcount(absent)) +
             " lanes of its mask do not arrive: thread " + std::to_string(t.number) + " waits, " +
             (lane < lanes ? describe(warp[lane]) : "lane " + std::to_string(lane) + " does not exist"),
         t.where);
}

/// Carries out the exchanges of a warp that are complete. False: there is none, or one never will be, which is reported; some
/// may be once others need no longer wait for an mbarrier.
bool exchange_all(Block& b, unsigned w) {
  Thread* warp = &b.all[w * 32];
  const unsigned lanes = std::min(32u, b.threads - w * 32);
  bool any = false;
  bool later = false;
  const Thread* stuck = nullptr;
  for (unsigned i = 0; i < lanes; ++i) {
    later = later || warp[i].wait == Wait::phase;
    if (warp[i].wait != Wait::exchange) continue;
    if (missing(warp, lanes, warp[i]) != 0) {
      stuck = &warp[i];
      continue;
    }
    const unsigned mask = warp[i].mask;
    unsigned alive = 0;
    for (unsigned lane = 0; lane < lanes; ++lane) alive |= (warp[lane].wait != Wait::done ? 1u : 0u) << lane;
    if (warp[i].kind == Kind::sync && (mask & alive) == alive) b.warp_stamps[w] = next_stamp();
    perform(warp[i].kind, mask & alive, warp);
    for (unsigned lane = 0; lane < lanes; ++lane) {
      if (((mask & alive) >> lane & 1) != 0) warp[lane].wait = Wait::nothing;
    }
    if (b.ended) return false;
    any = true;
  }
  if (!any && !later && stuck != nullptr) report_missing(warp, lanes, *stuck, missing(warp, lanes, *stuck));
  return any;
}

Thread* warp_of(Block& b, unsigned w) { return &b.all[w * 32]; }

/// Until every thread of the warp waits for the block, for an mbarrier or for such threads, or is done.
bool run_warp(Block& b, unsigned w) {
  const unsigned lanes = std::min(32u, b.threads - w * 32);
  for (uint32_t turn = b.warp_stamps[w];; ++turn) {
    bool exchanging = false;
    for (unsigned i = 0; i < 32; ++i) {
      const unsigned lane = shuffled(i, turn);
      if (lane >= lanes) continue;
      Thread& t = b.all[w * 32 + lane];
      if (t.wait == Wait::nothing) resume(b, t);
      if (b.ended) return false;
      exchanging = exchanging || t.wait == Wait::exchange;
    }
    if (!exchanging) return true;
    if (exchange_all(b, w)) continue;
    return !b.ended && std::any_of(warp_of(b, w), warp_of(b, w) + lanes, [](const Thread& t) { return t.wait == Wait::phase; });
  }
}

/// Lets the threads go on that need no longer wait for an mbarrier: 1 if there are any, 0 if nobody waits for one, -1 if all
/// who do wait forever.
int end_phases(Block& b) {
  const Thread* stuck = nullptr;
  bool any = false;
  for (unsigned i = 0; i < b.threads; ++i) {
    Thread& t = b.all[i];
    if (t.wait != Wait::phase) continue;
    if (phase_may_end(b, t)) {
      t.wait = Wait::nothing;
      any = true;
    } else {
      stuck = &t;
    }
  }
  if (!any && stuck != nullptr) report("mbarrier: its phase never ends: " + describe(*stuck), stuck->where);
  return any ? 1 : stuck != nullptr ? -1 : 0;
}

/// All threads wait for the block's barrier or are done: 0 when all are done, -1 when they wait at different ones.
int barrier(Block& b) {
  const Thread* first = nullptr;
  for (unsigned i = 0; i < b.threads; ++i) {
    Thread& t = b.all[i];
    if (t.wait != Wait::barrier) continue;
    if (first == nullptr) first = &t;
    if (!same(first->where, t.where)) {
      report("divergent __syncthreads: " + describe(*first) + ", " + describe(t), t.where);
      return -1;
    }
    t.wait = Wait::nothing;
  }
  if (!barrier_async(b)) return -1;
  return first != nullptr ? 1 : 0;
}

void next_phase(Block& b) {
  const uint32_t now = next_stamp();
  std::fill(std::begin(b.warp_stamps), std::end(b.warp_stamps), now);
  b.running.phase_floor = static_cast<uint64_t>(now) << kStampBits;
}

void begin(Block& b, uint64_t number) {
  const dim3 grid = b.launch->grid, size = b.launch->threads;
  b.index = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
             static_cast<unsigned>(number / grid.x / grid.y)};
  next_phase(b);
  b.running.block_floor = b.running.phase_floor;
  for (unsigned i = 0; i < b.threads; ++i) {
    Thread& t = b.all[i];
    t.index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
    t.number = i;
    t.wait = Wait::nothing;
    t.copies.clear();
    t.group = 0;
  }
  begin_async(b);
  const size_t shared = b.launch->shared;
  arena.gone(0, kSharedSlot);
  arena.exists(0, shared);
  std::memset(standin::shared_memory(), 0xff, shared);
}

/// False: ended by a violation; its threads are forgotten where they stand.
bool run_block(Block& b, uint64_t number) {
  begin(b, number);
  const unsigned warps = (b.threads + 31) / 32;
  bool fine = true;
  for (int left = 1; fine && left == 1;) {
    const uint32_t order = static_cast<uint32_t>(b.running.phase_floor >> kStampBits) + 77;
    for (int again = 1; fine && again == 1;) {
      for (unsigned i = 0; fine && i < 32; ++i) {
        const unsigned w = shuffled(i, order);
        if (w < warps) fine = run_warp(b, w);
      }
      if (fine) again = end_phases(b);
      fine = fine && again >= 0;
    }
    if (!fine) break;
    left = barrier(b);
    fine = left >= 0;
    if (left == 1) next_phase(b);
  }
  for (unsigned i = 0; i < b.threads; ++i) {
    if (b.all[i].stack != nullptr) give_stack(b.all[i].stack);
    b.all[i].stack = nullptr;
  }
  return fine;
}

}  // namespace

uint32_t next_stamp() { return ++stamp; }

void wait_for(Wait what, Where where) {
  Block& b = *block;
  Thread& t = *b.current;
  t.wait = what;
  t.where = where;
  running = nullptr;
  switch_to(t.context, b.scheduler);
}

void end_block() {
  Block& b = *block;
  b.ended = true;
  running = nullptr;
  switch_to(b.current->context, b.scheduler);
}

cudaError_t run(const Launch& launch) {
  static thread_local Block b;
  const uint64_t before = violation_count();
  const Opened opened;
  if (stamp >= kLastStamp) {
    forget_records();
    stamp = 0;
  }
  b.launch = &launch;
  b.threads = launch.threads.x * launch.threads.y * launch.threads.z;
  b.ended = false;
  if (b.all.size() < 1024) b.all.resize(1024);
  b.running.launch_floor = static_cast<uint64_t>(next_stamp()) << kStampBits;
  b.running.parameters = reinterpret_cast<uintptr_t>(launch.call.parameters);
  b.running.parameter_bytes = launch.call.bytes;
  block = &b;
  const uint64_t blocks = static_cast<uint64_t>(launch.grid.x) * launch.grid.y * launch.grid.z;
  // Every block once, in an order of its own for each launch: a step that shares no divisor with their number.
  uint64_t step = (launch.number * 7919 + 12347) % blocks + 1;
  while (std::gcd(step, blocks) != 1) ++step;
  uint64_t at = launch.number * 104729 % blocks;
  for (uint64_t i = 0; i < blocks; ++i, at = (at + step) % blocks) {
    if (!run_block(b, at)) break;
  }
  block = nullptr;
  return violation_count() == before ? cudaSuccess : cudaErrorAssert;
}

uint3 thread_index() { return block->current->index; }
uint3 block_index() { return block->index; }
dim3 block_size() { return block->launch->threads; }
dim3 grid_size() { return block->launch->grid; }
void* shared_memory() { return reinterpret_cast<void*>(arena_begin); }

}  // namespace standin

void __syncthreads(standin::Where where) { standin::wait_for(standin::Wait::barrier, where); }
