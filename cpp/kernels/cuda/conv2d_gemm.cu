// Convolution of pictures in f32, forward and backward-data: conv2d_product.h with fused multiply-adds of single
// precision. Steps are sixteen channels deep.
#include "kernels/cuda/conv2d_launch.h"

namespace thaw {
namespace cuda {
namespace {

void direct(const Conv2dGemm& a, int64_t, void*) {
  switch (a.tile) {
    // Blocks that join hold two sets of sums: twice the threads share them.
    case GemmTile::large:
    case GemmTile::medium: return launch_product<TileF32<128, 64, 8, 8>, TileF32<128, 64, 8, 4>>(a);
    case GemmTile::small: return launch_product<TileF32<64, 64, 8, 4>, TileF32<64, 64, 8, 4>>(a);
    case GemmTile::narrow: return launch_product<TileF32<128, 32, 8, 4>, TileF32<128, 32, 8, 4>>(a);
  }
}

}  // namespace

extern const Conv2dGemmKernels conv2d_gemm = {direct, pack<float>};

}  // namespace cuda
}  // namespace thaw
