#pragma once
// Part of the stand-in for CUDA: what Hopper's tensor cores and copy engine do with shared memory (wgmma, bulk copies). They
// are another proxy: what a thread has written itself they see behind its fence only.
#include <cstdint>
#include <map>
#include <vector>

#include "threads.h"

namespace standin {

struct Block;
struct Thread;

/// Shared memory's addresses begin here: blocks on sm_90 keep the first KiB for the system.
constexpr uint32_t kSharedWindow = 1024;

/// A product of a warpgroup on its way: operands as they were when its first warp issued it.
struct Wgmma {
  uint64_t a, b;
  int n;
  bool transposed_a, transposed_b;
  uint64_t serial;                // of the last write to shared memory before
  std::vector<uintptr_t> units;   // sixteen bytes each: what it reads
  std::vector<float> rows, columns;  // a [64][16], b [n][16]
  int finished;                   // threads
};

/// Products of a warpgroup in order of their issue; those behind it have been dropped.
struct Warpgroup {
  std::vector<Wgmma> products;
  uint64_t dropped;
};

/// A thread's sums of a product: until it is done its registers hold nothing.
struct PendingSums {
  uint64_t product;
  float* registers;
  int group;
  Where where;
};

/// A thread's part in all this.
struct AsyncThread {
  uint32_t fences, fences_at_barrier;  // of the proxy
  bool registers_fenced;
  uint64_t issued;  // products
  int group;
  std::vector<PendingSums> pending;
  std::map<float*, std::vector<float>> sums;  // of the registers in `pending`
  uintptr_t phase_barrier;                    // it waits for
  unsigned parity;
};

struct BulkCopy {
  uintptr_t to, from;
  size_t bytes;
  const void* place;
};

/// An mbarrier.
struct PhaseBarrier {
  uint32_t count, missing;  // arrivals of a phase
  uint64_t bytes;           // expected in this phase
  uint64_t phase;
  std::vector<BulkCopy> copies;
};

struct AsyncBlock {
  Warpgroup groups[8];
  std::map<uintptr_t, PhaseBarrier> barriers;
  uint64_t first_serial;
};

void begin_async(Block& b);
/// The block's barrier: fences before it count for everybody; warps of a group must have issued the same products.
bool barrier_async(Block& b);
/// A thread returns.
void end_async(Thread& t);
/// Need the thread wait no longer for its mbarrier?
bool phase_may_end(const Block& b, const Thread& t);

/// A write to shared memory, by the running thread or by the copy engine for it.
void note_write(uintptr_t address, size_t bytes, bool by_thread);
/// Reports bytes that a thread wrote and that the asynchronous proxy need not see.
void demand_published(uintptr_t address, size_t bytes, const char* what, Where where);
uint64_t last_write();
uint64_t last_write_to(uintptr_t address, size_t bytes);

}  // namespace standin
