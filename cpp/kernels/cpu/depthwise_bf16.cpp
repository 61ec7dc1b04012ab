// Depthwise convolution of pictures in bf16; formulas in micro/depthwise.h and micro/depthwise_weights.h.
#include "kernels/conv2d.h"

#include "kernels/cpu/micro/depthwise_weights.h"

namespace thaw {
namespace THAW_ISA {

extern const DepthwiseKernels depthwise_bf16 = {direct<2>, pack<2>, weights<2>, join<2>};

}  // namespace THAW_ISA
}  // namespace thaw
