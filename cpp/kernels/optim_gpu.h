#pragma once
// Updates of all parameters at once on a GPU; formulas in kernels/optim.h, and the same order of operations. Parameters are
// cut into parts of kGpuPart elements, numbered through all slots. Nothing here waits: what clipping multiplies
// gradients by is made and read on the device.
#include <cstdint>

#include "kernels/isa.h"

namespace thaw {

constexpr int64_t kGpuPart = 8192;
static inline constexpr int64_t gpu_parts(int64_t count) { return (count + kGpuPart - 1) / kGpuPart; }

/// One parameter; all arrays aligned to 16 bytes and `count` long.
struct GpuSlot {
  float* weight;
  const float* gradient;
  const float* origin;  // null: zero
  float* first;         // sgd: b, or null where momentum is 0; adam: m
  float* second;        // adam: v
  int64_t count;
  int64_t part;         // the number of its first part
  float rate, decay;    // sgd: both; adam: coupled decay
  float shrink;         // adamw: rate * decay
  float step, root;     // adam
};

/// In the device's memory.
struct GpuSlots {
  const GpuSlot* slots;
  const int32_t* slot_of;  // [parts]: the slot a part belongs to
  int64_t parts;
};

/// What all gradients together measure.
struct GpuNorm {
  GpuSlots of;
  double limit;     // of the norm; 0: none
  double* partial;  // [parts]
  double* squares;  // the sum of the squares
  float* scale;     // limit / (norm + 1e-6), at most 1; NaN where the norm is not finite
};

struct GpuSgd {
  GpuSlots of;
  const float* scale;  // null: 1. Where it is NaN nothing changes
  float momentum;
  bool nesterov;
};

struct GpuAdam {
  GpuSlots of;
  const float* scale;
  float beta1, rest1, beta2, rest2, eps;
};

/// weight = gradient where `begin`, else weight += gradient; of the slots only these and `count` and `part` are read.
struct GpuAccumulate {
  GpuSlots of;
  bool begin;
};

struct GpuOptimKernels {
  void (*norm)(const GpuNorm&);
  void (*sgd)(const GpuSgd&);
  void (*adam)(const GpuAdam&);
  void (*accumulate)(const GpuAccumulate&);
};

namespace cuda { extern const GpuOptimKernels optim_gpu; }

}  // namespace thaw
