// conv2d(x [N,C,H,W], weight, bias? [K], depthwise weight, depthwise bias? [K]) with the attributes expand and depthwise:
// what two nodes compute, a 1x1 and the depthwise one that alone reads it, in bands of rows of a panel of channels. What
// lies between them, six times as large as what goes in, stays in the second-level cache.
#include <algorithm>
#include <memory>

#include "ops/conv2d_pack.h"
#include "ops/product.h"

namespace thaw {

namespace {

constexpr int64_t kBandBytes = 256 << 10;

struct Expansion {
  Conv2dShape wide;  // the 1x1
  Conv2dShape deep;  // the depthwise one
  bool bf16;
  std::shared_ptr<Conv2dPlan> plan;  // of the rows that a band reads, all panels
  GridProblem band;                  // from these rows to a band of the output
  std::vector<int64_t> offset_y, offset_x;
  int64_t bands, rows;  // of the output
  int64_t plane;        // of one block of a band, in units of four bytes
  int64_t blocks;       // most that a panel has
  Activation wide_activation, deep_activation;
  float wide_alpha, deep_alpha;
};

float alpha_of(const Json& attrs) { return static_cast<float>(attrs.get("alpha", 0.01)); }

GridProblem rows_of(const Conv2dShape& c, int64_t in_height, int64_t out_height) {
  GridProblem p;
  p.grid = forward_grid(c);
  p.grid.y.size = out_height;
  p.channels = {c.in_channels(), c.out_channels(), c.groups};
  p.pictures = 1;
  p.in_height = in_height, p.in_width = c.x[3];
  p.out_height = out_height, p.out_width = c.out_width;
  return p;
}

Expansion expansion_of(const Lower& lower) {
  const Json &wide = lower.attrs().at("expand"), &deep = lower.attrs().at("depthwise");
  Expansion e{};
  e.wide = conv2d_shape(wide, lower.in(0).shape, wide.at("weight_shape").as_ints());
  e.deep = conv2d_shape(deep, e.wide.out(), deep.at("weight_shape").as_ints());
  e.bf16 = wide.at("kernel").as_string() == "bf16";
  e.wide_activation = fused_activation(wide), e.deep_activation = fused_activation(deep);
  e.wide_alpha = alpha_of(wide), e.deep_alpha = alpha_of(deep);

  const Conv2dTiling tiling = e.bf16 ? kBf16Tiling : direct_tiling(conv2d_kernels(lower.isa()));
  const int64_t height = e.deep.x[2], width = e.deep.x[3], stride = e.deep.stride[0];
  const int64_t reach = (e.deep.weight[2] - 1) * e.deep.dilation[0];
  const int64_t fit = kBandBytes / (width * 64 * tiling.panel.vectors);
  e.rows = std::clamp<int64_t>((fit - reach - 1) / stride + 1, 1, e.deep.out_height);
  e.bands = (e.deep.out_height + e.rows - 1) / e.rows;
  e.rows = (e.deep.out_height + e.bands - 1) / e.bands;
  e.bands = (e.deep.out_height + e.rows - 1) / e.rows;
  const int64_t in_rows = std::min(height, (e.rows - 1) * stride + reach + 1);
  e.plan = plan_grid(rows_of(e.wide, in_rows, in_rows), tiling, 1);
  e.plan->args.in_height = height;
  e.plan->args.chunk_panels = 1;
  e.band = rows_of(e.deep, in_rows, e.rows);
  e.band.out_height = e.deep.out_height;
  for (const GridAxis::Tap& tap : e.band.grid.y.taps) e.offset_y.push_back(tap.offset);
  for (const GridAxis::Tap& tap : e.band.grid.x.taps) e.offset_x.push_back(tap.offset);
  e.plane = in_rows * width * kBlock, e.blocks = tiling.panel.vectors;
  return e;
}

/// Operands of one run.
struct Operands {
  const float *x, *weights, *bias, *deep_weights, *deep_bias;
  float* y;
};

/// Where a task works.
struct Place {
  int64_t picture, panel, row, rows, in_row;
};

Place place_of(const Expansion& e, int64_t task) {
  Place p;
  const int64_t band = task % e.bands, panels = e.plan->args.panel_count;
  p.panel = task / e.bands % panels, p.picture = task / e.bands / panels;
  p.row = band * e.rows, p.rows = std::min(e.rows, e.deep.out_height - p.row);
  // Near the borders a band reads more rows than it needs, so that all bands are alike.
  p.in_row = std::clamp<int64_t>(p.row * e.deep.stride[0] - e.deep.padding[0], 0, e.deep.x[2] - e.band.in_height);
  return p;
}

Conv2d wide_args(const Expansion& e, const Operands& o, const Place& p, float* map) {
  Conv2d a = e.plan->args;
  a.x = o.x + ((p.picture * a.in_blocks * a.in_height) + p.in_row) * a.in_width * kBlock;
  a.weights = o.weights, a.bias = o.bias;
  // The kernel counts blocks from the picture's first, the map holds this panel's alone.
  a.y = map - a.panels[p.panel].out_block * e.plane;
  a.activation = e.wide_activation, a.alpha = e.wide_alpha;
  return a;
}

void run_deep(const Expansion& e, const DepthwiseForm& form, const Operands& o, const Place& p, const float* map) {
  const Conv2dPanel& panel = e.plan->panels.panels[static_cast<size_t>(p.panel)];
  std::vector<int64_t> offset_y = e.offset_y;
  for (int64_t& offset : offset_y) offset += p.row * e.deep.stride[0] - p.in_row;
  const int64_t taps = e.deep.kernel_taps(), blocks = blocks_of(e.deep.out_channels(), form.block);
  for (int64_t v = 0; v < panel.vectors; ++v) {
    const int64_t block = panel.out_block + v;
    Depthwise a = depthwise_args(e.band, form.block);
    a.blocks = 1, a.channels = e.deep.out_channels() - block * form.block, a.rows = p.rows;
    a.x = map + v * e.plane;
    a.weights = o.deep_weights + block * taps * form.block;
    a.bias = o.deep_bias ? o.deep_bias + block * form.block : nullptr;
    a.y = o.y + ((p.picture * blocks + block) * e.deep.out_height + p.row) * e.deep.out_width * kBlock;
    a.offset_y = offset_y.data(), a.offset_x = e.offset_x.data();
    a.activation = e.deep_activation, a.alpha = e.deep_alpha;
    form.kernels.direct(a, 0, nullptr);
  }
}

}  // namespace

void lower_expansion(Lower& lower) {
  const auto e = std::make_shared<const Expansion>(expansion_of(lower));
  if (e->wide.pictures() == 0) return;
  const Conv2d& grid = e->plan->args;
  const size_t map = static_cast<size_t>(e->plane * e->blocks) * sizeof(float);
  const size_t scratch = map + (e->bf16 ? bf16_scratch(*e->plan) : direct_scratch(*e->plan));
  const int64_t tasks = e->wide.pictures() * grid.panel_count * e->bands;
  const DepthwiseForm form = depthwise_form(lower.attrs().at("depthwise").at("kernel").as_string(), lower.isa());
  const auto direct = conv2d_kernels(lower.isa()).direct;
  const auto direct_bf16 = conv2d_bf16_kernels(lower.isa()).direct;
  const Buffer x = lower.input(0), weights = lower.input(1), bias = lower.input(2), deep_weights = lower.input(3),
               deep_bias = lower.input(4), y = lower.output(0);
  lower.announce(scratch);
  lower.add([=](Run& run) {
    const Operands o{run.f32(x),         run.f32(weights), run.f32(bias), run.f32(deep_weights),
                     run.f32(deep_bias), run.f32(y)};
    run.parallel(tasks, scratch, [&](int64_t task, void* memory) {
      const Place p = place_of(*e, task);
      float* to = static_cast<float*>(memory);
      void* rest = static_cast<char*>(memory) + map;
      Conv2dBf16 args = bf16_args(*e->plan);
      args.grid = wide_args(*e, o, p, to);
      for (int64_t i = 0; i < args.grid.band_tasks; ++i) {
        const int64_t part = p.panel * args.grid.band_tasks + i;
        if (e->bf16) direct_bf16(args, part, rest);
        else direct(args.grid, part, rest);
      }
      run_deep(*e, form, o, p, to);
    });
  });
}

}  // namespace thaw
