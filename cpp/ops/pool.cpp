// Pooling of pictures [N,C,H,W], PyTorch's meaning throughout.
//
//   max_pool(x; kernel, stride (= kernel), padding [top,left,bottom,right] (0), dilation (1), ceil_mode (false))
//   average_pool(x; kernel, stride, padding, ceil_mode, count_include_pad (true))
//   adaptive_average_pool(x; output_size [h,w])   window o: floor(o*H/h) … ceil((o+1)*H/h)-1
//   global_average_pool(x), global_max_pool(x) → [N,C,1,1]
//
// With ceil_mode the last window must begin inside the picture or its left padding. Backward operators read
// (x, dy) for the maximum and (dy) for averages, whose attribute `input_shape` is the shape of x.
//
// Pictures in bf16: the average over a whole picture is written, and its gradient read, in f32.
#include <algorithm>

#include "kernels/pool.h"
#include "ops/op.h"

namespace thaw {

namespace {

/// One spatial axis of a window.
struct Axis {
  int64_t size = 0, kernel = 0, stride = 1, before = 0, after = 0, dilation = 1, out = 0;
};

struct Geometry {
  Axis h, w;
};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t output_size(const Axis& a, bool ceil) {
  const int64_t room = a.size + a.before + a.after - a.dilation * (a.kernel - 1) - 1;
  if (room < 0) return 0;
  int64_t out = (ceil ? ceil_div(room, a.stride) : room / a.stride) + 1;
  if (ceil && (out - 1) * a.stride >= a.size + a.before) --out;
  return out;
}

/// The geometry at an input shape; sizes that make no sense give out = 0, which `infer_window` reports.
Geometry window_geometry(const Shape& x, const Json& attrs) {
  const auto kernel = attrs.at("kernel").as_ints();
  const auto stride = attrs.get("stride", kernel);
  const auto padding = attrs.get("padding", std::vector<int64_t>{0, 0, 0, 0});
  const auto dilation = attrs.get("dilation", std::vector<int64_t>{1, 1});
  Geometry g;
  if (kernel.size() != 2 || stride.size() != 2 || padding.size() != 4 || dilation.size() != 2) return g;
  g.h = {x[2], kernel[0], stride[0], padding[0], padding[2], dilation[0], 0};
  g.w = {x[3], kernel[1], stride[1], padding[1], padding[3], dilation[1], 0};
  for (Axis* a : {&g.h, &g.w}) {
    const int64_t reach = a->dilation * (a->kernel - 1) + 1;
    const bool sound = a->kernel > 0 && a->stride > 0 && a->dilation > 0 && a->before < reach && a->after < reach;
    if (sound) a->out = output_size(*a, attrs.get("ceil_mode", false));
  }
  return g;
}

RowWindow window_rows(const Node& node) {
  const Axis h = window_geometry({1, 1, 1, 1}, node.attrs).h;
  return {.size = h.dilation * (h.kernel - 1) + 1, .stride = h.stride, .top = h.before, .has_padding = true};
}

/// One window over the whole picture.
Geometry global_geometry(const Shape& x) {
  Geometry g;
  g.h = {x[2], x[2], 1, 0, 0, 1, 1};
  g.w = {x[3], x[3], 1, 0, 0, 1, 1};
  return g;
}

// ---- windows of averages ----------------------------------------------------------------------------------------

using Windows = std::vector<PoolWindow>;

Windows sliding_windows(const Axis& a, bool count_include_pad) {
  Windows windows;
  for (int64_t o = 0; o < a.out; ++o) {
    const int64_t start = o * a.stride - a.before;
    const int64_t end = std::min(start + a.kernel, a.size + a.after);
    const int64_t begin = std::max<int64_t>(start, 0), clipped = std::min(end, a.size);
    // Windows that ceil_mode lets reach beyond the padding count what lies within it only.
    const int64_t size = count_include_pad ? end - start : clipped - begin;
    windows.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(clipped), static_cast<double>(size)});
  }
  return windows;
}

Windows adaptive_windows(int64_t size, int64_t out) {
  Windows windows;
  for (int64_t o = 0; o < out; ++o) {
    const int64_t begin = o * size / out, end = ceil_div((o + 1) * size, out);
    windows.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(end), static_cast<double>(end - begin)});
  }
  return windows;
}

struct AverageWindows {
  Windows rows, columns;
};

