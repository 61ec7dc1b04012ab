// Lowering of conv2d_backward_weights in bf16 (kernels/conv2d_weights_bf16.h): how rows become positions, how many of
// them are a unit, and which tiles of channels and outputs a task takes.
#include "kernels/conv2d_weights_bf16.h"

#include <algorithm>
#include <memory>

#include "ops/conv2d_pack.h"

namespace thaw {

namespace {

constexpr int64_t kStep = 32;              // positions of a step
constexpr int64_t kUnitPositions = 512;    // rows of x and dy of a product stay in the first-level cache,
constexpr int64_t kSplitPositions = 256;   // in parts near it
constexpr int64_t kTaskBytes = 1280 << 10;  // packed operands and sums: within a second-level cache
constexpr int64_t kPartialBytes = 64 << 20;
constexpr int64_t kTasks = 8;              // wanted, where there is enough to do

/// Measured cycles: packing of a step of one block of x or dy, which mostly waits for it to come from memory, a product of
/// 32 × 32 × 32.
struct Costs {
  double pack_x, pack_dy, product;
};
constexpr Costs kCosts = {700, 350, 100}, kSplitCosts = {1400, 900, 600};
constexpr double kSums = 200, kPartialByte = 0.25;  // loading and storing a product's sums, a byte of partial sums

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Plan {
  Conv2dWeightsBf16 args{};
  Panels panels;
  std::vector<Conv2dWeightsTile> tiles;
  std::vector<int64_t> row_phases, col_phases, tap_offsets;
};

/// The phases of one axis in which there are taps, and how far the taps reach beyond the grid.
Conv2dCopyAxis phases_of(const GridAxis& axis, std::vector<int64_t>& phases) {
  const int64_t least = axis.taps.front().offset;
  int64_t reach = 0;
  for (const GridAxis::Tap& tap : axis.taps) {
    const int64_t phase = (tap.offset - least) % axis.stride;
    if (std::find(phases.begin(), phases.end(), phase) == phases.end()) phases.push_back(phase);
    reach = std::max(reach, (tap.offset - least) / axis.stride);
  }
  return {axis.stride, least, static_cast<int64_t>(phases.size()), phases.data(), reach};
}

/// Positions at the end of a row of `extent` that can be those at the start of the next: no phase has pixels there.
int64_t shared_border(const Conv2dCopyAxis& axis, int64_t extent, int64_t size, int64_t points) {
  int64_t shared = extent - points;
  for (int64_t s = 0; s < axis.slots; ++s) {
    const int64_t start = axis.start + axis.phase[s];
    const int64_t before = start < 0 ? divide_up(-start, axis.stride) : 0;
    const int64_t inside = start < size ? divide_up(size - start, axis.stride) : 0;
    shared = std::min({shared, before, std::max<int64_t>(0, extent - inside)});
  }
  return shared;
}

class Cut {
 public:
  /// `by_picture`: each picture is a chunk, whatever the number of pictures and threads.
  Cut(const Conv2dShape& c, const std::string& form, bool by_picture, int threads)
      : c_(c), grid_(forward_grid(c)), by_picture_(by_picture), split_(form.ends_with("split")), threads_(threads),
        costs_(split_ ? kSplitCosts : kCosts), unit_positions_(form == "split" ? kSplitPositions : kUnitPositions),
        plan_(std::make_shared<Plan>()), a_(plan_->args) {
    a_.narrow = form.starts_with("narrow");
    a_.parts = split_ ? kSplitParts : 1;
  }

