#pragma once
// Part of the stand-in for CUDA: threads of a block, which take turns on one thread of the host.
#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace standin {

#if defined(__x86_64__)
using Context = void*;  // its stack pointer; what else counts lies on the stack
#else
using Context = ucontext_t;
#endif

/// Makes `context` one that starts with `entry`, which never returns, on that stack.
void prepare(Context& context, void* stack, size_t bytes, void (*entry)());
/// Leaves `from` for `to`.
void switch_to(Context& from, Context& to);

/// A stack of kStackBytes with an unmapped page below, taken from a pool of the calling thread.
void* take_stack();
void give_stack(void* stack);

}  // namespace standin