using MakeWindows = AverageWindows (*)(const Shape& x, const Json& attrs);

AverageWindows average_windows(const Shape& x, const Json& attrs) {
  const Geometry g = window_geometry(x, attrs);
  const bool counted = attrs.get("count_include_pad", true);
  return {sliding_windows(g.h, counted), sliding_windows(g.w, counted)};
}

AverageWindows adaptive_average_windows(const Shape& x, const Json& attrs) {
  const auto out = attrs.at("output_size").as_ints();
  return {adaptive_windows(x[2], out[0]), adaptive_windows(x[3], out[1])};
}

AverageWindows global_average_windows(const Shape& x, const Json&) {
  return {adaptive_windows(x[2], 1), adaptive_windows(x[3], 1)};
}

// ---- infer ------------------------------------------------------------------------------------------------------

void expect_picture(Infer& infer) {
  infer.expect_f32(0, 4);
  const Shape& x = infer.shape(0);
  if (x[2] < 1 || x[3] < 1) infer.fail("a picture of at least one pixel", to_string(x));
}

void infer_window(Infer& infer) {
  expect_picture(infer);
  const Shape& x = infer.shape(0);
  const Geometry g = window_geometry(x, infer.attrs());
  // Only bands of rows, which nobody writes down, leave rows out (run/bands.h).
  const bool negative = std::min({g.h.before, g.h.after, g.w.before, g.w.after}) < 0;
  if (negative || g.h.out < 1 || g.w.out < 1) {
    infer.fail("kernel [h,w], stride [h,w], padding [top,left,bottom,right] smaller than the kernel, and a window that "
               "fits into " + to_string(x), infer.attrs().dump());
  }
  infer.output(DType::f32, {x[0], x[1], g.h.out, g.w.out});
}

void infer_adaptive(Infer& infer) {
  expect_picture(infer);
  const auto out = infer.attrs().at("output_size").as_ints();
  if (out.size() != 2 || out[0] < 1 || out[1] < 1) infer.fail("output_size [h,w] of at least 1", to_string(out));
  infer.output(DType::f32, {infer.shape(0)[0], infer.shape(0)[1], out[0], out[1]});
}

void infer_global(Infer& infer) {
  expect_picture(infer);
  infer.output(DType::f32, {infer.shape(0)[0], infer.shape(0)[1], 1, 1});
}

void infer_max_backward(Infer& infer) { infer.output(DType::f32, infer.shape(0)); }

void infer_average_backward(Infer& infer) {
  infer.expect_f32(0, 4);
  infer.output(DType::f32, infer.attrs().at("input_shape").as_ints());
}

// ---- gradient ---------------------------------------------------------------------------------------------------

void gradient_of_max(Gradient& g) {
  if (!g.needs(0) || g.grad(0) == kNone) return;
  g.add(0, g.emit1(std::string(g.node().op->name) + "_backward", {g.input(0), g.grad(0)}, g.attrs()));
}

void gradient_of_average(Gradient& g) {
  if (!g.needs(0) || g.grad(0) == kNone) return;
  Json attrs = g.attrs();
  attrs.set("input_shape", g.value(g.input(0)).shape);
  g.add(0, g.emit1(std::string(g.node().op->name) + "_backward", {g.grad(0)}, attrs));
}

// ---- layout -----------------------------------------------------------------------------------------------------

/// One window over the whole picture (not of average_pool, whose windows may reach into padding).
bool takes_all(const Node& node, const Shape& y) { return !node.attrs.find("kernel") && y[2] == 1 && y[3] == 1; }

void layout_average(const Graph& graph, const Node& node, Layouts& layouts) {
  layout_images(graph, node, layouts);
  if (takes_all(node, graph.values[node.outputs[0]].shape)) layouts.outputs[0] = Layout::blocked;
}

/// What arrives comes from layers in f32 or through them; dx goes to whatever made x. That lies in bf16 if any picture
/// of the plan does.
void layout_average_backward(const Graph& graph, const Node& node, Layouts& layouts) {
  const bool bf16 = std::any_of(graph.values.begin(), graph.values.end(),
                                [](const Value& value) { return value.layout == Layout::blocked_bf16; });
  layouts.outputs[0] = bf16 ? Layout::blocked_bf16 : Layout::blocked;
  layouts.inputs[0] = takes_all(node, graph.values[node.inputs[0]].shape) ? Layout::blocked : layouts.outputs[0];
}

