// Batch normalisation of pictures in f32, and of what is plain; formulas in kernels/batch_norm.h.
#include "kernels/cuda/batch_norm.h"

namespace thaw {
namespace cuda {
namespace {

/// Calls that of the two that reads lines as this view has them.
template <class Args, void (*Whole)(const Args&, int64_t, void*), void (*Scattered)(const Args&, int64_t, void*)>
void either(const Args& a, int64_t tasks, void* scratch) {
  (a.view.padded ? Whole : Scattered)(a, tasks, scratch);
}

}  // namespace

extern const BatchNormKernels batch_norm = {
    either<BatchNormSums, sums<WholeLines>, sums<ScatteredLines>>,
    either<BatchNormStatistics, statistics<WholeLines>, statistics<ScatteredLines>>,
    either<BatchNormApply, apply<WholeLines>, apply<ScatteredLines>>,
    either<BatchNormBackwardSums, backward_sums<WholeLines>, backward_sums<ScatteredLines>>,
    join<WholeLines>,  // joined sums are alike
    either<BatchNormBackward, backward<WholeLines>, backward<ScatteredLines>>};

}  // namespace cuda
}  // namespace thaw
