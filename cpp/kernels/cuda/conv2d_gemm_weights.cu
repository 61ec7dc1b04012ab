// Gradients of a convolution's weights from pictures in f32 (conv2d_gradient.h).
#include "kernels/cuda/conv2d_gradient.h"

namespace thaw {
namespace cuda {
namespace {

void weights(const Conv2dGemmWeights& a, int64_t, void*) {
  if (a.tile == GemmTile::narrow) launch_weights<TileF32<32, 32, 4, 2>>(a);
  else launch_weights<TileF32<64, 64, 8, 4>>(a);
}

}  // namespace

extern const Conv2dGemmWeightsKernels conv2d_gemm_weights = {weights, join_weights<float>};

}  // namespace cuda
}  // namespace thaw