// ---- lower ------------------------------------------------------------------------------------------------------

int64_t planes_of(const Value& x) { return x.shape[0] * channel_blocks(x); }

/// Windows that slide may write into a concatenation.
bool writes_part(const Graph&, const Node&, int operand) { return operand == kResult; }

/// The kernels for pictures that lie like x.
const PoolKernels& kernels_for(const Lower& low, const Value& x) {
  return x.layout == Layout::blocked_bf16 ? pool_bf16_kernels(low.isa()).pool : pool_kernels(low.isa());
}

/// Output rows of a forward task: about a thousand outputs, so that claiming a task costs little beside it.
int64_t rows_per_task(int64_t out_width) { return ceil_div(1024, out_width); }

int64_t forward_tasks(int64_t planes, int64_t out_height, int64_t rows) { return planes * ceil_div(out_height, rows); }

MaxPool max_args(const Lower& low, bool global) {
  const Value& x = low.in(0);
  const Geometry g = global ? global_geometry(x.shape) : window_geometry(x.shape, low.attrs());
  MaxPool a = {};
  a.rows_per_task = rows_per_task(g.w.out);
  a.planes = planes_of(x), a.blocks = channel_blocks(x);
  a.height = g.h.size, a.width = g.w.size, a.out_height = g.h.out, a.out_width = g.w.out;
  a.kernel_h = g.h.kernel, a.kernel_w = g.w.kernel, a.stride_h = g.h.stride, a.stride_w = g.w.stride;
  a.pad_top = g.h.before, a.pad_left = g.w.before, a.dilation_h = g.h.dilation, a.dilation_w = g.w.dilation;
  return a;
}

template <bool Global>
void lower_max(Lower& low) {
  MaxPool args = max_args(low, Global);
  args.y_gap = low.gap_out(0);
  const Buffer x = low.input(0), y = low.output(0);
  const int64_t tasks = forward_tasks(args.planes, args.out_height, args.rows_per_task);
  low.launch(kernels_for(low, low.in(0)).max, tasks, 0, [=](Run& run) {
    MaxPool a = args;
    a.x = run.at(x);
    a.y = run.at(y);
    return a;
  });
}

template <bool Global>
void lower_max_backward(Lower& low) {
  const MaxPool args = max_args(low, Global);
  const Buffer x = low.input(0), dy = low.input(1), dx = low.output(0);
  const bool bf16 = low.in(0).layout == Layout::blocked_bf16, gpu = low.isa() == Isa::cuda;
  const size_t scratch = bf16 ? static_cast<size_t>(max_backward_scratch(args)) : 0;
  const Buffer taps = gpu ? low.workspace(static_cast<size_t>(max_backward_taps(args, bf16 ? kBlockBf16 : kBlock))) : kNone;
  low.launch(kernels_for(low, low.in(0)).max_backward, args.planes, scratch, [=](Run& run) {
    MaxPool a = args;
    a.x = run.at(x);
    a.dy = run.at(dy);
    a.y = run.at(dx);
    a.taps = run.at(taps);
    return a;
  });
}

/// Arguments of an average over the pictures x.
AveragePool average_args(const Value& x, const AverageWindows& windows) {
  AveragePool a = {};
  a.channels = x.shape[1];
  a.planes = planes_of(x), a.blocks = channel_blocks(x);
  a.height = x.shape[2], a.width = x.shape[3];
  a.out_height = static_cast<int64_t>(windows.rows.size());
  a.out_width = static_cast<int64_t>(windows.columns.size());
  a.rows_per_task = rows_per_task(a.out_width);
  return a;
}

/// For each of `size` positions the windows that hold it. Windows move forward: the next position's are no earlier ones.
std::vector<PoolHolders> holders(const Windows& windows, int64_t size) {
  std::vector<PoolHolders> result;
  const int32_t count = static_cast<int32_t>(windows.size());
  PoolHolders at = {0, 0};
  for (int64_t position = 0; position < size; ++position) {
    while (at.first < count && windows[at.first].end <= position) ++at.first;
    at.last = std::max(at.first, at.last);
    while (at.last < count && windows[at.last].begin <= position) ++at.last;
    result.push_back(at);
  }
  return result;
}

