// Lowering of convolutions for GPUs (kernels/conv2d_gemm.h): the forms "gemm" and "gemm_bf16". The size of a tile changes no
// bits; how the depth is cut into parts does, and so it follows from the shape of one picture.
#include "kernels/conv2d_gemm.h"

#include <algorithm>

#include "ops/conv2d_pack.h"

namespace thaw {

namespace {

constexpr int64_t kBlocksWanted = 132;  // about the multiprocessors of a large GPU, whichever runs it
constexpr int64_t kFewTiles = 100;      // of one picture: fewer leave most of a GPU idle
constexpr int64_t kPartSteps = 8;       // least depth of a part
constexpr int64_t kWholePanel = 1 << 20;  // more blocks than any panel has: groups are cut, outputs are not
constexpr int64_t kWeightBlocks = 2 * kBlocksWanted;
constexpr int64_t kStepPixels = 32;
constexpr int64_t kChunkPixels = 256;   // least depth of a chunk
constexpr int64_t kPartialBytes = 64 << 20;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
int32_t narrow(int64_t n) { return static_cast<int32_t>(n); }

bool in_bf16(const std::string& form) { return form.ends_with("bf16"); }
int64_t channels_of_block(const std::string& form) { return in_bf16(form) ? kBlockBf16 : kBlock; }

/// The panels of a product are alike, but the last may be smaller.
struct Regular {
  int64_t panels, in, out;  // blocks
  int64_t elements;         // of the packed weights
};

Regular regular_panels(const Channels& channels, int64_t taps, int64_t block) {
  const Panels p = panels_of(channels, taps, {kWholePanel, true, block});
  return {static_cast<int64_t>(p.panels.size()), p.panels[0].in_blocks, p.panels[0].vectors, p.floats};
}

struct Extent {
  int64_t rows, columns;
};

Extent extent_of(GemmTile tile) {
  switch (tile) {
    case GemmTile::large: return {128, 128};
    case GemmTile::medium: return {128, 64};
    case GemmTile::small: return {64, 64};
    case GemmTile::narrow: return {128, 32};
  }
  return {};
}

int64_t tiles(GemmTile tile, int64_t rows, int64_t columns) {
  const Extent e = extent_of(tile);
  return divide_up(rows, e.rows) * divide_up(columns, e.columns);
}

/// The largest tile of which there are enough.
GemmTile choose_tile(int64_t rows, int64_t columns, int64_t panels) {
  if (columns <= 32) return GemmTile::narrow;
  const bool whole = divide_up(columns, 128) * 2 == divide_up(columns, 64);
  if (whole && tiles(GemmTile::large, rows, columns) * panels >= kBlocksWanted) return GemmTile::large;
  return tiles(GemmTile::medium, rows, columns) * panels >= kBlocksWanted ? GemmTile::medium : GemmTile::small;
}

/// One picture's shape decides into how many parts the depth is cut.
int64_t parts_of(int64_t picture_points, int64_t columns, int64_t panels, int64_t steps) {
  const GemmTile tile = columns <= 32 ? GemmTile::narrow : GemmTile::small;
  const int64_t alone = tiles(tile, picture_points, columns) * panels;
  if (alone >= kFewTiles) return 1;
  return std::max<int64_t>(1, std::min(divide_up(kBlocksWanted, alone), steps / kPartSteps));
}

struct Taps {
  int64_t count, first, step;
};

/// The taps of an axis are equally far apart, in any phase of the stride.
Taps taps_of(const GridAxis& axis) {
  if (axis.taps.empty()) return {};
  const int64_t first = axis.taps[0].offset;
  return {static_cast<int64_t>(axis.taps.size()), first, axis.taps.size() > 1 ? axis.taps[1].offset - first : 0};
}

Conv2dGemm product_of(const GridProblem& p, int64_t block) {
  const Taps y = taps_of(p.grid.y), x = taps_of(p.grid.x);
  const Regular panels = regular_panels(p.channels, y.count * x.count, block);
  const int64_t points = p.grid.y.size * p.grid.x.size, columns = panels.out * block;
  Conv2dGemm a{};
  a.pictures = narrow(p.pictures), a.in_height = narrow(p.in_height), a.in_width = narrow(p.in_width);
  a.in_blocks = narrow(blocks_of(p.channels.in, block)), a.out_blocks = narrow(blocks_of(p.channels.out, block));
  a.out_channels = narrow(p.channels.out), a.out_pixels = narrow(p.out_height * p.out_width);
  a.rows = narrow(p.grid.y.size), a.cols = narrow(p.grid.x.size);
  a.out_start = narrow(p.grid.y.start * p.out_width + p.grid.x.start);
  a.out_row = narrow(p.grid.y.step * p.out_width), a.out_col = narrow(p.grid.x.step);
  a.stride_y = narrow(p.grid.y.stride), a.stride_x = narrow(p.grid.x.stride);
  a.taps_y = narrow(y.count), a.first_y = narrow(y.first), a.step_y = narrow(y.step);
  a.taps_x = narrow(x.count), a.first_x = narrow(x.first), a.step_x = narrow(x.step);
  a.panels = narrow(panels.panels), a.panel_in = narrow(panels.in), a.panel_out = narrow(panels.out);
  a.parts = narrow(parts_of(points, columns, panels.panels, panels.in * y.count * x.count));
  a.tile = choose_tile(p.pictures * points, columns, panels.panels);
  return a;
}

/// Would blocks that compute all parts be too few?
bool parts_apart(const Conv2dGemm& a, int64_t block) {
  if (a.parts == 1) return false;
  const int64_t rows = int64_t{a.pictures} * a.rows * a.cols;
  return tiles(a.tile, rows, a.panel_out * block) * a.panels < kBlocksWanted;
}

}  // namespace

bool is_gemm(const std::string& form) { return form.starts_with("gemm"); }

void lower_gemm(Lower& lower, const GridProblem& problem, const GridOperands& o) {
  const std::string& form = lower.attrs().at("kernel").as_string();
  const int64_t block = channels_of_block(form);
  const Conv2dGemm plan = product_of(problem, block);
  const int64_t points = int64_t{plan.pictures} * plan.rows * plan.cols;
  const Buffer partial = parts_apart(plan, block)
                             ? lower.workspace(static_cast<size_t>(plan.parts * plan.out_blocks * points * block) * sizeof(float))
                             : kNone;
  const Conv2dGemmKernels& kernels = in_bf16(form) ? conv2d_gemm_bf16_kernels() : conv2d_gemm_kernels();
  lower.launch(kernels.direct, 1, 0, [=, offset = problem.weights_offset](Run& run) {
    Conv2dGemm a = plan;
    a.x = run.at(o.x), a.weights = run.f32(o.weights) + offset, a.bias = run.f32(o.bias);
    a.residual = run.at(o.residual), a.gate = run.at(o.gate), a.y = run.at(o.y), a.partial = run.f32(partial);
    a.activation = o.activation, a.alpha = o.alpha;
    return a;
  });
}

int64_t gemm_floats(const std::string& form, const Channels& channels, int64_t taps) {
  const int64_t elements = regular_panels(channels, taps, channels_of_block(form)).elements;
  return in_bf16(form) ? elements / 2 : elements;
}

void lower_gemm_pack(Lower& lower, const Channels& channels, const Grid& grid, const Shape& weight, int64_t offset) {
  const std::string& form = lower.attrs().at("form").as_string();
  const std::vector<int64_t> taps = grid.taps(weight[3]);
  const Regular panels = regular_panels(channels, static_cast<int64_t>(taps.size()), channels_of_block(form));
  Conv2dGemmPack plan{};
  plan.in_channels = narrow(channels.in), plan.out_channels = narrow(channels.out), plan.groups = narrow(channels.groups);
  plan.panels = narrow(panels.panels), plan.panel_in = narrow(panels.in), plan.panel_out = narrow(panels.out);
  plan.transposed = lower.attrs().get("backward", false);
  plan.kernel_taps = narrow(weight[2] * weight[3]), plan.taps = static_cast<int32_t>(taps.size());
  const Buffer from = lower.input(0), packed = lower.output(0), table = lower.table(taps);
  const Conv2dGemmKernels& kernels = in_bf16(form) ? conv2d_gemm_bf16_kernels() : conv2d_gemm_kernels();
  lower.launch(kernels.pack, 1, 0, [=](Run& run) {
    Conv2dGemmPack a = plan;
    a.weight = run.f32(from), a.packed = run.f32(packed) + offset, a.tap = static_cast<const int64_t*>(run.at(table));
    return a;
  });
}

void lower_gemm_weights(Lower& lower, const Conv2dShape& c) {
  const std::string& form = lower.attrs().at("kernel").as_string();
  const int64_t block = channels_of_block(form), taps = c.kernel_taps(), pixels = c.pictures() * c.out_height * c.out_width;
  const Regular panels = regular_panels({c.in_channels(), c.out_channels(), c.groups}, taps, block);
  const int64_t outputs = panels.out * block, channels = panels.in * block;
  Conv2dGemmWeights plan{};
  plan.pictures = narrow(c.pictures()), plan.in_height = narrow(c.x[2]), plan.in_width = narrow(c.x[3]);
  plan.in_blocks = narrow(blocks_of(c.in_channels(), block)), plan.out_blocks = narrow(blocks_of(c.out_channels(), block));
  plan.out_height = narrow(c.out_height), plan.out_width = narrow(c.out_width);
  plan.kernel_height = narrow(c.weight[2]), plan.kernel_width = narrow(c.weight[3]);
  plan.stride_y = narrow(c.stride[0]), plan.stride_x = narrow(c.stride[1]);
  plan.pad_top = narrow(c.padding[0]), plan.pad_left = narrow(c.padding[1]);
  plan.dilation_y = narrow(c.dilation[0]), plan.dilation_x = narrow(c.dilation[1]);
  plan.in_channels = narrow(c.in_channels()), plan.out_channels = narrow(c.out_channels()), plan.groups = narrow(c.groups);
  plan.panels = narrow(panels.panels), plan.panel_in = narrow(panels.in), plan.panel_out = narrow(panels.out);
  const int64_t least = std::min(outputs, channels);
  plan.tile = least <= 32 ? GemmTile::narrow : least <= 64 || !in_bf16(form) ? GemmTile::small : GemmTile::large;
  const int64_t side = plan.tile == GemmTile::narrow ? 32 : plan.tile == GemmTile::small ? 64 : 128;
  const int64_t all = divide_up(outputs, side) * divide_up(channels, side) * panels.panels * taps;
  const int64_t chunk_floats = taps * panels.panels * outputs * channels;
  const int64_t room = std::max<int64_t>(1, kPartialBytes / (chunk_floats * static_cast<int64_t>(sizeof(float))));
  const int64_t chunks = std::max<int64_t>(1, std::min({divide_up(kWeightBlocks, all), pixels / kChunkPixels, room}));
  plan.chunk_pixels = narrow(std::max<int64_t>(1, divide_up(divide_up(pixels, chunks), kStepPixels)) * kStepPixels);
  plan.chunks = narrow(std::max<int64_t>(1, divide_up(pixels, plan.chunk_pixels)));
  const Buffer x = lower.input(0), dy = lower.input(1), dweight = lower.output(0);
  const Buffer partial = lower.workspace(static_cast<size_t>(plan.chunks * chunk_floats) * sizeof(float));
  const auto fill = [=](Run& run) {
    Conv2dGemmWeights a = plan;
    a.x = run.at(x), a.dy = run.at(dy), a.partial = run.f32(partial), a.dweight = run.f32(dweight);
    return a;
  };
  const Conv2dGemmWeightsKernels& kernels =
      in_bf16(form) ? conv2d_gemm_weights_bf16_kernels() : conv2d_gemm_weights_kernels();
  lower.launch(kernels.weights, 1, 0, fill);
  lower.launch(kernels.join, 1, 0, fill);
}

}  // namespace thaw
