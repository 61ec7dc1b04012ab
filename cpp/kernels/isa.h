#pragma once
// The instruction sets a binary carries, and the run-time choice between them.
#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#define THAW_X86 1
#endif

namespace thaw {

/// amx is avx512 with the tiles of AMX for products in bf16. cuda is a GPU: the same tables, in a binary of their own
/// (run/device.h), whose entries launch all tasks at once on the device's memory.
enum class Isa : uint8_t { scalar, avx2, avx512, amx, cuda };
/// The processor's.
constexpr Isa kIsas[] = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::amx};

const char* isa_name(Isa);
/// The best instruction set that processor, operating system and THAW_MAX_ISA allow. Fixed at first use.
Isa best_isa();
/// Can this machine run that instruction set?
bool isa_usable(Isa);
/// The table of that name in the binary for GPUs. Throws ERR_INTERNAL where it has none.
const void* gpu_table(const char* name);

// THAW_KERNELS(Type, name): declares the function tables `scalar::name`, `avx2::name`, `avx512::name` (each defined by
// kernels/cpu/<stem>.cpp, which is compiled once per instruction set inside `namespace thaw { namespace THAW_ISA {`),
// and `name_kernels(isa)` that picks one. THAW_BF16_KERNELS does the same for kernels/cpu/<stem>_bf16.cpp, which are
// compiled for AMX too (THAW_HAS_AMX: where the compiler knows it).
#ifdef THAW_X86
#define THAW_KERNELS(Type, name)                         \
  namespace scalar { extern const Type name; }           \
  namespace avx2 { extern const Type name; }             \
  namespace avx512 { extern const Type name; }           \
  namespace cuda { extern const Type name; }             \
  inline const Type& name##_kernels(Isa isa) {           \
    if (isa == Isa::cuda) return *static_cast<const Type*>(gpu_table(#name)); \
    if (isa >= Isa::avx512) return avx512::name;         \
    return isa == Isa::avx2 ? avx2::name : scalar::name; \
  }
#else
#define THAW_KERNELS(Type, name)                         \
  namespace scalar { extern const Type name; }           \
  namespace cuda { extern const Type name; }             \
  inline const Type& name##_kernels(Isa isa) {           \
    if (isa == Isa::cuda) return *static_cast<const Type*>(gpu_table(#name)); \
    return scalar::name;                                 \
  }
#endif

#ifdef THAW_HAS_AMX
#define THAW_BF16_KERNELS(Type, name)                    \
  namespace scalar { extern const Type name; }           \
  namespace avx2 { extern const Type name; }             \
  namespace avx512 { extern const Type name; }           \
  namespace amx { extern const Type name; }              \
  namespace cuda { extern const Type name; }             \
  inline const Type& name##_kernels(Isa isa) {           \
    if (isa == Isa::cuda) return *static_cast<const Type*>(gpu_table(#name)); \
    if (isa == Isa::amx) return amx::name;               \
    if (isa == Isa::avx512) return avx512::name;         \
    return isa == Isa::avx2 ? avx2::name : scalar::name; \
  }
#else
#define THAW_BF16_KERNELS(Type, name) THAW_KERNELS(Type, name)
#endif

// THAW_GPU_KERNELS: a table that only the binary for GPUs has, for products that are cut in another way there.
#define THAW_GPU_KERNELS(Type, name)            \
  namespace cuda { extern const Type name; }    \
  inline const Type& name##_kernels() {         \
    return *static_cast<const Type*>(gpu_table(#name)); \
  }

}  // namespace thaw