template <MakeWindows Make, bool Backward>
void lower_average(Lower& low) {
  const Value& x = Backward ? low.out(0) : low.in(0);
  const Value& y = Backward ? low.in(0) : low.out(0);
  const AverageWindows windows = Make(x.shape, low.attrs());
  AveragePool args = average_args(x, windows);
  args.y_gap = Backward ? 0 : low.gap_out(0);
  const PoolKernels& kernels = kernels_for(low, x);
  auto kernel = Backward ? kernels.average_backward : kernels.average;
  int64_t tasks = Backward ? args.planes : forward_tasks(args.planes, args.out_height, args.rows_per_task);
  if (x.layout != y.layout) {
    const PoolBf16Kernels& bf16 = pool_bf16_kernels(low.isa());
    kernel = Backward ? bf16.global_average_backward : bf16.global_average;
    tasks = args.planes;
  }
  const Buffer from = low.input(0), to = low.output(0);
  const Buffer rows = low.table(windows.rows), columns = low.table(windows.columns);
  const Buffer row_holders = Backward ? low.table(holders(windows.rows, args.height)) : kNone;
  const Buffer column_holders = Backward ? low.table(holders(windows.columns, args.width)) : kNone;
  low.launch(kernel, tasks, 0, [=](Run& run) {
    AveragePool a = args;
    a.x = run.at(from);
    a.y = run.at(to);
    a.rows = static_cast<const PoolWindow*>(run.at(rows));
    a.columns = static_cast<const PoolWindow*>(run.at(columns));
    a.row_holders = static_cast<const PoolHolders*>(run.at(row_holders));
    a.column_holders = static_cast<const PoolHolders*>(run.at(column_holders));
    return a;
  });
}

}  // namespace

const OpDef& op_max_pool() {
  static const OpDef def{.name = "max_pool", .infer = infer_window, .gradient = gradient_of_max,
                         .layout = layout_images, .lower = lower_max<false>, .bf16 = true, .per_picture = true,
                         .parts = writes_part, .rows = window_rows};
  return def;
}

const OpDef& op_max_pool_backward() {
  static const OpDef def{.name = "max_pool_backward", .infer = infer_max_backward, .layout = layout_images,
                         .lower = lower_max_backward<false>, .bf16 = true, .per_picture = true};
  return def;
}

const OpDef& op_global_max_pool() {
  static const OpDef def{.name = "global_max_pool", .infer = infer_global, .gradient = gradient_of_max,
                         .layout = layout_images, .lower = lower_max<true>, .bf16 = true, .per_picture = true};
  return def;
}

const OpDef& op_global_max_pool_backward() {
  static const OpDef def{.name = "global_max_pool_backward", .infer = infer_max_backward, .layout = layout_images,
                         .lower = lower_max_backward<true>, .bf16 = true};
  return def;
}

const OpDef& op_average_pool() {
  static const OpDef def{.name = "average_pool", .infer = infer_window, .gradient = gradient_of_average,
                         .layout = layout_average, .lower = lower_average<average_windows, false>,
                         .bf16 = true, .per_picture = true, .parts = writes_part, .rows = window_rows};
  return def;
}

const OpDef& op_average_pool_backward() {
  static const OpDef def{.name = "average_pool_backward", .infer = infer_average_backward, .layout = layout_average_backward,
                         .lower = lower_average<average_windows, true>, .bf16 = true};
  return def;
}

const OpDef& op_adaptive_average_pool() {
  static const OpDef def{.name = "adaptive_average_pool", .infer = infer_adaptive, .gradient = gradient_of_average,
                         .layout = layout_average, .lower = lower_average<adaptive_average_windows, false>,
                         .bf16 = true, .per_picture = true};
  return def;
}

const OpDef& op_adaptive_average_pool_backward() {
  static const OpDef def{.name = "adaptive_average_pool_backward", .infer = infer_average_backward,
                         .layout = layout_average_backward, .lower = lower_average<adaptive_average_windows, true>,
                         .bf16 = true};
  return def;
}

const OpDef& op_global_average_pool() {
  static const OpDef def{.name = "global_average_pool", .infer = infer_global, .gradient = gradient_of_average,
                         .layout = layout_average, .lower = lower_average<global_average_windows, false>,
                         .bf16 = true, .per_picture = true};
  return def;
}

const OpDef& op_global_average_pool_backward() {
  static const OpDef def{.name = "global_average_pool_backward", .infer = infer_average_backward,
                         .layout = layout_average_backward, .lower = lower_average<global_average_windows, true>,
                         .bf16 = true};
  return def;
}

}  // namespace thaw
