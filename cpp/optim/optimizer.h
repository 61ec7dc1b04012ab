#pragma once
// The optimizers: from gradients to new weights. State (momentum, moments, step counts) belongs to the caller, one slot
// per trainable parameter; nothing here remembers anything between calls.
//
// Bits depend on shapes, values and instruction set only: work is cut by element counts and sums are joined in the
// order of the slots.
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "run/run.h"

namespace thaw {

struct SgdUpdate;   // kernels/optim.h
struct AdamUpdate;

enum class OptimizerKind : uint8_t { sgd, adam, adamw };
/// "sgd", "adam" or "adamw". Throws ERR_REQUEST.
OptimizerKind optimizer_from(const std::string& name);

/// What all parameters share. Defaults are torch.optim's.
struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::sgd;
  double momentum = 0;      // sgd
  bool nesterov = false;    // sgd, needs momentum
  double beta1 = 0.9;       // adam, adamw
  double beta2 = 0.999;
  double eps = 1e-8;
};

/// One parameter. State tensors are as long as the weight and start as zeros.
struct ParameterSlot {
  std::string name;
  float* weight = nullptr;
  int64_t count = 0;
  /// Dense: `count` elements. By rows: `rows` rows of `row_length` elements, each belonging to row indices[i] of the
  /// weight; rows of one index are summed in order, negative indices are ignored, rows that do not occur are zero. The
  /// update is the one of the dense gradient, bit for bit.
  const float* gradient = nullptr;
  const int32_t* indices = nullptr;
  int64_t rows = 0;
  int64_t row_length = 0;

  float* momentum = nullptr;         // sgd with momentum
  float* first = nullptr;            // adam, adamw
  float* second = nullptr;
  int64_t* steps = nullptr;          // adam, adamw: updates so far, counted up here
  const float* origin = nullptr;     // decay towards these values (L2-SP); null: towards zero
  double learning_rate = 0;
  double weight_decay = 0;
};

/// Euclidean norm of all gradients together, before any scaling. Sums are made in double.
double gradient_norm(const std::vector<ParameterSlot>& slots, Isa isa, Run& run);

/// Factor that brings gradients of this norm to at most `limit`, as torch.nn.utils.clip_grad_norm_ does:
/// limit / (norm + 1e-6), at most 1. A limit of 0 or less: 1.
double clip_factor(double norm, double limit);

/// What the kernels of an update get besides arrays. Factors that depend on the step count (counted up before) are made in
/// double, as PyTorch makes them in Python.
SgdUpdate sgd_factors(const OptimizerSettings& settings, const ParameterSlot& slot, double scale);
AdamUpdate adam_factors(const OptimizerSettings& settings, const ParameterSlot& slot, double scale);

/// Updates every slot with its gradient times `scale` (clipping, mean over accumulated batches).
void apply_update(const OptimizerSettings& settings, const std::vector<ParameterSlot>& slots, double scale, Isa isa,
                  Run& run);

/// Gradient accumulation: sums[i] (dense, as long as slot i's weight) = or += slot i's gradient. `begin` starts anew.
void accumulate_gradients(const std::vector<ParameterSlot>& slots, const std::vector<float*>& sums, bool begin, Isa isa,
                          Run& run);

}  // namespace thaw
