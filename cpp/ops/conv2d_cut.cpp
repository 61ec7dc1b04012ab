// The cut of a convolution into bands and tasks. It follows from shapes, threads and cache; it changes no results:
// every output is summed in one order (kernels/cpu/micro/conv2d_tile.h), in chunks of input blocks that follow from the
// kernel's size and the instruction set.
#include <algorithm>

#include "kernels/conv2d_split.h"
#include "ops/conv2d_geometry.h"
#include "run/pool.h"

namespace thaw {

namespace {

constexpr int64_t kLine = 16;              // a line of 64 bytes, in units of four bytes
constexpr int64_t kPanelBytes = 32 << 10;  // weights read again and again: the first-level cache
constexpr int64_t kMaxTaskBands = 32;      // the kernel's table

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

class Cut {
 public:
  Cut(const GridProblem& problem, const Conv2dTiling& tiling, int threads)
      : p_(problem), tiling_(tiling), tasks_(threads > 1 ? tiling.tasks_of_thread * threads : 1),
        plan_(std::make_shared<Conv2dPlan>()) {}

  std::shared_ptr<Conv2dPlan> make() {
    const GridAxis &y = p_.grid.y, &x = p_.grid.x;
    Conv2d& a = plan_->args;
    a.taps = static_cast<int64_t>(y.taps.size() * x.taps.size());
    plan_->panels = panels_of(p_.channels, a.taps, tiling_.panel);
    a.panels = plan_->panels.panels.data();
    a.panel_count = static_cast<int64_t>(plan_->panels.panels.size());
    a.pictures = p_.pictures;
    a.in_blocks = blocks_of(p_.channels.in, tiling_.panel.block);
    a.in_height = p_.in_height, a.in_width = p_.in_width;
    a.out_channels = p_.channels.out;
    a.out_blocks = blocks_of(p_.channels.out, tiling_.panel.block);
    a.out_pixels = p_.out_height * p_.out_width;
    choose_reading();
    set_grid();
    set_shortcut();
    choose_bands();
    set_taps();
    choose_panels();
    plan_->tasks = a.band_tasks * divide_up(a.panel_count, a.chunk_panels);
    a.x_step = kLine * static_cast<int64_t>(sizeof(float));
    const int64_t band = (a.copy ? a.band_floats : 0) + (a.shortcut.copy ? a.shortcut.band_floats : 0);
    plan_->scratch = static_cast<size_t>(a.task_bands * band) * sizeof(float);
    return plan_;
  }

 private:
  bool within(const GridAxis& axis, int64_t size) const {
    if (axis.taps.empty()) return true;
    return axis.stride == 1 && axis.taps.front().offset >= 0 && axis.size - 1 + axis.taps.back().offset < size;
  }

  /// Cost of a row of `pixels`: multiplications, but no tile is faster than its chain of sums allows.
  double row_cost(int64_t pixels) const {
    const int64_t tiles = divide_up(pixels, tiling_.tile_pixels);
    const double each = static_cast<double>(pixels) / static_cast<double>(tiles);
    return static_cast<double>(tiles) * tiling_.tile_cost(each, tiling_.panel.vectors);
  }

  // In place where every tap lies within the picture and rows are long enough; else from copies, in which pixels of
  // several small pictures alternate, so that tiles are full.
  void choose_reading() {
    Conv2d& a = plan_->args;
    const GridAxis &y = p_.grid.y, &x = p_.grid.x;
    flat_ = a.taps == 1 && y.step == 1 && x.step == 1 && within(y, p_.in_height) && within(x, p_.in_width) &&
            y.size == p_.in_height && x.size == p_.in_width;
    const int64_t row = flat_ ? y.size * x.size : x.size;
    a.interleave = 1;
    for (int64_t g = 2; g <= std::min<int64_t>(p_.pictures, 16); ++g)
      if (row_cost(row * g) / static_cast<double>(g) <
          0.93 * row_cost(row * a.interleave) / static_cast<double>(a.interleave))
        a.interleave = g;
    if (row >= 2 * tiling_.tile_pixels) a.interleave = 1;
    a.copy = tiling_.parts > 1 || a.interleave > 1 || !(flat_ || (within(y, p_.in_height) && within(x, p_.in_width)));
    if (a.copy) flat_ = false;
  }

  // A plane read in place without borders is one long row: cut into rows of one tile.
  void set_grid() {
    Conv2d& a = plan_->args;
    const GridAxis &y = p_.grid.y, &x = p_.grid.x;
    if (flat_) {
      const int64_t pixels = y.size * x.size, tiles = divide_up(pixels, tiling_.tile_pixels);
      a.cols = divide_up(pixels, tiles);
      a.rows = divide_up(pixels, a.cols);
      a.last_cols = pixels - (a.rows - 1) * a.cols;
      a.out_start = 0, a.out_row = a.cols, a.out_col = 1;
      return;
    }
    a.rows = y.size, a.cols = a.last_cols = x.size;
    a.out_start = y.start * p_.out_width + x.start;
    a.out_row = y.step * p_.out_width, a.out_col = x.step;
  }

