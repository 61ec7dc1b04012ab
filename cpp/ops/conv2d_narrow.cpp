// The form "narrow" of a convolution, in f32: a network's first reads plain pictures where they lie. Bands do not change
// the results: every output is one chain of sums (kernels/cpu/conv2d_narrow.cpp).
#include "kernels/conv2d_narrow.h"

#include <algorithm>
#include <memory>

#include "ops/conv2d_pack.h"

namespace thaw {

namespace {

constexpr int64_t kMostChannels = 4;
constexpr int64_t kCopyBytes = 192 << 10;  // of a band: it stays in the second-level cache
constexpr int64_t kBandRows = 16;

struct NarrowPlan {
  NarrowConv2d args{};
  Panels panels;
  std::vector<int64_t> offsets;
};

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t extent(const GridAxis& axis) { return axis.taps.back().offset - axis.taps.front().offset; }

void set_band(NarrowConv2d& a, const GridProblem& p) {
  const GridAxis &y = p.grid.y, &x = p.grid.x;
  a.phase_cols = p.out_width + extent(x) / x.stride;
  const int64_t row_bytes = p.channels.in * x.stride * a.phase_cols * static_cast<int64_t>(sizeof(float));
  const int64_t fit = (kCopyBytes / row_bytes - extent(y)) / y.stride;
  a.band_rows = std::clamp<int64_t>(fit, 1, std::min(kBandRows, p.out_height));
  a.bands = divide_up(p.out_height, a.band_rows);
  a.band_rows = divide_up(p.out_height, a.bands);
  a.bands = divide_up(p.out_height, a.band_rows);
  a.copy_rows = (a.band_rows - 1) * y.stride + extent(y) + 1;
}

std::shared_ptr<NarrowPlan> plan_narrow(const GridProblem& p, int64_t vectors) {
  const auto plan = std::make_shared<NarrowPlan>();
  NarrowConv2d& a = plan->args;
  const GridAxis &y = p.grid.y, &x = p.grid.x;
  const int64_t taps = static_cast<int64_t>(y.taps.size() * x.taps.size());
  a.pictures = p.pictures, a.channels = p.channels.in, a.in_height = p.in_height, a.in_width = p.in_width;
  a.out_channels = p.channels.out, a.out_blocks = blocks_of(p.channels.out);
  a.out_height = p.out_height, a.out_width = p.out_width;
  a.stride_y = y.stride, a.stride_x = x.stride, a.start_y = y.taps.front().offset, a.start_x = x.taps.front().offset;
  set_band(a, p);
  for (const GridAxis::Tap& ty : y.taps)
    for (const GridAxis::Tap& tx : x.taps)
      for (int64_t c = 0; c < a.channels; ++c) {
        const int64_t row = c * a.copy_rows + ty.offset - a.start_y, col = tx.offset - a.start_x;
        plan->offsets.push_back((row * x.stride + col % x.stride) * a.phase_cols + col / x.stride);
      }
  plan->panels = panels_of(p.channels, taps, {vectors});
  a.panels = plan->panels.panels.data(), a.panel_count = static_cast<int64_t>(plan->panels.panels.size());
  a.offsets = plan->offsets.data(), a.products = static_cast<int64_t>(plan->offsets.size());
  return plan;
}

}  // namespace

bool takes_narrow(Select& select, const Conv2dShape& c) {
  const bool fits = c.in_channels() <= kMostChannels && c.groups == 1;
  if (!fits)
    select.declined("narrow", "expected up to " + std::to_string(kMostChannels) +
                                  " channels in one group, received a weight of shape " + to_string(c.weight));
  return fits;
}

void lower_narrow(Lower& lower, const GridProblem& problem, const GridOperands& o) {
  const std::shared_ptr<NarrowPlan> plan = plan_narrow(problem, conv2d_kernels(lower.isa()).panel_vectors);
  const NarrowConv2d& a = plan->args;
  const int64_t floats = a.channels * a.copy_rows * a.stride_x * a.phase_cols;
  lower.launch(conv2d_narrow_kernels(lower.isa()).direct, a.pictures * a.bands,
               static_cast<size_t>(floats) * sizeof(float), [=](Run& run) {
                 NarrowConv2d args = plan->args;
                 args.x = run.f32(o.x), args.weights = run.f32(o.weights), args.bias = run.f32(o.bias);
                 args.residual = run.f32(o.residual), args.y = run.f32(o.y);
                 args.activation = o.activation, args.alpha = o.alpha;
                 return args;
               });
}

}  // namespace thaw
