// The form "winograd" of a gradient by weights: choice and the cut into regions, groups of tiles and chunks.
#include <algorithm>
#include <memory>

#include "kernels/conv2d_winograd_weights.h"
#include "ops/conv2d_winograd.h"

namespace thaw {

namespace {

constexpr int64_t kGroupTiles = 64;    // inputs, gradients and sums of a region stay in the second-level cache
constexpr int64_t kRegionBlocks = 4;
constexpr int64_t kTasks = 16;
constexpr int64_t kLeastPixels = 512;  // of all pictures: sums of fewer are more exact as direct ones

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

std::shared_ptr<WinogradWeights> plan_weights(const Conv2dShape& c) {
  auto plan = std::make_shared<WinogradWeights>();
  WinogradWeights& a = *plan;
  a.in_channels = c.in_channels(), a.in_blocks = blocks_of(c.in_channels());
  a.in_height = c.x[2], a.in_width = c.x[3];
  a.out_channels = c.out_channels(), a.out_blocks = blocks_of(c.out_channels());
  a.out_height = c.out_height, a.out_width = c.out_width;
  a.pad_top = c.padding[0], a.pad_left = c.padding[1];
  a.tile_rows = divide_up(a.out_height, kWinogradTile), a.tile_cols = divide_up(a.out_width, kWinogradTile);
  a.tiles = c.pictures() * a.tile_rows * a.tile_cols;
  a.group_tiles = divide_up(a.tiles, divide_up(a.tiles, kGroupTiles));
  a.groups = divide_up(a.tiles, a.group_tiles);
  a.regions_in = divide_up(a.in_blocks, kRegionBlocks), a.region_in = divide_up(a.in_blocks, a.regions_in);
  a.regions_out = divide_up(a.out_blocks, kRegionBlocks), a.region_out = divide_up(a.out_blocks, a.regions_out);
  a.regions_in = divide_up(a.in_blocks, a.region_in), a.regions_out = divide_up(a.out_blocks, a.region_out);
  a.chunks = std::min(a.groups, std::max<int64_t>(1, kTasks / (a.regions_in * a.regions_out)));
  return plan;
}

/// In units of one multiplication for each pair of channels and picture.
double winograd_cost(const Conv2dShape& c) {
  const int64_t rows = divide_up(c.out_height, kWinogradTile), cols = divide_up(c.out_width, kWinogradTile);
  const int64_t in = c.in_channels(), out = c.out_channels(), region = kRegionBlocks * kBlock;
  const double padding = static_cast<double>(blocks_of(in) * kBlock) / static_cast<double>(in);
  const double transforms = 330.0 / static_cast<double>(std::min(in, region)) +
                            330.0 / static_cast<double>(std::min(out, region));
  return static_cast<double>(rows * cols) * (36 * padding + transforms);
}

std::string reason_against(const Conv2dShape& c) {
  if (!fits_winograd(c))
    return "expected a kernel of 3×3 with stride 1, dilation 1 and one group, received a weight of shape " +
           to_string(c.weight);
  if (c.pictures() * c.out_height * c.out_width < kLeastPixels ||
      winograd_cost(c) > 0.8 * static_cast<double>(9 * c.out_height * c.out_width))
    return "expected pictures and channels large enough for tiles of 4×4, received an output of shape " +
           to_string(c.out());
  return "";
}

}  // namespace

bool takes_winograd_weights(Select& select, const Conv2dShape& c) {
  const std::string why = reason_against(c);
  if (!why.empty()) select.declined("winograd", why);
  return why.empty();
}

void lower_winograd_weights(Lower& lower, const Conv2dShape& c) {
  const WinogradWeightsKernels& kernels = winograd_weights_kernels(lower.isa());
  const std::shared_ptr<WinogradWeights> plan = plan_weights(c);
  const WinogradWeights& a = *plan;
  const int64_t regions = a.regions_in * a.regions_out, sums = winograd_region_floats(a);
  int64_t scratch = winograd_floats(a.region_in * a.group_tiles) + winograd_floats(a.region_out * a.group_tiles);
  Buffer partial = kNone;
  if (a.chunks == 1) scratch += sums;
  else partial = lower.workspace(static_cast<size_t>(a.chunks * regions * sums) * sizeof(float));
  const Buffer x = lower.input(0), dy = lower.input(1), dweight = lower.output(0);
  const auto fill = [=](Run& run) {
    WinogradWeights args = *plan;
    args.x = run.f32(x), args.dy = run.f32(dy), args.partial = run.f32(partial), args.dweight = run.f32(dweight);
    return args;
  };
  lower.launch(kernels.sum, regions * a.chunks, static_cast<size_t>(scratch) * sizeof(float), fill);
  if (a.chunks > 1) lower.launch(kernels.join, regions * a.region_in, 0, fill);
}

}  // namespace thaw
