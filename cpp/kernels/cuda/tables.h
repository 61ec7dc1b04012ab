#pragma once
// Finds a table by its name.
#include <cstring>

#include "kernels/activation.h"
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/conv2d_bf16.h"
#include "kernels/conv2d_gemm.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/fold.h"
#include "kernels/gemm.h"
#include "kernels/layer_norm.h"
#include "kernels/linear_bf16.h"
#include "kernels/local_response_norm.h"
#include "kernels/loss.h"
#include "kernels/optim_gpu.h"
#include "kernels/pool.h"
#include "kernels/reduce.h"
#include "kernels/reorder.h"
#include "kernels/shape.h"
#include "kernels/softmax.h"

namespace thaw {
namespace cuda {

#define TABLE(Type, name) extern const Type name;
#include "kernels/cuda/tables.def"
#undef TABLE

inline const void* table(const char* wanted) {
#define TABLE(Type, name) \
  if (!std::strcmp(wanted, #name)) return &name;
#include "kernels/cuda/tables.def"
#undef TABLE
  return nullptr;
}

}  // namespace cuda
}  // namespace thaw