  void set_shortcut() {
    Conv2d& a = plan_->args;
    Conv2dShortcut& s = a.shortcut;
    s.channels = p_.shortcut.channels;
    s.in_blocks = blocks_of(s.channels, tiling_.panel.block);
    s.in_height = p_.shortcut.in_height, s.in_width = p_.shortcut.in_width;
    s.out_width = p_.out_width, s.stride_y = p_.shortcut.stride_y, s.stride_x = p_.shortcut.stride_x;
    s.chunk_blocks = std::max<int64_t>(1, kPanelBytes / (kBlock * tiling_.panel.vectors * kBlock * 4));
    s.copy = s.channels > 0 && (a.interleave > 1 || s.stride_y > 1 || s.stride_x > 1);
  }

  /// Phases of the stride in which an axis has taps, and how far beyond the grid they reach.
  static void set_axis(const GridAxis& axis, std::vector<int64_t>& phases, Conv2dCopyAxis& copy) {
    const int64_t least = axis.taps.empty() ? 0 : axis.taps.front().offset;
    copy = {axis.stride, least, 0, nullptr, 0};
    for (const GridAxis::Tap& tap : axis.taps) {
      const int64_t phase = (tap.offset - least) % axis.stride;
      if (std::find(phases.begin(), phases.end(), phase) == phases.end()) phases.push_back(phase);
      copy.extent = std::max(copy.extent, (tap.offset - least) / axis.stride);
    }
    if (phases.empty()) phases.push_back(0);
    copy.slots = static_cast<int64_t>(phases.size());
    copy.phase = phases.data();
  }

  int64_t input_blocks_of_task(int64_t panels) const {
    const std::vector<Conv2dPanel>& all = plan_->panels.panels;
    int64_t most = 0;
    for (size_t first = 0; first < all.size(); first += static_cast<size_t>(panels)) {
      const Conv2dPanel& last = all[std::min(all.size(), first + static_cast<size_t>(panels)) - 1];
      most = std::max<int64_t>(most, last.in_block + last.in_blocks - all[first].in_block);
    }
    return most;
  }

  /// Of all panels, the shortcut's too.
  double weights() const {
    const int64_t block = tiling_.panel.block;
    const int64_t shortcut = plan_->args.out_blocks * block * plan_->args.shortcut.in_blocks * block;
    return static_cast<double>(plan_->panels.floats + shortcut);
  }

  int64_t row_work() const {
    const double work = static_cast<double>(plan_->args.cols * plan_->args.interleave) * weights();
    return static_cast<int64_t>(std::min(work, 4e18)) + 1;
  }

  /// Bytes of input that one more row of a band adds.
  int64_t row_bytes() const {
    const Conv2d& a = plan_->args;
    const int64_t cols = a.copy ? a.copy_cols.slots * a.copy_cols.extent : a.cols;
    const int64_t lines = a.copy_rows.slots * cols * a.in_blocks * tiling_.parts + a.cols * a.shortcut.in_blocks;
    return lines * a.interleave * kLine * static_cast<int64_t>(sizeof(float));
  }

  // Bands of as many rows as the cache holds, and no more than gives every thread something to do.
  void choose_bands() {
    Conv2d& a = plan_->args;
    set_axis(p_.grid.y, plan_->row_phases, a.copy_rows);
    set_axis(p_.grid.x, plan_->col_phases, a.copy_cols);
    a.copy_cols.extent += a.cols;
    const int64_t groups = divide_up(a.pictures, a.interleave);
    const int64_t fit = std::max<int64_t>(1, tiling_.band_bytes / row_bytes() - a.copy_rows.extent);
    const int64_t busy = std::max(divide_up(a.rows * groups, tasks_), divide_up(tiling_.task_work, row_work()));
    // Rows copied for the border are paid for again by every band.
    const int64_t least = 4 * a.copy_rows.extent;
    a.bands = divide_up(a.rows, std::max(std::min(fit, busy), std::min(least, fit)));
    a.band_rows = divide_up(a.rows, a.bands);
    a.bands = divide_up(a.rows, a.band_rows);
    a.copy_rows.extent += a.band_rows;
    a.row_pitch = a.copy ? a.copy_cols.slots * a.copy_cols.extent : flat_ ? a.cols : a.in_width;
  }

  /// Bands of all groups of pictures.
  int64_t all_bands() const { return divide_up(plan_->args.pictures, plan_->args.interleave) * plan_->args.bands; }

  /// Tasks that share the panels of so many bands.
  int64_t chunks_of(int64_t task_bands) const {
    const Conv2d& a = plan_->args;
    const int64_t panels = std::max<int64_t>(1, a.panel_count);
    const int64_t panel_work = task_bands * std::max<int64_t>(1, a.band_rows * row_work() / panels);
    const int64_t most = std::clamp<int64_t>(panels * panel_work / tiling_.task_work, 1, panels);
    return std::min(divide_up(tasks_, divide_up(all_bands(), task_bands)), most);
  }

