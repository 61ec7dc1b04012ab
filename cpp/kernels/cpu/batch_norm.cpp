// Batch normalisation of pictures in f32, and of what is plain; formulas in kernels/batch_norm.h.
#include "kernels/batch_norm.h"

#include "kernels/cpu/micro/batch_norm.h"

namespace thaw {
namespace THAW_ISA {

extern const BatchNormKernels batch_norm = kBatchNorm<1>;

}  // namespace THAW_ISA
}  // namespace thaw
