// Part of the stand-in for CUDA: the functions that -fsanitize=thread and -fsanitize=alignment call.
#include <cstdint>

#include "report.h"
#include "shadow.h"

namespace {

using standin::running;

/// Most accesses outside of kernels, or to a thread's own variables, end here.
inline __attribute__((always_inline)) void access(const volatile void* p, size_t bytes, bool write, const void* caller) {
  const standin::Running* const r = running;
  if (r == nullptr) return;
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  if (address - r->stack < standin::kStackBytes) return;
  standin::check_access(address, bytes, write, static_cast<const char*>(caller) - 1);
}

struct Place {
  const char* file;
  uint32_t line, column;
};
struct TypeName {
  uint16_t kind, info;
  char name[1];
};
struct Mismatch {
  Place place;
  const TypeName* type;
  uint8_t log_alignment, kind;
};

}  // namespace

#define READ(name, bytes) \
  void __tsan_##name(const void* p) { access(p, bytes, false, __builtin_return_address(0)); }
#define WRITE(name, bytes) \
  void __tsan_##name(void* p) { access(p, bytes, true, __builtin_return_address(0)); }
#define LOAD(bits)                                                          \
  uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t* p, int) { \
    access(p, bits / 8, false, __builtin_return_address(0));                \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                            \
  }
#define STORE(bits)                                                         \
  void __tsan_atomic##bits##_store(volatile uint##bits##_t* p, uint##bits##_t x, int) { \
    access(p, bits / 8, true, __builtin_return_address(0));                 \
    __atomic_store_n(p, x, __ATOMIC_SEQ_CST);                               \
  }
#define CHANGE(bits, name, does)                                            \
  uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t* p, uint##bits##_t x, int) { \
    access(p, bits / 8, true, __builtin_return_address(0));                 \
    return __atomic_##does(p, x, __ATOMIC_SEQ_CST);                         \
  }
#define COMPARE(bits)                                                       \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile uint##bits##_t* p, uint##bits##_t* was, uint##bits##_t x, int, int) { \
    access(p, bits / 8, true, __builtin_return_address(0));                 \
    return __atomic_compare_exchange_n(p, was, x, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                         \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile uint##bits##_t* p, uint##bits##_t* was, uint##bits##_t x, int, int) { \
    return __tsan_atomic##bits##_compare_exchange_strong(p, was, x, 0, 0);  \
  }
#define ATOMICS(bits) \
  LOAD(bits) STORE(bits) COMPARE(bits) CHANGE(bits, fetch_add, fetch_add) CHANGE(bits, fetch_sub, fetch_sub) \
  CHANGE(bits, fetch_or, fetch_or) CHANGE(bits, fetch_and, fetch_and) CHANGE(bits, exchange, exchange_n)

extern "C" {

#pragma GCC visibility push(hidden)
void __tsan_init() {}
void __tsan_func_entry(const void*) {}
void __tsan_func_exit() {}
READ(read1, 1) READ(read2, 2) READ(read4, 4) READ(read8, 8) READ(read16, 16)
WRITE(write1, 1) WRITE(write2, 2) WRITE(write4, 4) WRITE(write8, 8) WRITE(write16, 16)
READ(unaligned_read2, 2) READ(unaligned_read4, 4) READ(unaligned_read8, 8) READ(unaligned_read16, 16)
WRITE(unaligned_write2, 2) WRITE(unaligned_write4, 4) WRITE(unaligned_write8, 8) WRITE(unaligned_write16, 16)
void __tsan_read_range(const void* p, size_t bytes) { access(p, bytes, false, __builtin_return_address(0)); }
void __tsan_write_range(void* p, size_t bytes) { access(p, bytes, true, __builtin_return_address(0)); }
void __tsan_vptr_update(void** p, void*) { access(p, 8, true, __builtin_return_address(0)); }
void __tsan_vptr_read(void** p) { access(p, 8, false, __builtin_return_address(0)); }
// Those of the host's code; kernels have no use for them.
ATOMICS(8) ATOMICS(16) ATOMICS(32) ATOMICS(64)
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

void __ubsan_handle_type_mismatch_v1(const Mismatch* what, uintptr_t address) {
  if (running == nullptr) return;
  standin::report_misaligned(address, size_t{1} << what->log_alignment, what->type->name, what->place.file, what->place.line);
}
#pragma GCC visibility pop

}  // extern "C"
