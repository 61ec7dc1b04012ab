// Part of the stand-in for CUDA: switches between stacks.
#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <vector>

#include "shadow.h"

#if defined(__x86_64__)
extern "C" void thaw_standin_switch(void** from, void* to) __attribute__((visibility("hidden")));
// What a called function has to keep: six registers and the stack pointer.
__asm__(
    ".text\n"
    ".hidden thaw_standin_switch\n"
    ".globl thaw_standin_switch\n"
    ".type thaw_standin_switch,@function\n"
    "thaw_standin_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  popq %rcx\n  jmpq *%rcx\n"  // a return would go where no call came from, which processors predict wrongly
    ".size thaw_standin_switch,.-thaw_standin_switch\n");
#endif

namespace standin {

#if defined(__x86_64__)

void prepare(Context& context, void* stack, size_t bytes, void (*entry)()) {
  // From the top: nowhere to return to, the entry, which the switch jumps to, and six registers.
  void** top = reinterpret_cast<void**>(static_cast<char*>(stack) + bytes);
  top[-1] = nullptr;
  top[-2] = reinterpret_cast<void*>(entry);
  for (int i = 3; i <= 8; ++i) top[-i] = nullptr;
  context = top - 8;
}

void switch_to(Context& from, Context& to) { thaw_standin_switch(&from, to); }

#else

void prepare(Context& context, void* stack, size_t bytes, void (*entry)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = bytes;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}

void switch_to(Context& from, Context& to) { swapcontext(&from, &to); }

#endif

namespace {

struct Stacks {
  std::vector<void*> unused;
  std::vector<void*> mapped;
  ~Stacks() {
    for (void* p : mapped) munmap(p, kGuard + kStackBytes);
  }
  static constexpr size_t kGuard = 4096;
};
thread_local Stacks stacks;

}  // namespace

void* take_stack() {
  if (stacks.unused.empty()) {
    void* p = mmap(nullptr, Stacks::kGuard + kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    mprotect(p, Stacks::kGuard, PROT_NONE);
    stacks.mapped.push_back(p);
    stacks.unused.push_back(static_cast<char*>(p) + Stacks::kGuard);
  }
  void* stack = stacks.unused.back();
  stacks.unused.pop_back();
  return stack;
}

void give_stack(void* stack) { stacks.unused.push_back(stack); }

}  // namespace standin