  /// Bytes that tasks read: each of bands the weights, each chunk of panels the bands, which it may have to copy. Too few
  /// tasks leave threads without.
  double reading_cost(int64_t band_tasks, int64_t chunks) const {
    const double weight_bytes = 64.0 * weights() / static_cast<double>(tiling_.panel.block);
    const double row = static_cast<double>(row_bytes()) * (plan_->args.copy || plan_->args.shortcut.copy ? 2 : 1);
    const double bands = static_cast<double>(all_bands() * plan_->args.band_rows) * row;
    const double idle = static_cast<double>(std::max<int64_t>(0, tasks_ - band_tasks * chunks));
    return static_cast<double>(band_tasks) * weight_bytes + static_cast<double>(chunks) * bands + 1e12 * idle;
  }

  // Several small bands share one reading of the weights; few bands leave the panels to several tasks.
  void choose_panels() {
    Conv2d& a = plan_->args;
    const int64_t all = all_bands(), fit = tiling_.band_bytes / (a.band_rows * row_bytes());
    const int64_t most = std::clamp<int64_t>(fit, 1, std::min(all, kMaxTaskBands));
    const int64_t least_tasks = divide_up(all, most);
    double best = 0;
    for (int64_t tasks = least_tasks; tasks <= std::max(least_tasks, std::min(all, tasks_)); ++tasks) {
      const int64_t bands = divide_up(all, tasks), chunks = chunks_of(bands);
      const double cost = reading_cost(divide_up(all, bands), chunks);
      if (a.task_bands && cost >= best) continue;
      best = cost;
      a.task_bands = bands;
      a.band_tasks = divide_up(all, bands);
      a.chunk_panels = divide_up(a.panel_count, chunks);
    }
    a.band_floats = a.copy ? input_blocks_of_task(a.chunk_panels) * a.copy_rows.slots * a.copy_rows.extent *
                                 a.row_pitch * a.interleave * kLine * tiling_.parts
                           : 0;
    Conv2dShortcut& s = a.shortcut;
    s.x_block = (s.copy ? a.band_rows * a.cols * a.interleave : s.in_height * s.in_width) * kLine;
    s.band_floats = kShortcutRoom * kLine + s.in_blocks * s.x_block;
    const int64_t block_bytes = std::max<int64_t>(1, a.taps) * kBlock * tiling_.panel.vectors * kBlock * 4;
    a.chunk_blocks = std::max<int64_t>(1, kPanelBytes / block_bytes);
  }

  int64_t tap_pixels(const GridAxis::Tap& ty, const GridAxis::Tap& tx) const {
    const Conv2d& a = plan_->args;
    if (!a.copy) return ty.offset * a.in_width + tx.offset;
    const auto slot = [](const std::vector<int64_t>& phases, int64_t distance, int64_t stride) {
      return std::find(phases.begin(), phases.end(), distance % stride) - phases.begin();
    };
    const int64_t y = ty.offset - a.copy_rows.start, x = tx.offset - a.copy_cols.start;
    const int64_t row = slot(plan_->row_phases, y, a.copy_rows.stride) * a.copy_rows.extent + y / a.copy_rows.stride;
    return row * a.row_pitch + slot(plan_->col_phases, x, a.copy_cols.stride) * a.copy_cols.extent +
           x / a.copy_cols.stride;
  }

  void set_taps() {
    Conv2d& a = plan_->args;
    const int64_t rest = a.pictures % a.interleave;
    for (const int64_t pictures : {a.interleave, rest})
      for (const GridAxis::Tap& ty : p_.grid.y.taps)
        for (const GridAxis::Tap& tx : p_.grid.x.taps)
          plan_->tap_offsets.push_back(tap_pixels(ty, tx) * pictures * kLine);
    a.tap_offsets = plan_->tap_offsets.data();
  }

  const GridProblem& p_;
  const Conv2dTiling& tiling_;
  const int64_t tasks_;  // wanted of one launch, if they are not too small
  std::shared_ptr<Conv2dPlan> plan_;
  bool flat_ = false;
};

}  // namespace

// No tile is faster than its chains of sums allow.
static double direct_cost(double points, int64_t vectors) {
  return std::max(points * static_cast<double>(vectors), 8.0) + 2.0;
}

// Measured: the cost of a product follows its rows down to eight or so.
static double bf16_cost(double points, int64_t) { return std::max(points, 8.0) + 2.0; }

Conv2dTiling direct_tiling(const Conv2dKernels& kernels) {
  // The more bands a task has, the fewer times it reads the weights.
  const int64_t bands = std::max<int64_t>(384 << 10, static_cast<int64_t>(second_level_cache() / 2));
  return {{kernels.panel_vectors}, kernels.tile_pixels, bands, 8 << 20, 8, direct_cost};
}

const Conv2dTiling kBf16Tiling = {{1, true, kBlockBf16}, 16, 1 << 20, 12 << 20, 1, bf16_cost};
const Conv2dTiling kSplitTiling = {{1, true, kBlockBf16}, 16, 1 << 20, 3 << 20, 1, bf16_cost, kSplitParts};

std::shared_ptr<Conv2dPlan> plan_grid(const GridProblem& problem, const Conv2dTiling& tiling, int threads) {
  return Cut(problem, tiling, threads).make();
}

}  // namespace thaw