  std::shared_ptr<Plan> make() {
    a_.pictures = c_.pictures();
    const int64_t block = split_ ? kBlock : kBlockBf16;
    a_.in_blocks = blocks_of(c_.in_channels(), block), a_.in_height = c_.x[2], a_.in_width = c_.x[3];
    a_.out_blocks = blocks_of(c_.out_channels(), block);
    a_.out_height = c_.out_height, a_.out_width = c_.out_width;
    a_.kernel_taps = c_.kernel_taps();
    a_.taps = a_.narrow ? 1 : a_.kernel_taps;
    a_.in_channels = c_.in_channels() * (a_.narrow ? a_.kernel_taps : 1);
    a_.out_channels = c_.out_channels(), a_.groups = c_.groups;
    a_.rows = phases_of(grid_.y, plan_->row_phases);
    a_.cols = phases_of(grid_.x, plan_->col_phases);
    row_reach_ = a_.rows.extent;
    a_.cols.extent += a_.out_width;
    a_.pitch = a_.cols.extent - shared_border(a_.cols, a_.cols.extent, a_.in_width, a_.out_width);
    choose_unit();
    set_taps();
    plan_->panels = panels_of({a_.in_channels, a_.out_channels, a_.groups}, a_.taps, {1, true, kBlockBf16});
    a_.panels = plan_->panels.panels.data();
    choose_tiles();
    return plan_;
  }

 private:
  int64_t picture_pitch(int64_t pictures, int64_t rows) const {
    const int64_t extent = rows + row_reach_;
    return (extent - (pictures > 1 ? shared_border(a_.rows, extent, a_.in_height, rows) : 0)) * a_.pitch;
  }
  int64_t positions(int64_t pictures, int64_t rows) const {
    return (pictures - 1) * picture_pitch(pictures, rows) + (rows - 1) * a_.pitch + a_.out_width;
  }
  /// Steps, the border that x has beside them, and what a product costs once.
  double unit_cost(int64_t pictures, int64_t rows) const {
    const double border = static_cast<double>(row_reach_ * a_.pitch * a_.rows.slots * a_.cols.slots * pictures);
    return static_cast<double>(divide_up(positions(pictures, rows), kStep)) + 2.0 + 0.2 * border / kStep;
  }

  // Some rows of a picture or some pictures, so that steps are full and borders few.
  void choose_unit() {
    a_.unit_pictures = 1, a_.unit_rows = 1;
    double best = 1e300;
    for (int64_t rows = 1; rows <= a_.out_height && (rows == 1 || positions(1, rows) <= unit_positions_); ++rows) {
      const double cost = static_cast<double>(divide_up(a_.out_height, rows)) * unit_cost(1, rows);
      if (cost < best) best = cost, a_.unit_rows = rows;
    }
    for (int64_t g = 2; !by_picture_ && g <= a_.pictures && positions(g, a_.out_height) <= unit_positions_; ++g) {
      const double units = static_cast<double>(divide_up(a_.pictures, g)) / static_cast<double>(a_.pictures);
      if (units * unit_cost(g, a_.out_height) >= best) continue;
      best = units * unit_cost(g, a_.out_height);
      a_.unit_pictures = g, a_.unit_rows = a_.out_height;
    }
    a_.units = a_.unit_pictures > 1 ? divide_up(a_.pictures, a_.unit_pictures)
                                    : a_.pictures * divide_up(a_.out_height, a_.unit_rows);
    a_.rows.extent = row_reach_ + a_.unit_rows;
    a_.picture_pitch = picture_pitch(a_.unit_pictures, a_.unit_rows);
    a_.slot_positions = (a_.unit_pictures - 1) * a_.picture_pitch + a_.rows.extent * a_.pitch + a_.cols.extent - a_.pitch;
    a_.steps = divide_up(positions(a_.unit_pictures, a_.unit_rows), kStep);
  }

  static int64_t slot(const std::vector<int64_t>& phases, int64_t phase) {
    return std::find(phases.begin(), phases.end(), phase) - phases.begin();
  }

  void set_taps() {
    for (const GridAxis::Tap& ty : grid_.y.taps)
      for (const GridAxis::Tap& tx : grid_.x.taps) {
        const int64_t y = ty.offset - a_.rows.start, x = tx.offset - a_.cols.start;
        const int64_t plane =
            slot(plan_->row_phases, y % a_.rows.stride) * a_.cols.slots + slot(plan_->col_phases, x % a_.cols.stride);
        plan_->tap_offsets.push_back(plane * a_.slot_positions + y / a_.rows.stride * a_.pitch + x / a_.cols.stride);
        a_.reach = std::max(a_.reach, plan_->tap_offsets.back());
      }
    a_.tap_offsets = plan_->tap_offsets.data();
    a_.x_steps = divide_up(a_.reach + a_.steps * kStep, kStep);
    // Rows an odd number of lines apart lie in different sets of a cache.
    a_.x_stride = ((a_.narrow ? a_.steps : a_.x_steps) | 1) * kStep * 2;
  }

