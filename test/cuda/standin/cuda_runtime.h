#pragma once
// A stand-in for CUDA on the host, x86-64 and aarch64 Linux: the kernels' own sources (.cu), compiled as C++ with this
// folder first among the include paths, run on the processor, and every access of theirs is checked. The checks hang on
// the calls that -fsanitize=thread (and =alignment) has the compiler put before loads and stores; the stand-in brings its
// own functions for them, so that no sanitizer's library is linked.
//
// What it finds: shared memory touched by two threads between two barriers, one of them writing (with __syncwarp as an
// order inside a warp); device memory touched by two blocks of a launch, or by two threads of a block without a barrier,
// one of them writing; accesses outside of allocations, or after their end; reads of what nobody has written; misaligned
// accesses; barriers that not all threads reach and exchanges that not all lanes reach, which it reports instead of
// hanging; asynchronous copies that are used before somebody waited for them; work on a stream that another stream
// should have waited for, since work runs as late as CUDA allows; launches beyond the hardware's limits.
//
// What it does not: it has no time, no memory model beyond barriers (no fences, no atomics), one block at a time and one
// thread at a time. Registers are without number. Calls of memcpy and memset in kernels are not seen. Mathematical
// functions are the host's, and tensor cores sum in f32 in ascending order of k, which a GPU may do otherwise.
//
// standin.h is what tests see of it.
#include "threads.h"
