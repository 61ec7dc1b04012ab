// Batch normalisation of pictures in bf16; formulas in kernels/batch_norm.h.
#include "kernels/batch_norm.h"

#include "kernels/cpu/micro/batch_norm.h"

namespace thaw {
namespace THAW_ISA {

extern const BatchNormKernels batch_norm_bf16 = kBatchNorm<2>;

}  // namespace THAW_ISA
}  // namespace thaw
