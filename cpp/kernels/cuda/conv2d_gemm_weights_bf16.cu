// Gradients of a convolution's weights from pictures in bf16 (conv2d_gradient.h): tensor cores, pixels transposed by ldmatrix.
#include "kernels/cuda/conv2d_gradient.h"
#include "kernels/cuda/conv2d_tile_sm90a.h"

namespace thaw {
namespace cuda {
namespace {

void weights(const Conv2dGemmWeights& a, int64_t, void*) {
  switch (a.tile) {
    case GemmTile::large:
    case GemmTile::medium: return launch_weights<TensorTile<128, 128, 64, 64>>(a);
    case GemmTile::small: return launch_weights<TensorTile<64, 64, 32, 32>>(a);
    case GemmTile::narrow: return launch_weights<TensorTile<64, 32, 32, 16>>(a);
  }
}

}  // namespace

extern const Conv2dGemmWeightsKernels conv2d_gemm_weights_bf16 = {weights, join_weights<uint16_t>};

}  // namespace cuda
}  // namespace thaw
