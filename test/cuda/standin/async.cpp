// Part of the stand-in for CUDA: who wrote to shared memory last, and who has fenced it, for the asynchronous proxy
// (PTX ISA, "Proxies", "fence.proxy.async"); mbarriers and bulk copies ("mbarrier", "cp.async.bulk"). A bulk copy arrives
// when somebody waits for it. Who reads what it brought without having waited himself has to meet, behind a barrier of the
// block, somebody who has.
#include "async.h"

#include <cstring>

#include "block.h"
#include "report.h"

namespace standin {

namespace {

struct Mark {
  uint64_t serial;
  uint32_t fences;  // of the writer, before it wrote
  uint16_t thread;
  bool by_thread;
};
Mark marks[kSharedSlot / 4];
uint64_t serial = 0;

void demand_copy(uintptr_t to, uintptr_t from, size_t bytes, Where where) {
  const char* wrong = nullptr;
  if (to - arena_begin >= kSharedSlot) wrong = "bulk copy: the goal is not in shared memory";
  else if (to % 16 != 0 || from % 16 != 0 || bytes % 16 != 0 || bytes == 0)
    wrong = "bulk copy: addresses and size must be multiples of 16";
  if (wrong == nullptr) return;
  report(wrong, where);
  end_block();
}

PhaseBarrier& barrier_at(const void* p, Where where) {
  auto& all = block->async.barriers;
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  check_access(address, 8, false, __builtin_return_address(0));
  const auto at = all.find(address);
  if (at == all.end()) {
    report("mbarrier: it was not initialised", where);
    end_block();
  }
  return at->second;
}

/// Is nothing missing but the bytes of copies under way?
bool completable(const PhaseBarrier& b) {
  uint64_t bytes = 0;
  for (const BulkCopy& c : b.copies) bytes += c.bytes;
  return b.missing == 0 && bytes == b.bytes;
}

void complete(PhaseBarrier& b) {
  for (const BulkCopy& c : b.copies) {
    std::memcpy(reinterpret_cast<void*>(c.to), reinterpret_cast<const void*>(c.from), c.bytes);
    arrive_copy(c.to, c.bytes, c.place);
    note_write(c.to, c.bytes, false);
  }
  b.copies.clear();
  b.bytes = 0;
  b.missing = b.count;
  ++b.phase;
}

}  // namespace

void begin_async(Block& b) {
  for (Warpgroup& g : b.async.groups) g.products.clear(), g.dropped = 0;
  b.async.barriers.clear();
  b.async.first_serial = ++serial;
  for (unsigned i = 0; i < b.threads; ++i) {
    AsyncThread& t = b.all[i].async;
    t.fences = t.fences_at_barrier = 0;
    t.registers_fenced = false;
    t.issued = 0;
    t.group = 0;
    t.pending.clear();
    t.sums.clear();
  }
}

void note_write(uintptr_t address, size_t bytes, bool by_thread) {
  const Thread& t = *block->current;
  const Mark mark{++serial, t.async.fences, static_cast<uint16_t>(t.number), by_thread};
  const size_t begin = address - arena_begin;
  for (size_t word = begin / 4; word * 4 < begin + bytes && word < kSharedSlot / 4; ++word) marks[word] = mark;
}

uint64_t last_write() { return serial; }

uint64_t last_write_to(uintptr_t address, size_t bytes) {
  uint64_t last = 0;
  for (size_t word = (address - arena_begin) / 4; word * 4 < address - arena_begin + bytes; ++word)
    if (marks[word].serial > last) last = marks[word].serial;
  return last;
}

void demand_published(uintptr_t address, size_t bytes, const char* what, Where where) {
  const Thread& me = *block->current;
  for (size_t word = (address - arena_begin) / 4; word * 4 < address - arena_begin + bytes; ++word) {
    const Mark& m = marks[word];
    if (m.serial < block->async.first_serial || !m.by_thread) continue;
    const AsyncThread& writer = block->all[m.thread].async;
    if ((m.thread == me.number ? writer.fences : writer.fences_at_barrier) > m.fences) continue;
    report(std::string(what) + ": thread " + std::to_string(m.thread) + " wrote bytes " + std::to_string(word * 4) +
               " and following of shared memory without a fence of the asynchronous proxy behind it",
           where);
    return;
  }
}

void fence_async() { ++block->current->async.fences; }

void init_barrier(void* barrier, uint32_t count, Where where) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(barrier);
  if (address - arena_begin >= kSharedSlot || address % 8 != 0) {
    report("mbarrier: expected eight aligned bytes of shared memory", where);
    end_block();
  }
  check_access(address, 8, true, __builtin_return_address(0));
  block->async.barriers[address] = {count, count, 0, 0, {}};
}

void expect_bytes(void* barrier, uint32_t bytes, Where where) {
  PhaseBarrier& b = barrier_at(barrier, where);
  if (b.missing == 0) {
    report("mbarrier: more arrivals than its phase has", where);
    end_block();
  }
  --b.missing;
  b.bytes += bytes;
}

void copy_bulk(void* to, const void* from, uint32_t bytes, void* barrier, Where where) {
  const uintptr_t target = reinterpret_cast<uintptr_t>(to), source = reinterpret_cast<uintptr_t>(from);
  const void* place = __builtin_return_address(0);
  demand_copy(target, source, bytes, where);
  PhaseBarrier& b = barrier_at(barrier, where);
  demand_published(reinterpret_cast<uintptr_t>(barrier), 8, "bulk copy", where);
  for (size_t i = 0; i < bytes; i += 16) {
    check_access(source + i, 16, false, place);
    demand_published(target + i, 16, "bulk copy", where);
    check_access(target + i, 16, true, place);
  }
  begin_copy(target, bytes);
  b.copies.push_back({target, source, bytes, place});
}

void wait_phase(void* barrier, unsigned parity, Where where) {
  PhaseBarrier& b = barrier_at(barrier, where);
  Thread& t = *block->current;
  t.async.phase_barrier = reinterpret_cast<uintptr_t>(barrier);
  t.async.parity = parity;
  while (b.phase % 2 == parity) {
    if (completable(b)) complete(b);
    else wait_for(Wait::phase, where);
  }
}

bool phase_may_end(const Block& b, const Thread& t) {
  const PhaseBarrier& barrier = b.async.barriers.at(t.async.phase_barrier);
  return barrier.phase % 2 != t.async.parity || completable(barrier);
}

bool barrier_async(Block& b) {
  for (unsigned i = 0; i < b.threads; ++i) {
    AsyncThread& t = b.all[i].async;
    t.fences_at_barrier = t.fences;
    if (b.all[i].wait != Wait::done && t.issued != b.all[i / 128 * 128].async.issued) {
      report("wgmma: thread " + std::to_string(i) + " has issued " + std::to_string(t.issued) + " products, thread " +
                 std::to_string(i / 128 * 128) + " of its warpgroup " + std::to_string(b.all[i / 128 * 128].async.issued),
             b.all[i].where);
      return false;
    }
  }
  return true;
}

}  // namespace standin
