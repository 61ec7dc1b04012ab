// Convolution of pictures in bf16 on tensor cores, forward and backward-data: conv2d_product.h with sums in f32.
#include "kernels/cuda/conv2d_launch.h"
#include "kernels/cuda/conv2d_tile_sm90a.h"

namespace thaw {
namespace cuda {
namespace {

void direct(const Conv2dGemm& a, int64_t, void*) {
  switch (a.tile) {
    // Blocks that join hold two sets of sums: eight warps share them.
    case GemmTile::large: return launch_product<TensorTile<128, 128, 64, 64>, TensorTile<128, 128, 64, 32>>(a);
    case GemmTile::medium: return launch_product<TensorTile<128, 64, 64, 32>, TensorTile<128, 64, 64, 32>>(a);
    case GemmTile::small: return launch_product<TensorTile<64, 64, 32, 32>, TensorTile<64, 64, 32, 32>>(a);
    case GemmTile::narrow: return launch_product<TensorTile<128, 32, 32, 32>, TensorTile<128, 32, 32, 32>>(a);
  }
}

}  // namespace

extern const Conv2dGemmKernels conv2d_gemm_bf16 = {direct, pack<uint16_t>};

}  // namespace cuda
}  // namespace thaw
