// Depthwise convolution of pictures in f32; formulas in micro/depthwise.h and micro/depthwise_weights.h.
#include "kernels/conv2d.h"

#include "kernels/cpu/micro/depthwise_weights.h"

namespace thaw {
namespace THAW_ISA {

extern const DepthwiseKernels depthwise = {direct<1>, pack<1>, weights<1>, join<1>};

}  // namespace THAW_ISA
}  // namespace thaw
