// The form "winograd_split" of a convolution of f32 pictures: the cut into groups of tiles and tasks. No cut changes the
// results: the numbers of a tile do not depend on its group, and every sum has one order.
#include "kernels/conv2d_winograd_split.h"

#include <algorithm>

#include "ops/conv2d_winograd.h"

namespace thaw {

namespace {

constexpr int64_t kPanelBlocks = 2;          // of 16 outputs
constexpr int64_t kGroupStep = 32;           // tiles of one product
constexpr int64_t kLeastTiles = 64;          // of a group, for each of which weights are transformed
constexpr int64_t kMostTiles = 128;          // more push their own sums out of the second-level cache
constexpr int64_t kInputBytes = 1200 << 10;  // of a group, one row of six: they stay there
constexpr int64_t kLeastPictureTiles = 4;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

Winograd cut(const GridProblem& problem, int threads) {
  Winograd a = winograd_shapes(problem);
  a.panel_count = divide_up(a.out_blocks, kPanelBlocks);
  const int64_t tile_bytes = kWinogradPatch * divide_up(a.in_blocks, 2) * kSplitParts * 64;
  const int64_t most = std::clamp(kInputBytes / tile_bytes / kGroupStep * kGroupStep, kLeastTiles, kMostTiles);
  a.groups = divide_up(a.tiles, most);
  a.group_tiles = std::min(a.tiles, divide_up(divide_up(a.tiles, a.groups), kGroupStep) * kGroupStep);
  a.groups = divide_up(a.tiles, a.group_tiles);
  // Each task transforms its inputs: no more of them than threads.
  a.chunk_panels = divide_up(a.panel_count, std::min<int64_t>(a.panel_count, divide_up(threads, a.groups)));
  return a;
}

}  // namespace

bool pays_winograd_split(const Select& select, const Conv2dShape& c, bool backward) {
  const Shape result = backward ? c.x : c.out();
  return !select.inference() && divide_up(result[2], kWinogradTile) * divide_up(result[3], kWinogradTile) >= kLeastPictureTiles;
}

void lower_winograd_split(Lower& lower, const GridProblem& problem, const GridOperands& o) {
  const Winograd a = cut(problem, lower.threads());
  const int64_t tasks = a.groups * divide_up(a.panel_count, a.chunk_panels);
  const size_t scratch = static_cast<size_t>(WinogradSplitScratch(a).bytes());
  lower.launch(conv2d_winograd_split_bf16_kernels(lower.isa()).direct, tasks, scratch, [=](Run& run) {
    Winograd args = a;
    bind_winograd(run, o, args);
    return args;
  });
}

}  // namespace thaw
