// conv2d_backward_data(dy [N,K,oh,ow], weight, residual?, gate?) → dx: attributes of conv2d and input_shape [N,C,H,W].
//   dx = sum over taps of weightᵀ dy: one grid per phase of the stride (ops/conv2d_geometry.h), run by the forward
//   kernel. Set by passes: residual [N,C,H,W], another gradient to be added, and gate [N,C,H,W], the output of a relu:
//   where it is 0, so is dx.
// conv2d_backward_weights(x, dy) → dweight [K,C/groups,kh,kw]: attributes of conv2d and weight_shape.
// conv2d_backward_weights_sums(x, dy) → partial [N, …], conv2d_backward_weights_join(partial; and input_shape) → dweight:
//   the same in two, the first of which sees one picture at a time; in bf16.
#include <algorithm>
#include <memory>

#include "kernels/elementwise.h"
#include "ops/conv2d_winograd.h"

namespace thaw {

namespace {

void check_dy(Infer& infer, size_t operand, const Conv2dShape& c) {
  infer.expect_f32(operand, 4);
  infer.expect_shape(operand, c.out());
}

Conv2dShape checked_shape(Infer& infer, const Shape& x, const Shape& weight) {
  return conv2d_shape(infer.attrs(), x, weight, [&](const std::string& expected, const std::string& received) {
    infer.fail(expected, received);
  });
}

void infer_data(Infer& infer) {
  const Shape x = infer.attrs().at("input_shape").as_ints();
  check_dy(infer, 0, checked_shape(infer, x, infer.attrs().get("weight_shape", infer.shape(1))));
  for (size_t operand : {2, 3})
    if (infer.has(operand)) infer.expect_f32(operand), infer.expect_shape(operand, x);
  infer.output(DType::f32, x);
}

void layout_data(const Graph&, const Node& node, Layouts& layouts) {
  layouts.inputs[0] = layouts.outputs[0] = conv2d_layout(node);
  for (size_t operand = 2; operand < node.inputs.size(); ++operand) layouts.inputs[operand] = layouts.outputs[0];
}

bool has_no_taps(const Grid& grid) { return grid.y.taps.empty() || grid.x.taps.empty(); }

void lower_zeros(Lower& lower) {
  const Buffer y = lower.output(0);
  const int64_t count = static_cast<int64_t>(physical_bytes(lower.out(0)) / sizeof(float));
  lower.launch(elementwise_kernels(lower.isa()).fill, chunks(count), 0, [=](Run& run) { return Fill{run.f32(y), count, 0}; });
}

void lower_data(Lower& lower) {
  const Conv2dShape c = conv2d_shape(lower.attrs(), lower.attrs().at("input_shape").as_ints(),
                                     lower.attrs().at("weight_shape").as_ints());
  const std::vector<int64_t> offsets = packed_offsets(lower.attrs().at("pack"), c.weight);
  const std::vector<Grid> grids = backward_grids(c);
  // One pass of zeros costs less than the grids of pixels that no weight reaches.
  const bool zeros = lower.input(2) == kNone && std::any_of(grids.begin(), grids.end(), has_no_taps);
  if (zeros) lower_zeros(lower);
  for (size_t i = 0; i < grids.size(); ++i) {
    if (zeros && has_no_taps(grids[i])) continue;
    GridProblem problem;
    problem.grid = grids[i];
    problem.channels = {c.out_channels(), c.in_channels(), c.groups};
    problem.pictures = c.pictures();
    problem.in_height = c.out_height, problem.in_width = c.out_width;
    problem.out_height = c.x[2], problem.out_width = c.x[3];
    problem.weights_offset = offsets[i];
    lower_grid(lower, problem, {lower.input(0), lower.input(1), kNone, lower.input(2), lower.output(0), lower.input(3)});
  }
}

void infer_weights(Infer& infer) {
  infer.expect_f32(0, 4);
  const Shape weight = infer.attrs().at("weight_shape").as_ints();
  check_dy(infer, 1, checked_shape(infer, infer.shape(0), weight));
  infer.output(DType::f32, weight);
}

void layout_weights(const Graph&, const Node& node, Layouts& layouts) {
  layouts.inputs[1] = conv2d_layout(node);
  layouts.inputs[0] = node.attrs.at("kernel").as_string().starts_with("narrow") ? Layout::plain : layouts.inputs[1];
}

constexpr int64_t kTileChannels = 128;     // of x and dy in one tile of a pointwise kernel
constexpr int64_t kUnitBytes = 256 << 10;  // x and dy of one unit: well within a second-level cache
constexpr int64_t kTasks = 24;
constexpr int64_t kUnitPixels = 512;  // fewer would make the sums of a unit short
constexpr int64_t kPartialBytes = 64 << 20;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct WeightsPlan {
  Conv2dWeights args{};
  Panels panels;
  std::vector<Conv2dWeightsTile> tiles;
};

// Tiles of panels and input blocks: large enough to use each pixel often, small enough for their sums to stay in cache.
void cut_tiles(WeightsPlan& plan, int64_t taps, int64_t vectors) {
  const int64_t channels = taps == 1 ? kTileChannels : kTileChannels / 2;
  const int64_t blocks = std::max<int64_t>(1, channels / kBlock),
                panels = std::max<int64_t>(1, channels / (vectors * kBlock));
  const std::vector<Conv2dPanel>& all = plan.panels.panels;
  const int32_t count = static_cast<int32_t>(all.size());
  for (int32_t p = 0; p < count;) {
    int32_t end = p + 1;
    while (end < count && end - p < panels && all[end].in_block == all[p].in_block) ++end;
    for (int32_t b = 0; b < all[p].in_blocks; b += static_cast<int32_t>(blocks))
      plan.tiles.push_back({p, end - p, b, std::min(static_cast<int32_t>(blocks), all[p].in_blocks - b)});
    p = end;
  }
}

void set_grid(Conv2dWeights& a, const Conv2dShape& c) {
  const bool pointwise = c.kernel_taps() == 1 && c.out_height == c.x[2] && c.out_width == c.x[3] && c.stride[0] == 1 &&
                         c.stride[1] == 1 && c.padding == std::vector<int64_t>{0, 0, 0, 0};
  a.rows = c.out_height;
  a.cols = a.last_cols = c.out_width;
  if (pointwise) {
    // Without borders a plane is one long row, cut into rows of at most 64 pixels for the units' sake.
    const int64_t pixels = a.rows * a.cols;
    a.cols = divide_up(pixels, divide_up(pixels, 64));
    a.rows = divide_up(pixels, a.cols);
    a.last_cols = pixels - (a.rows - 1) * a.cols;
  }
  a.in_pitch = pointwise ? a.cols : a.in_width;
}

void cut_units(Conv2dWeights& a, const WeightsPlan& plan) {
  int64_t blocks = 1;
  for (const Conv2dWeightsTile& tile : plan.tiles) blocks = std::max<int64_t>(blocks, tile.blocks + tile.panels * 2);
  const int64_t row = a.cols * blocks * kBlock * static_cast<int64_t>(sizeof(float));
  const int64_t fit = std::max<int64_t>(1, kUnitBytes / row);
  a.unit_pictures = std::max<int64_t>(1, std::min({fit / a.rows, divide_up(kUnitPixels, a.rows * a.cols), a.pictures}));
  a.unit_rows = a.unit_pictures > 1 ? a.rows : divide_up(a.rows, divide_up(a.rows, fit));
  const int64_t units =
      a.unit_pictures > 1 ? divide_up(a.pictures, a.unit_pictures) : a.pictures * divide_up(a.rows, a.unit_rows);
  a.chunk_floats = plan.panels.floats;
  const int64_t room = std::max<int64_t>(1, kPartialBytes / (a.chunk_floats * static_cast<int64_t>(sizeof(float))));
  a.chunks = std::min({units, divide_up(kTasks, a.tile_count), room});
}

std::shared_ptr<WeightsPlan> plan_weights(const Conv2dShape& c, int64_t vectors) {
  auto plan = std::make_shared<WeightsPlan>();
  const Channels channels{c.in_channels(), c.out_channels(), c.groups};
  plan->panels = panels_of(channels, c.kernel_taps(), {vectors, true});
  cut_tiles(*plan, c.kernel_taps(), vectors);
  Conv2dWeights& a = plan->args;
  a.pictures = c.pictures();
  a.in_blocks = blocks_of(c.in_channels()), a.in_height = c.x[2], a.in_width = c.x[3];
  a.out_blocks = blocks_of(c.out_channels()), a.out_pixels = c.out_height * c.out_width;
  a.kernel_height = c.weight[2], a.kernel_width = c.weight[3];
  a.stride_y = c.stride[0], a.stride_x = c.stride[1];
  a.pad_top = c.padding[0], a.pad_left = c.padding[1];
  a.dilation_y = c.dilation[0], a.dilation_x = c.dilation[1];
  a.panels = plan->panels.panels.data();
  a.tiles = plan->tiles.data();
  a.tile_count = static_cast<int64_t>(plan->tiles.size());
  set_grid(a, c);
  cut_units(a, *plan);
  return plan;
}

void lower_direct(Lower& lower, const Conv2dShape& c) {
  const Conv2dWeightsKernels& kernels = conv2d_weights_kernels(lower.isa());
  const auto plan = plan_weights(c, conv2d_kernels(lower.isa()).panel_vectors);
  const Conv2dWeights& a = plan->args;
  const Buffer x = lower.input(0), dy = lower.input(1), dweight = lower.output(0);
  const Buffer partial = lower.workspace(static_cast<size_t>(a.chunks * a.chunk_floats) * sizeof(float));
  lower.launch(kernels.weights, a.tile_count * a.chunks, 0, [=](Run& run) {
    Conv2dWeights args = plan->args;
    args.x = run.f32(x), args.dy = run.f32(dy), args.partial = run.f32(partial);
    return args;
  });
  const int64_t panels = static_cast<int64_t>(plan->panels.panels.size());
  lower.launch(kernels.join, panels, 0, [=](Run& run) {
    return Conv2dJoin{
        run.f32(partial),        run.f32(dweight), plan->panels.panels.data(), panels,   plan->args.chunks,
        plan->args.chunk_floats, c.in_channels(),  c.out_channels(),           c.groups, c.kernel_taps()};
  });
}

/// A GPU's chunks are of pixels (kernels/cuda/depthwise.cu): enough of them to keep it busy.
int64_t gpu_chunks(const Conv2dShape& c, int64_t blocks) {
  constexpr int64_t most = 512, least_pixels = 512;
  const int64_t pixels = c.pictures() * c.out_height * c.out_width;
  return std::max<int64_t>(1, std::min(divide_up(most, blocks), pixels / least_pixels));
}

void lower_depthwise(Lower& lower, const Conv2dShape& c) {
  const DepthwiseForm form = depthwise_form(lower.attrs().at("kernel").as_string(), lower.isa());
  const int64_t blocks = blocks_of(c.in_channels(), form.block);
  const int64_t chunks = lower.isa() == Isa::cuda ? gpu_chunks(c, blocks) : std::min(c.pictures(), divide_up(kTasks, blocks));
  const Buffer x = lower.input(0), dy = lower.input(1), dweight = lower.output(0);
  const Buffer partial =
      lower.workspace(static_cast<size_t>(chunks * blocks * c.kernel_taps() * form.block) * sizeof(float));
  const auto fill = [=](Run& run) {
    return DepthwiseWeights{run.f32(x),      run.f32(dy),  run.f32(partial), run.f32(dweight), c.pictures(),
                            c.in_channels(), blocks,       c.x[2],           c.x[3],           c.out_height,
                            c.out_width,     c.weight[2],  c.weight[3],      c.stride[0],      c.stride[1],
                            c.padding[0],    c.padding[1], c.dilation[0],    c.dilation[1],    chunks};
  };
  lower.launch(form.kernels.weights, blocks * chunks, 0, fill);
  lower.launch(form.kernels.join, blocks, 0, fill);
}

void lower_weights(Lower& lower) {
  const Conv2dShape c = conv2d_shape(lower.attrs(), lower.in(0).shape, lower.attrs().at("weight_shape").as_ints());
  const std::string& form = lower.attrs().at("kernel").as_string();
  if (is_depthwise(form)) lower_depthwise(lower, c);
  else if (is_gemm(form)) lower_gemm_weights(lower, c);
  else if (form == "direct") lower_direct(lower, c);
  else if (form == "winograd") lower_winograd_weights(lower, c);
  else lower_weights_bf16(lower, c, form);
}

// ---- parts: each picture's sums apart (compile/by_picture.cpp) ----------------------------------------------------

Conv2dShape part_shape(const Json& attrs, const Shape& x) {
  return conv2d_shape(attrs, x, attrs.at("weight_shape").as_ints());
}

void infer_sums(Infer& infer) {
  infer.expect_f32(0, 4);
  const Conv2dShape c = checked_shape(infer, infer.shape(0), infer.attrs().at("weight_shape").as_ints());
  infer.output(DType::f32, {c.pictures(), weights_bf16_words(c)});
}

void lower_sums(Lower& lower) { lower_weights_bf16_sums(lower, part_shape(lower.attrs(), lower.in(0).shape)); }

void infer_join(Infer& infer) { infer.output(DType::f32, infer.attrs().at("weight_shape").as_ints()); }

void lower_join(Lower& lower) {
  lower_weights_bf16_join(lower, part_shape(lower.attrs(), lower.attrs().at("input_shape").as_ints()));
}

void select_weights(Select& select) {
  const Node& node = select.node();
  const Shape& x = select.graph().values[node.inputs[0]].shape;
  const Conv2dShape c = conv2d_shape(node.attrs, x, node.attrs.at("weight_shape").as_ints());
  // Pictures lie as the forward convolution reads them; a GPU's gradients are made from lines of few channels too.
  const std::string form = conv2d_form(select, c, select.isa() == Isa::cuda);
  if (form != "direct") return select.choose(form);
  if (select.isa() == Isa::amx && fits_narrow(c)) return select.choose("narrow_split");
  select.choose(takes_winograd_weights(select, c) ? "winograd" : takes_split(select, c, true) ? "split" : form);
}

}  // namespace

const OpDef& op_conv2d_backward_weights_sums() {
  static const OpDef def{
      .name = "conv2d_backward_weights_sums", .infer = infer_sums, .lower = lower_sums, .per_picture = true};
  return def;
}

const OpDef& op_conv2d_backward_weights_join() {
  static const OpDef def{.name = "conv2d_backward_weights_join", .infer = infer_join, .lower = lower_join};
  return def;
}

const OpDef& op_conv2d_backward_data() {
  static const OpDef def{.name = "conv2d_backward_data",
                         .infer = infer_data,
                         .select = [](Select& select) { select_packed(select, true); },
                         .layout = layout_data,
                         .lower = lower_data,
                         .per_picture = true};
  return def;
}

const OpDef& op_conv2d_backward_weights() {
  static const OpDef def{.name = "conv2d_backward_weights",
                         .infer = infer_weights,
                         .select = select_weights,
                         .layout = layout_weights,
                         .lower = lower_weights};
  return def;
}

}  // namespace thaw
