// Winograd's convolution: choice, packing and the cut into groups of tiles and tasks. No cut changes the results: the
// numbers of a tile do not depend on its group, every sum has one order (kernels/cpu/conv2d_winograd.cpp).
#include "ops/conv2d_winograd.h"

#include <algorithm>
#include <memory>

namespace thaw {

namespace {

// Of the cost of direct sums. Where a gradient goes through, rounding has to pay more; sums over few channels are so
// exact there that gradients would suffer.
constexpr double kMostCost = 0.8, kMostTrainedCost = 0.65;
constexpr int64_t kTrainedChannels = 64;

constexpr int64_t kGroupTiles = 28;       // inputs and products of a group stay in the second-level cache
constexpr int64_t kWeighGroupTiles = 64;  // the more of them share weights that are transformed for the group
constexpr int64_t kSumBlocks = 4;         // longer chains of sums round off more,
constexpr int64_t kTrainedSumBlocks = 1;  // and gradients want exact ones more than a tenth of the time
constexpr int64_t kTasksOfThread = 4;      // wanted of one launch, if they are not too small
constexpr int64_t kTaskWork = 2 << 20;     // multiplications of a task
constexpr int64_t kWeightBytes = 5 << 20;  // larger transformed weights take longer to read than to make again

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct WinogradPlan {
  Winograd args{};
  int64_t tasks = 0;
  size_t scratch = 0;
  bool shared = false;  // inputs are transformed by a launch of their own, for several tasks
};

class Cut {
 public:
  Cut(const GridProblem& problem, const WinogradKernels& kernels, bool weigh, bool trained, int threads)
      : p_(problem), kernels_(kernels), weigh_(weigh), trained_(trained),
        tasks_(threads > 1 ? kTasksOfThread * threads : 1), plan_(std::make_shared<WinogradPlan>()) {}

  std::shared_ptr<WinogradPlan> make() {
    plan_->args = winograd_shapes(p_);
    plan_->args.weigh = weigh_;
    plan_->args.chain_blocks = trained_ ? kTrainedSumBlocks : kSumBlocks;
    plan_->args.sum_blocks = kSumBlocks;
    plan_->args.panel_count = divide_up(plan_->args.out_blocks, kernels_.panel_vectors);
    choose_groups();
    choose_panels();
    const Winograd& a = plan_->args;
    plan_->tasks = a.groups * divide_up(a.panel_count, a.chunk_panels);
    int64_t floats = winograd_floats(kernels_.panel_vectors * a.group_tiles);
    if (!plan_->shared) floats += winograd_floats(a.in_blocks * a.group_tiles);
    if (a.weigh) floats += winograd_floats(a.sum_blocks * kBlock * kernels_.panel_vectors);
    plan_->scratch = static_cast<size_t>(floats) * sizeof(float);
    return plan_;
  }

 private:
  // Whole steps of the kernel, and no group much smaller than the others.
  void choose_groups() {
    Winograd& a = plan_->args;
    const int64_t wanted = a.weigh ? kWeighGroupTiles : kGroupTiles;
    a.groups = divide_up(a.tiles, divide_up(wanted, kernels_.tile_pixels) * kernels_.tile_pixels);
    a.group_tiles = divide_up(a.tiles, a.groups);
    a.groups = divide_up(a.tiles, a.group_tiles);
  }

  // A task takes all panels of a group, or where groups are few some: they share one transform of the inputs then.
  void choose_panels() {
    Winograd& a = plan_->args;
    const double work = static_cast<double>(a.tiles * kWinogradProducts) *
                        static_cast<double>(a.in_channels * a.out_channels);
    const int64_t busy = 1 + static_cast<int64_t>(std::min(work / kTaskWork, static_cast<double>(tasks_)));
    plan_->shared = a.groups < std::min(busy, tasks_ / 2) && a.panel_count > 1;
    a.chunk_panels = plan_->shared ? divide_up(a.panel_count, divide_up(busy, a.groups)) : a.panel_count;
  }

