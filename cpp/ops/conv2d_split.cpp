// Lowering of convolutions of f32 pictures by products of bf16 parts (kernels/conv2d_split.h), and when they pay.
#include "kernels/conv2d_split.h"

#include <algorithm>
#include <memory>

#include "ops/conv2d_pack.h"

namespace thaw {

namespace {

// Each pixel is taken apart for the products that it takes part in: channels of either side, and of a gradient by weights,
// which takes both sides apart, products of a pixel for each of its channels.
constexpr int64_t kLeastChannels = 64, kLeastProducts = 64;
// Of a picture: with few of them, weights are what takes time, and in parts they have half as many bytes again.
constexpr int64_t kLeastPixels = 16;

}  // namespace

bool takes_split(Select& select, const Conv2dShape& c, bool by_weights) {
  const auto declines = [&](const std::string& why) {
    select.declined("split", why);
    return false;
  };
  if (select.isa() != Isa::amx)
    return declines("expected an instruction set with tiles, received " + std::string(isa_name(select.isa())));
  if (c.groups != 1) return declines("expected one group, received " + std::to_string(c.groups));
  if (std::min(c.in_channels(), c.out_channels()) < kLeastChannels)
    return declines("expected at least " + std::to_string(kLeastChannels) + " channels on both sides, received " +
                    std::to_string(c.in_channels()) + " and " + std::to_string(c.out_channels()));
  if (c.out_height * c.out_width < kLeastPixels)
    return declines("expected at least " + std::to_string(kLeastPixels) + " pixels, received " +
                    std::to_string(c.out_height) + "x" + std::to_string(c.out_width));
  const int64_t in = c.in_channels(), out = c.out_channels(), products = in * out * c.kernel_taps() / (in + out);
  if (by_weights && products < kLeastProducts)
    return declines("expected at least " + std::to_string(kLeastProducts) +
                    " products for each channel of a pixel, received " + std::to_string(products));
  return true;
}

void lower_split(Lower& lower, const GridProblem& problem, const GridOperands& o) {
  const std::shared_ptr<Conv2dPlan> plan = plan_grid(problem, kSplitTiling, lower.threads());
  const int64_t offset = problem.weights_offset;
  // Blocks of pictures are of 16 channels, of weights of 32.
  plan->args.in_blocks = blocks_of(problem.channels.in), plan->args.out_blocks = blocks_of(problem.channels.out);
  lower.launch(conv2d_split_bf16_kernels(lower.isa()).direct, plan->tasks, bf16_scratch(*plan), [=](Run& run) {
    Conv2dBf16 args = bf16_args(*plan);
    bind_operands(run, o, offset, args.grid);
    return args;
  });
}

}  // namespace thaw
