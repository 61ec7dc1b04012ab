// Part of the stand-in for CUDA: protection keys, whose rights are a register of each thread.
#include "guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "shadow.h"

namespace standin {

namespace {

int key = -1;
thread_local bool open_here __attribute__((tls_model("initial-exec"))) = false;
struct sigaction before;

void explain(int, siginfo_t* info, void*) {
  if (reinterpret_cast<uintptr_t>(info->si_addr) - arena_begin < kArenaBytes) {
    static const char kSentence[] = "stand-in for CUDA: the host touched memory of the device\n";
    [[maybe_unused]] const auto written = write(2, kSentence, sizeof kSentence - 1);
  }
  sigaction(SIGSEGV, &before, nullptr);  // and the access, tried again, meets whoever was to handle it
}

}  // namespace

void guard_memory(void* begin, size_t bytes) {
#ifdef __x86_64__
  key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
  if (key < 0) return;
  if (pkey_mprotect(begin, bytes, PROT_READ | PROT_WRITE, key) != 0) {
    pkey_free(key);
    key = -1;
    return;
  }
  struct sigaction action {};
  action.sa_sigaction = explain;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &before);
#else
  (void)begin, (void)bytes;
#endif
}

Opened::Opened() : was_open_(open_here) {
#ifdef __x86_64__
  if (key >= 0 && !was_open_) pkey_set(key, 0);
#endif
  open_here = true;
}

Opened::~Opened() {
  open_here = was_open_;
#ifdef __x86_64__
  if (key >= 0 && !was_open_) pkey_set(key, PKEY_DISABLE_ACCESS);
#endif
}

}  // namespace standin
