// Winograd's convolution: choice, packing and the cut into groups of tiles and tasks. No cut changes the results: the
// numbers of a tile do not depend on its group, every sum has one order (kernels/cpu/conv2d_winograd.cpp).
#include "ops/conv2d_winograd.h"

#include <algorithm>
#include <memory>

#include "kernels/conv2d_winograd.h"

namespace thaw {

namespace {

constexpr int64_t kGroupTiles = 28;       // inputs and products of a group stay in the second-level cache
constexpr int64_t kWeighGroupTiles = 64;  // the more of them share weights that are transformed for the group
constexpr int64_t kSumBlocks = 4;         // longer chains of sums round off more
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
  Cut(const GridProblem& problem, const WinogradKernels& kernels, bool weigh, int threads)
      : p_(problem), kernels_(kernels), tasks_(threads > 1 ? kTasksOfThread * threads : 1),
        plan_(std::make_shared<WinogradPlan>()) {
    plan_->args.weigh = weigh;
  }

  std::shared_ptr<WinogradPlan> make() {
    set_shapes();
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
  void set_shapes() {
    Winograd& a = plan_->args;
    a.in_channels = p_.channels.in, a.in_blocks = blocks_of(p_.channels.in);
    a.in_height = p_.in_height, a.in_width = p_.in_width;
    a.out_channels = p_.channels.out, a.out_blocks = blocks_of(p_.channels.out);
    a.out_height = p_.out_height, a.out_width = p_.out_width;
    a.pad_top = -p_.grid.y.taps.front().offset, a.pad_left = -p_.grid.x.taps.front().offset;
    a.tile_rows = divide_up(a.out_height, kWinogradTile), a.tile_cols = divide_up(a.out_width, kWinogradTile);
    a.tiles = p_.pictures * a.tile_rows * a.tile_cols;
    a.panel_count = divide_up(a.out_blocks, kernels_.panel_vectors);
    a.sum_blocks = kSumBlocks;
  }

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
  int64_t tasks_;
  std::shared_ptr<WinogradPlan> plan_;
};

/// Multiplications, and what else takes their time, that one picture costs: in units of one for each pair of channels.
double direct_cost(const Conv2dShape& c) { return static_cast<double>(9 * c.out_height * c.out_width); }

double winograd_cost(const Conv2dShape& c) {
  const double in = static_cast<double>(c.in_channels()), out = static_cast<double>(c.out_channels());
  const int64_t rows = divide_up(c.out_height, kWinogradTile), cols = divide_up(c.out_width, kWinogradTile);
  const double weights = winograd_prepares(c.weight) ? 0 : 115;
  return static_cast<double>(rows * cols) * (36 + 290 / out + 330 / in) + weights;
}

/// Why the convolution cannot or should not be computed so; empty: it should.
std::string reason_against(const Select& select, const Conv2dShape& c) {
  const bool fits = c.weight[2] == 3 && c.weight[3] == 3 && c.groups == 1 && c.stride == std::vector<int64_t>{1, 1} &&
                    c.dilation == std::vector<int64_t>{1, 1};
  if (!fits)
    return "expected a kernel of 3×3 with stride 1, dilation 1 and one group, received a weight of shape " +
           to_string(c.weight);
  if (!select.inference()) return "expected a convolution that no gradient goes through, received one of training";
  // One picture decides, for batches must not change the bits.
  if (c.out_height * c.out_width < kWinogradTile * kWinogradTile || winograd_cost(c) > 0.8 * direct_cost(c))
    return "expected a picture and channels large enough for tiles of 4×4, received an output of shape " +
           to_string(c.out());
  return "";
}

}  // namespace

bool winograd_prepares(const Shape& weight) {
  return weight[0] * weight[1] * kWinogradProducts * static_cast<int64_t>(sizeof(float)) <= kWeightBytes;
}

bool takes_winograd(Select& select, const Conv2dShape& c) {
  const std::string why = reason_against(select, c);
  if (!why.empty()) select.declined("winograd", why);
  return why.empty();
}

void lower_winograd_pack(Lower& lower, const Conv2dShape& c) {
  const WinogradKernels& kernels = winograd_kernels(lower.isa());
  const Buffer weight = lower.input(0), packed = lower.output(0);
  const int64_t in = c.in_channels(), out = c.out_channels();
  lower.launch(kernels.pack, divide_up(blocks_of(out), kernels.panel_vectors), 0,
               [=](Run& run) { return WinogradPack{run.f32(weight), run.f32(packed), in, out}; });
}

void lower_winograd(Lower& lower, const GridProblem& problem, const GridOperands& o) {
  const WinogradKernels& kernels = winograd_kernels(lower.isa());
  const bool weigh = lower.attrs().at("pack").at("form").as_string() == "direct";
  const std::shared_ptr<WinogradPlan> plan = Cut(problem, kernels, weigh, lower.threads()).make();
  const Winograd& a = plan->args;
  Buffer inputs = kNone;
  if (plan->shared)
    inputs = lower.workspace(static_cast<size_t>(a.groups * winograd_floats(a.in_blocks * a.group_tiles)) *
                             sizeof(float));
  const auto fill = [=](Run& run) {
    Winograd args = plan->args;
    args.x = run.f32(o.x), args.weights = run.f32(o.weights), args.bias = run.f32(o.bias);
    args.residual = run.f32(o.residual), args.y = run.f32(o.y), args.v = run.f32(inputs);
    args.activation = o.activation, args.alpha = o.alpha;
    return args;
  };
  if (plan->shared) lower.launch(kernels.transform, a.groups * a.in_blocks, 0, fill);
  lower.launch(kernels.multiply, plan->tasks, plan->scratch, fill);
}

}  // namespace thaw
