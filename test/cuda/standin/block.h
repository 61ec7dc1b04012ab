#pragma once
// Part of the stand-in for CUDA: a block and its threads.
#include <cstdint>
#include <vector>

#include "async.h"
#include "fiber.h"
#include "shadow.h"
#include "threads.h"

namespace standin {

enum class Wait : uint8_t { nothing, barrier, exchange, phase, done };
enum class Kind : uint8_t { sync, shuffle, ballot, mma, matrices, warpgroup };
const char* kind_name(Kind kind);

/// Sixteen bytes on their way to shared memory, or zeros.
struct Copy {
  uintptr_t to, from;
  bool zeros;
  int group;
  const void* place;
};

struct Thread {
  Context context;
  void* stack;  // null before it starts and after its end
  uint3 index;
  unsigned number;
  Wait wait;
  Where where;  // it waits
  // Of an exchange with the warp: which lanes take part, and what this one brings and gets, by kind.
  Kind kind;
  unsigned mask;
  void* data;
  std::vector<Copy> copies;  // in the order of their issue
  int group;                 // of asynchronous copies
  AsyncThread async;
};

/// One launch, whose blocks run one after the other.
struct Launch {
  dim3 grid, threads;
  size_t shared;
  Call call;
  uint64_t number;
};

struct Block {
  const Launch* launch;
  uint3 index;
  Context scheduler;
  Thread* current;
  unsigned threads;
  bool ended;                 // by a violation
  uint32_t warp_stamps[32];
  Running running;
  std::vector<Thread> all;
  AsyncBlock async;
};

/// The block that runs on this thread of the host; null outside of kernels.
extern thread_local Block* block __attribute__((tls_model("initial-exec"), visibility("hidden")));

/// Runs all of it. Any error is that of a violation.
cudaError_t run(const Launch& launch);
/// The running thread leaves its turn until what it waits for has come.
void wait_for(Wait what, Where where);
/// The running thread takes part in an exchange of its warp.
void exchange(Kind kind, unsigned mask, void* data, Where where);
/// Carries out what the lanes of `mask` brought; `warp` are its 32 threads.
void perform(Kind kind, unsigned mask, Thread* warp);
/// Of instructions for a warpgroup: a warp's lanes must have brought the same.
void compare_all(Thread* warp);
/// After a violation that leaves no way on: ends the block. Does not return to a kernel's thread.
void end_block();
uint32_t next_stamp();

}  // namespace standin