  struct Choice {
    int64_t blocks, panels, chunks;
  };

  /// Cycles of all tasks together; infinite where a task does not fit the cache.
  double cost(const Choice& k, int64_t all_blocks, int64_t all_panels) const {
    const double blocks = static_cast<double>(k.blocks), panels = static_cast<double>(k.panels);
    const double taps = static_cast<double>(a_.taps), steps = static_cast<double>(a_.steps);
    const double sums = blocks * panels * taps * 4096.0;
    const double operands = blocks * 32.0 * static_cast<double>(a_.x_stride) + panels * steps * 2048.0;
    const double bytes = operands * static_cast<double>(a_.parts) + sums;
    if (bytes > kTaskBytes && (k.blocks > 1 || k.panels > 1)) return 1e300;
    const double tiles = static_cast<double>(divide_up(all_blocks, k.blocks) * divide_up(all_panels, k.panels));
    const double unit = blocks * costs_.pack_x * static_cast<double>(a_.x_steps) + panels * costs_.pack_dy * steps +
                        blocks * panels * taps * (costs_.product * steps + kSums);
    const double partial = static_cast<double>(2 * k.chunks + 1) * sums;
    return tiles * (static_cast<double>(a_.units) * unit + (k.chunks > 1 ? kPartialByte * partial : 0));
  }

  /// The cheapest cut among those with `wanted` tasks, or with the most, and with so many chunks.
  Choice choose(int64_t all_blocks, int64_t all_panels, int64_t families, int64_t wanted, int64_t least_chunks,
                int64_t most_chunks) const {
    Choice best{1, 1, least_chunks};
    double least = 1e308;
    int64_t most = 0;
    for (int64_t b = 1; b < 2 * all_blocks; b *= 2)
      for (int64_t p = 1; p < 2 * all_panels; p *= 2)
        for (int64_t chunks = least_chunks; chunks <= most_chunks; ++chunks) {
          const Choice k{std::min(b, all_blocks), std::min(p, all_panels), chunks};
          const int64_t tasks = std::min(
              wanted, divide_up(all_blocks, k.blocks) * divide_up(all_panels, k.panels) * families * chunks);
          const double cycles = cost(k, all_blocks, all_panels);
          if (tasks < most || (tasks == most && cycles >= least)) continue;
          best = k, least = cycles, most = tasks;
        }
    return best;
  }

  // Chunks decide the order of the sums, so they follow from the shape; tiles may follow from the threads.
  Choice choose_chunks(int64_t blocks, int64_t panels, int64_t families) const {
    const int64_t room = std::max<int64_t>(1, kPartialBytes / (blocks * panels * families * a_.taps * 4096));
    const int64_t chunks = choose(blocks, panels, families, kTasks, 1, std::min({a_.units, room, 2 * kTasks})).chunks;
    return choose(blocks, panels, families, 2 * threads_, chunks, chunks);
  }

  // Panels that read the same input blocks are a family: all of them, but in groups.
  void choose_tiles() {
    const std::vector<Conv2dPanel>& all = plan_->panels.panels;
    const int32_t count = static_cast<int32_t>(all.size());
    const auto family_end = [&](int32_t p) {
      int32_t end = p;
      while (end < count && all[end].in_block == all[p].in_block) ++end;
      return end;
    };
    int64_t families = 0;
    for (int32_t p = 0; p < count; p = family_end(p)) ++families;
    const int64_t blocks = all[0].in_blocks, panels = family_end(0);
    const Choice k = by_picture_ ? choose(blocks, panels, families, 1, 1, 1) : choose_chunks(blocks, panels, families);
    for (int32_t p = 0, end; p < count; p = end) {
      end = family_end(p);
      for (int32_t first = p; first < end; first += static_cast<int32_t>(k.panels))
        for (int32_t b = 0; b < all[p].in_blocks; b += static_cast<int32_t>(k.blocks))
          plan_->tiles.push_back({first, std::min(static_cast<int32_t>(k.panels), end - first), b,
                                  std::min(static_cast<int32_t>(k.blocks), all[p].in_blocks - b)});
    }
    a_.tiles = plan_->tiles.data();
    a_.tile_count = static_cast<int64_t>(plan_->tiles.size());
    for (const Conv2dWeightsTile& tile : plan_->tiles) {
      a_.most_blocks = std::max<int64_t>(a_.most_blocks, tile.blocks);
      a_.most_panels = std::max<int64_t>(a_.most_panels, tile.panels);
    }
    a_.tile_floats = a_.most_blocks * a_.most_panels * a_.taps * 1024;
    a_.chunks = by_picture_ ? a_.pictures : k.chunks;
    a_.parted = by_picture_ || a_.chunks > 1;
  }