  const GridProblem& p_;
  const WinogradKernels& kernels_;
  bool weigh_, trained_;
  int64_t tasks_;
  std::shared_ptr<WinogradPlan> plan_;
};

/// Multiplications, and what else takes their time, that one picture costs: in units of one for each pair of channels.
double direct_cost(int64_t height, int64_t width) { return static_cast<double>(9 * height * width); }

double winograd_cost(const Conv2dShape& c, bool backward, int64_t height, int64_t width) {
  const double in = static_cast<double>(backward ? c.out_channels() : c.in_channels());
  const double out = static_cast<double>(backward ? c.in_channels() : c.out_channels());
  const int64_t rows = divide_up(height, kWinogradTile), cols = divide_up(width, kWinogradTile);
  const double weights = winograd_prepares(c.weight) ? 0 : 115;
  return static_cast<double>(rows * cols) * (36 + 290 / out + 330 / in) + weights;
}

/// Why the convolution cannot or should not be computed so; empty: it should.
std::string reason_against(const Select& select, const Conv2dShape& c, bool backward) {
  if (!fits_winograd(c))
    return "expected a kernel of 3×3 with stride 1, dilation 1 and one group, received a weight of shape " +
           to_string(c.weight);
  const bool trained = !select.inference();
  if (trained && std::min(c.in_channels(), c.out_channels()) < kTrainedChannels)
    return "expected " + std::to_string(kTrainedChannels) +
           " channels or more where a gradient goes through, received a weight of shape " + to_string(c.weight);
  // One picture decides, for batches must not change the bits.
  const Shape result = backward ? c.x : c.out();
  const int64_t height = result[2], width = result[3];
  if (height * width < kWinogradTile * kWinogradTile ||
      winograd_cost(c, backward, height, width) >
          (trained ? kMostTrainedCost : kMostCost) * direct_cost(height, width))
    return "expected a picture and channels large enough for tiles of 4×4, received a result of shape " +
           to_string(result);
  return "";
}

}  // namespace

bool fits_winograd(const Conv2dShape& c) {
  const std::vector<int64_t> one{1, 1};
  return c.weight[2] == 3 && c.weight[3] == 3 && c.groups == 1 && c.stride == one && c.dilation == one;
}

bool winograd_prepares(const Shape& weight) {
  return weight[0] * weight[1] * kWinogradProducts * static_cast<int64_t>(sizeof(float)) <= kWeightBytes;
}

bool takes_winograd(Select& select, const Conv2dShape& c, bool backward) {
  const std::string why = reason_against(select, c, backward);
  if (!why.empty()) select.declined("winograd", why);
  else select.node().attrs.set("trained", !select.inference());
  return why.empty();
}

Winograd winograd_shapes(const GridProblem& p) {
  Winograd a{};
  a.in_channels = p.channels.in, a.in_blocks = blocks_of(p.channels.in);
  a.in_height = p.in_height, a.in_width = p.in_width;
  a.out_channels = p.channels.out, a.out_blocks = blocks_of(p.channels.out);
  a.out_height = p.out_height, a.out_width = p.out_width;
  a.pad_top = -p.grid.y.taps.front().offset, a.pad_left = -p.grid.x.taps.front().offset;
  a.tile_rows = divide_up(a.out_height, kWinogradTile), a.tile_cols = divide_up(a.out_width, kWinogradTile);
  a.tiles = p.pictures * a.tile_rows * a.tile_cols;
  return a;
}

void bind_winograd(const Run& run, const GridOperands& o, Winograd& a) {
  a.x = run.f32(o.x), a.weights = run.f32(o.weights), a.bias = run.f32(o.bias);
  a.residual = run.f32(o.residual), a.gate = run.f32(o.gate), a.y = run.f32(o.y), a.y_gap = o.y_gap;
  a.activation = o.activation, a.alpha = o.alpha;
}

void lower_winograd_pack(Lower& lower, const Conv2dShape& c) {
  const WinogradKernels& kernels = winograd_kernels(lower.isa());
  const Buffer weight = lower.input(0), packed = lower.output(0);
  const bool backward = lower.attrs().get("backward", false);
  const int64_t in = backward ? c.out_channels() : c.in_channels();
  const int64_t out = backward ? c.in_channels() : c.out_channels();
  lower.launch(kernels.pack, divide_up(blocks_of(out), kernels.panel_vectors), 0,
               [=](Run& run) { return WinogradPack{run.f32(weight), run.f32(packed), in, out, backward}; });
}

void lower_winograd(Lower& lower, const GridProblem& problem, const GridOperands& o) {
  const WinogradKernels& kernels = winograd_kernels(lower.isa());
  const bool weigh = lower.attrs().at("pack").at("form").as_string() == "direct";
  const bool trained = lower.attrs().at("trained").as_bool();
  const std::shared_ptr<WinogradPlan> plan = Cut(problem, kernels, weigh, trained, lower.threads()).make();
  const Winograd& a = plan->args;
  Buffer inputs = kNone;
  if (plan->shared)
    inputs = lower.workspace(static_cast<size_t>(a.groups * winograd_floats(a.in_blocks * a.group_tiles)) *
                             sizeof(float));
  const auto fill = [=](Run& run) {
    Winograd args = plan->args;
    bind_winograd(run, o, args);
    args.v = run.f32(inputs);
    return args;
  };
  if (plan->shared) lower.launch(kernels.transform, a.groups * a.in_blocks, 0, fill);
  lower.launch(kernels.multiply, plan->tasks, plan->scratch, fill);
}

}  // namespace thaw
