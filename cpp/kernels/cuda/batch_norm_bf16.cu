// Batch normalisation of pictures in bf16; formulas in kernels/batch_norm.h.
#include "kernels/cuda/batch_norm.h"

namespace thaw {
namespace cuda {

extern const BatchNormKernels batch_norm_bf16 = {sums<Bf16Lines>,          statistics<Bf16Lines>, apply<Bf16Lines>,
                                                 backward_sums<Bf16Lines>, join<Bf16Lines>,       backward<Bf16Lines>};

}  // namespace cuda
}  // namespace thaw