  const Conv2dShape& c_;
  const Grid grid_;
  const bool by_picture_, split_;
  const int threads_;
  const Costs costs_;
  const int64_t unit_positions_;
  std::shared_ptr<Plan> plan_;
  Conv2dWeightsBf16& a_;
  int64_t row_reach_ = 0;
};

struct Buffers {
  Buffer x, dy, partial, dweight;
};

auto fill_of(const std::shared_ptr<Plan>& plan, Buffers b) {
  return [=](Run& run) {
    Conv2dWeightsBf16 args = plan->args;
    args.x = run.at(b.x), args.dy = run.at(b.dy);
    args.partial = run.f32(b.partial), args.dweight = run.f32(b.dweight);
    return args;
  };
}

void launch_sums(Lower& lower, const Conv2dWeightsBf16Kernels& kernels, const std::shared_ptr<Plan>& plan, Buffers b) {
  const Conv2dWeightsBf16& a = plan->args;
  lower.launch(kernels.weights, a.tile_count * a.chunks, static_cast<size_t>(conv2d_weights_bf16_scratch(a)),
               fill_of(plan, b));
}

void launch_join(Lower& lower, const Conv2dWeightsBf16Kernels& kernels, const std::shared_ptr<Plan>& plan, Buffers b) {
  const Conv2dWeightsBf16& a = plan->args;
  lower.launch(kernels.join, a.tile_count * a.most_panels, static_cast<size_t>(a.taps) * 4096, fill_of(plan, b));
}

}  // namespace

void lower_weights_bf16(Lower& lower, const Conv2dShape& c, const std::string& form) {
  const Conv2dWeightsBf16Kernels& kernels = conv2d_weights_bf16_kernels(lower.isa());
  const std::shared_ptr<Plan> plan = Cut(c, form, false, lower.threads()).make();
  const Conv2dWeightsBf16& a = plan->args;
  const Buffer partial =
      a.parted ? lower.workspace(static_cast<size_t>(a.chunks * a.tile_count * a.tile_floats) * sizeof(float)) : kNone;
  const Buffers buffers{lower.input(0), lower.input(1), partial, lower.output(0)};
  launch_sums(lower, kernels, plan, buffers);
  if (a.parted) launch_join(lower, kernels, plan, buffers);
}

int64_t weights_bf16_words(const Conv2dShape& c) {
  const std::shared_ptr<Plan> plan = Cut(c, "bf16", true, 1).make();
  return plan->args.tile_count * plan->args.tile_floats;
}

void lower_weights_bf16_sums(Lower& lower, const Conv2dShape& c) {
  const std::shared_ptr<Plan> plan = Cut(c, "bf16", true, 1).make();
  const Buffers buffers{lower.input(0), lower.input(1), lower.output(0), kNone};
  launch_sums(lower, conv2d_weights_bf16_kernels(lower.isa()), plan, buffers);
}

void lower_weights_bf16_join(Lower& lower, const Conv2dShape& c) {
  const std::shared_ptr<Plan> plan = Cut(c, "bf16", true, 1).make();
  const Buffers buffers{kNone, kNone, lower.input(0), lower.output(0)};
  launch_join(lower, conv2d_weights_bf16_kernels(lower.isa()), plan, buffers);
}

}  // namespace thaw
