#include "kernels/isa.h"

#include <cstdlib>
#include <cstring>

#ifdef THAW_X86
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

#if defined(THAW_HAS_AMX) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace thaw {
namespace {

#ifdef THAW_X86

struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(uint32_t leaf, uint32_t part = 0) {
  Registers r;
#ifdef _MSC_VER
  int out[4];
  __cpuid(out, 0);
  if (static_cast<uint32_t>(out[0]) < leaf) return r;
  __cpuidex(out, static_cast<int>(leaf), static_cast<int>(part));
  r = {static_cast<uint32_t>(out[0]), static_cast<uint32_t>(out[1]), static_cast<uint32_t>(out[2]),
       static_cast<uint32_t>(out[3])};
#else
  if (__get_cpuid_max(0, nullptr) >= leaf) __cpuid_count(leaf, part, r.a, r.b, r.c, r.d);
#endif
  return r;
}

// Which registers the operating system saves at a task switch.
uint64_t saved_state() {
#ifdef _MSC_VER
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
#endif
}

bool has(uint32_t word, uint32_t bits) { return (word & bits) == bits; }

// AMX in bf16 and AVX-512's conversions to bf16, and the system's leave to use the tiles' registers.
bool has_tiles(uint32_t seven_d, uint64_t saved) {
#ifdef THAW_HAS_AMX
  constexpr uint32_t amx_bf16 = 1u << 22, amx_tile = 1u << 24, avx512_bf16 = 1u << 5;
  if (!has(seven_d, amx_bf16 | amx_tile) || (saved & 0x60000) != 0x60000) return false;
  if (!has(cpuid(7, 1).a, avx512_bf16)) return false;
#ifdef __linux__
  // Linux gives the 8 KiB of tile data to processes that ask.
  constexpr long request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return true;
#endif
#else
  (void)seven_d, (void)saved;
  return false;
#endif
}

Isa detect() {
  const Registers one = cpuid(1), seven = cpuid(7);
  constexpr uint32_t fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
  constexpr uint32_t avx2 = 1u << 5;
  constexpr uint32_t avx512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);  // F, DQ, BW, VL
  if (!has(one.c, fma | osxsave | avx | f16c) || !has(seven.b, avx2)) return Isa::scalar;
  const uint64_t saved = saved_state();
  if ((saved & 0x06) != 0x06) return Isa::scalar;                         // xmm, ymm
  if (!has(seven.b, avx512) || (saved & 0xe6) != 0xe6) return Isa::avx2;  // and mask registers, zmm
  return has_tiles(seven.d, saved) ? Isa::amx : Isa::avx512;
}

#else

Isa detect() { return Isa::scalar; }

#endif

Isa capped(Isa found) {
  const char* cap = std::getenv("THAW_MAX_ISA");
  if (!cap) return found;
  for (const Isa isa : kIsas)
    if (!std::strcmp(cap, isa_name(isa)) && isa < found) return isa;
  return found;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::cuda:
      return "cuda";
    case Isa::amx:
      return "amx";
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    default:
      return "scalar";
  }
}

Isa best_isa() {
  static const Isa best = capped(detect());
  return best;
}

bool isa_usable(Isa isa) { return isa <= best_isa(); }

}  // namespace thaw
