// Lowering of convolutions in bf16 (kernels/conv2d_bf16.h): grids by the same cut as in f32, and pictures of up to four
// channels read from where the caller put them.
#include "kernels/conv2d_bf16.h"

#include <algorithm>
#include <memory>

#include "ops/conv2d_pack.h"
#include "ops/product.h"

namespace thaw {

namespace {

constexpr int64_t kNarrowChannels = 4, kNarrowTaps = 8;  // of a step of 32
constexpr int64_t kTileRows = 16;
constexpr int64_t kNarrowBandBytes = 256 << 10;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Points of a tile, so that the tiles of a row of so many points are equally full.
int64_t tile_rows(int64_t points) { return divide_up(points, divide_up(points, kTileRows)); }

int64_t most_input_blocks(const Panels& panels) {
  int64_t most = 0;
  for (const Conv2dPanel& panel : panels.panels) most = std::max<int64_t>(most, panel.in_blocks);
  return most;
}

int64_t parts_of(const Conv2dShape& c) { return divide_up(c.weight[3], kNarrowTaps); }

Conv2dNarrow narrow_args(const Conv2dShape& c) {
  Conv2dNarrow a{};
  a.pictures = c.pictures(), a.channels = c.in_channels(), a.in_height = c.x[2], a.in_width = c.x[3];
  a.out_channels = c.out_channels(), a.out_blocks = blocks_of(c.out_channels(), kBlockBf16);
  a.out_height = c.out_height, a.out_width = c.out_width;
  a.kernel_height = c.weight[2], a.parts = parts_of(c);
  a.stride_y = c.stride[0], a.stride_x = c.stride[1];
  a.pad_top = c.padding[0], a.pad_left = c.padding[1], a.dilation_y = c.dilation[0];
  a.tile_rows = tile_rows(c.out_width);
  a.row_pixels = (c.out_width - 1) * a.stride_x + a.parts * kNarrowTaps;
  const int64_t row_bytes = a.row_pixels * kNarrowChannels * 2;
  const int64_t reach = (a.kernel_height - 1) * a.dilation_y;
  const int64_t fit = std::max<int64_t>(1, (kNarrowBandBytes / row_bytes - reach) / a.stride_y);
  a.bands = divide_up(a.out_height, std::min(fit, a.out_height));
  a.band_rows = divide_up(a.out_height, a.bands);
  a.bands = divide_up(a.out_height, a.band_rows);
  return a;
}

}  // namespace

Layout conv2d_layout(const Node& node) {
  const std::string& form = node.attrs.at("kernel").as_string();
  return form.ends_with("bf16") ? Layout::blocked_bf16 : Layout::blocked;
}

Conv2dBf16 bf16_args(const Conv2dPlan& plan) {
  const Conv2d& grid = plan.args;
  return {grid, tile_rows(grid.cols * grid.interleave), most_input_blocks(plan.panels) * grid.taps};
}

size_t bf16_scratch(const Conv2dPlan& plan) {
  const Conv2d& grid = plan.args;
  return plan.scratch +
         static_cast<size_t>(conv2d_bf16_scratch(grid.cols * grid.interleave, most_input_blocks(plan.panels) * grid.taps,
                                                 grid.shortcut.in_blocks));
}

void lower_bf16(Lower& lower, const GridProblem& problem, const GridOperands& o) {
  const std::shared_ptr<Conv2dPlan> plan = plan_grid(problem, kBf16Tiling, lower.threads());
  const int64_t offset = problem.weights_offset;
  lower.launch(conv2d_bf16_kernels(lower.isa()).direct, plan->tasks, bf16_scratch(*plan), [=](Run& run) {
    Conv2dBf16 args = bf16_args(*plan);
    bind_operands(run, o, offset, args.grid);
    return args;
  });
}

bool fits_narrow(const Conv2dShape& c) {
  return c.in_channels() <= kNarrowChannels && c.groups == 1 && c.dilation[1] == 1;
}

bool fits_gpu_narrow(const Conv2dShape& c) {
  constexpr int64_t most = 48 << 10;
  const int64_t rows = (c.weight[2] - 1) * c.dilation[0] + 1;
  return fits_narrow(c) && conv2d_narrow_patch(c.stride[0], c.stride[1], rows, parts_of(c)) <= most;
}

int64_t narrow_words(const Conv2dShape& c) {
  return blocks_of(c.out_channels(), kBlockBf16) * c.weight[2] * parts_of(c) * 512;
}

void lower_narrow_pack(Lower& lower, const Conv2dShape& c) {
  const Buffer weight = lower.input(0), packed = lower.output(0);
  const int64_t outputs = c.out_channels(), channels = c.in_channels(), height = c.weight[2], width = c.weight[3];
  const int64_t parts = parts_of(c);
  lower.launch(conv2d_narrow_bf16_kernels(lower.isa()).pack, blocks_of(outputs, kBlockBf16), 0, [=](Run& run) {
    return Conv2dNarrowPack{run.f32(weight), static_cast<uint16_t*>(run.at(packed)), outputs, channels, height, width,
                            parts};
  });
}

void lower_narrow(Lower& lower, const Conv2dShape& c) {
  const Conv2dNarrow plan = narrow_args(c);
  if (c.pictures() == 0) return;
  const int64_t rows = (plan.band_rows - 1) * plan.stride_y + (plan.kernel_height - 1) * plan.dilation_y + 1;
  const int64_t copy = divide_up(rows * plan.row_pixels * kNarrowChannels * 2, 64) * 64 + 64;
  const size_t scratch =
      static_cast<size_t>(copy + conv2d_bf16_scratch(plan.out_width, plan.kernel_height * plan.parts));
  const Activation activation = fused_activation(lower.attrs());
  const float alpha = static_cast<float>(lower.attrs().get("alpha", 0.01));
  const Buffer x = lower.input(0), weights = lower.input(1), bias = lower.input(2), residual = lower.input(3),
               y = lower.output(0);
  const bool stream = lower.streams(0);
  lower.launch(conv2d_narrow_bf16_kernels(lower.isa()).direct, plan.pictures * plan.bands, scratch, [=](Run& run) {
    Conv2dNarrow a = plan;
    a.x = run.f32(x), a.weights = static_cast<const uint16_t*>(run.at(weights)), a.bias = run.f32(bias);
    a.residual = static_cast<const uint16_t*>(run.at(residual)), a.y = static_cast<uint16_t*>(run.at(y));
    a.activation = activation, a.alpha = alpha, a.stream = stream;
    return a;
  });
}

}  // namespace thaw
