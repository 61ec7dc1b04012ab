#include "ops/combine.h"

#include <algorithm>

#include "kernels/reorder.h"
#include "ops/broadcast.h"

namespace thaw {

namespace {

int64_t blocks_of(int64_t channels, int64_t block = kBlock) { return (channels + block - 1) / block; }

bool is_image(const Value& value) { return value.dtype == DType::f32 && value.shape.size() == 4; }

/// The space an elementwise kernel walks, with adjacent dimensions joined wherever the operands allow it.
struct Space {
  Shape sizes, a, b;

  void push(int64_t size, int64_t a_stride, int64_t b_stride) {
    if (size == 1) return;
    if (!sizes.empty() && a.back() == a_stride * size && b.back() == b_stride * size) {
      sizes.back() *= size;
      a.back() = a_stride;
      b.back() = b_stride;
      return;
    }
    sizes.push_back(size);
    a.push_back(a_stride);
    b.push_back(b_stride);
  }

  template <class T>
  CombineOf<T> args() const {
    CombineOf<T> c{};
    c.rank = std::max<int64_t>(1, static_cast<int64_t>(sizes.size()));
    c.sizes[0] = 1;
    std::copy(sizes.begin(), sizes.end(), c.sizes);
    std::copy(a.begin(), a.end(), c.a_strides);
    std::copy(b.begin(), b.end(), c.b_strides);
    c.rows = 1;
    for (int64_t d = 0; d + 1 < c.rank; ++d) c.rows *= c.sizes[d];
    c.rows_per_task = std::max<int64_t>(1, kChunk / c.kUnit / std::max<int64_t>(1, c.sizes[c.rank - 1]));
    c.factor = 1;
    return c;
  }
};

Space make_space(const Shape& sizes, const Shape& a, const Shape& b) {
  Space space;
  for (size_t d = 0; d < sizes.size(); ++d) space.push(sizes[d], a[d], b[d]);
  return space;
}

template <class T>
int64_t tasks_of(const CombineOf<T>& c) {
  if (count(Shape(c.sizes, c.sizes + c.rank)) == 0) return 0;
  return c.rank == 1 ? chunks(c.sizes[0] * c.kUnit) : (c.rows + c.rows_per_task - 1) / c.rows_per_task;
}

/// [N,C,H,W] of an operand, 1 where it is repeated.
Shape aligned(const Value& value) {
  Shape shape(value.shape.size() < 4 ? 4 - value.shape.size() : 0, 1);
  shape.insert(shape.end(), value.shape.begin(), value.shape.end());
  return shape;
}

/// An operand of a blocked result: where it lies and its strides over [N, blocks, H, W, 16].
struct Source {
  Buffer buffer;
  Shape strides;
};

Source blocked_source(const Value& value, Buffer buffer) {
  const Shape& s = value.shape;
  const int64_t pixels = s[2] * s[3], blocks = blocks_of(s[1]);
  return {buffer, {s[0] == 1 ? 0 : blocks * pixels * kBlock, s[1] == 1 ? 0 : pixels * kBlock,
                   s[2] == 1 ? 0 : s[3] * kBlock, s[3] == 1 ? 0 : kBlock, 1}};
}

/// A plain operand whose channels are all different is brought into blocks first; one that repeats over channels is
/// read as it is.
Source plain_source(Lower& lower, const Value& value, Buffer buffer, const Shape& out) {
  const Shape shape = aligned(value);
  if (shape[1] == 1) {
    const Shape s = broadcast_strides(shape, out);
    return {buffer, {s[0], 0, s[2], s[3], 0}};
  }
  const int64_t channels = shape[1], pixels = shape[2] * shape[3];
  const Buffer blocked = lower.workspace(sizeof(float) * blocks_of(channels) * pixels * kBlock);
  lower.launch(elementwise_kernels(lower.isa()).block, blocks_of(channels), 0,
               [=](Run& run) { return Block{run.f32(buffer), run.f32(blocked), channels, pixels}; });
  return {blocked, {0, pixels * kBlock, shape[2] == 1 ? 0 : shape[3] * kBlock, shape[3] == 1 ? 0 : kBlock, 1}};
}

Source source_of(Lower& lower, size_t i, const Shape& out) {
  const Value& value = lower.in(i);
  return value.layout == Layout::blocked ? blocked_source(value, lower.input(i))
                                         : plain_source(lower, value, lower.input(i), out);
}

template <class T>
void launch(Lower& lower, void (*kernel)(const CombineOf<T>&, int64_t, void*), const CombineOf<T>& shape, Buffer a,
            Buffer b, Buffer y) {
  lower.launch(kernel, tasks_of(shape), 0, [=](Run& run) {
    CombineOf<T> args = shape;
    args.a = static_cast<const T*>(run.at(a));
    args.b = static_cast<const T*>(run.at(b));
    args.y = static_cast<T*>(run.at(y));
    return args;
  });
}

/// An operand of a result in bf16, with strides in lines over [N, blocks, H, W]. A plain one is brought into blocks.
Source bf16_source(Lower& lower, size_t i) {
  const Value& value = lower.in(i);
  const Shape s = aligned(value);
  const int64_t pixels = s[2] * s[3], channels = s[1], blocks = blocks_of(channels, kBlockBf16);
  const Shape strides = {s[0] == 1 ? 0 : blocks * pixels, pixels, s[2] == 1 ? 0 : s[3], s[3] == 1 ? 0 : 1};
  const Buffer from = lower.input(i);
  if (value.layout == Layout::blocked_bf16) return {from, strides};
  const Buffer lines = lower.workspace(static_cast<size_t>(blocks * pixels * 64));
  const int64_t tasks = blocks * ((pixels + kReorderPixels - 1) / kReorderPixels);
  lower.launch(reorder_bf16_kernels(lower.isa()).from_plain, tasks, 0,
               [=](Run& run) { return ReorderBf16{run.at(from), run.at(lines), 1, channels, pixels}; });
  return {lines, strides};
}

void lower_bf16(Lower& lower, CombineBf16Kernel kernel) {
  const Shape& s = lower.out(0).shape;
  const Source a = bf16_source(lower, 0), b = bf16_source(lower, 1);
  const Space space = make_space({s[0], blocks_of(s[1], kBlockBf16), s[2], s[3]}, a.strides, b.strides);
  launch(lower, kernel, space.args<uint16_t>(), a.buffer, b.buffer, lower.output(0));
}

}  // namespace

void infer_combine(Infer& infer) {
  infer.expect_f32(0);
  infer.expect_f32(1);
  Shape out;
  if (!broadcast_shapes(infer.shape(0), infer.shape(1), out)) {
    infer.fail("operands that broadcast", to_string(infer.shape(0)) + " and " + to_string(infer.shape(1)));
  }
  if (out.size() > kMaxRank) infer.fail("at most 8 dimensions", to_string(out));
  infer.output(DType::f32, out);
}

void layout_combine(const Graph& graph, const Node& node, Layouts& layouts) {
  const Value& out = graph.values[node.outputs[0]];
  layout_follow(graph, node, layouts);
  if (!is_image(out)) {
    std::fill(layouts.inputs.begin(), layouts.inputs.end(), Layout::plain);
    std::fill(layouts.outputs.begin(), layouts.outputs.end(), Layout::plain);
    return;
  }
  const bool repeats = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
    return aligned(graph.values[id])[1] != out.shape[1];
  });
  if (repeats && layouts.outputs[0] == Layout::blocked_bf16) {
    layouts.outputs[0] = Layout::blocked;
    std::replace(layouts.inputs.begin(), layouts.inputs.end(), Layout::blocked_bf16, Layout::blocked);
  }
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (graph.values[node.inputs[i]].shape.size() == 4 && graph.values[node.inputs[i]].shape[1] != out.shape[1]) {
      layouts.inputs[i] = Layout::plain;
    }
  }
}

void add_summed(Gradient& g, size_t i, ValueId gradient) {
  const Shape shape = g.value(g.input(i)).shape;
  if (g.value(gradient).shape != shape) gradient = g.emit1("sum_to", {gradient}, Json::object().set("shape", shape));
  g.add(i, gradient);
}

void lower_combine(Lower& lower, CombineKernel kernel, CombineBf16Kernel bf16) {
  const Value& out = lower.out(0);
  if (out.layout == Layout::blocked_bf16) return lower_bf16(lower, bf16);
  const Shape& shape = out.shape;
  if (out.layout == Layout::plain) {
    const Space space = make_space(shape, broadcast_strides(lower.in(0).shape, shape),
                                   broadcast_strides(lower.in(1).shape, shape));
    return launch(lower, kernel, space.args<float>(), lower.input(0), lower.input(1), lower.output(0));
  }
  const Source a = source_of(lower, 0, shape), b = source_of(lower, 1, shape);
  const Space space = make_space({shape[0], blocks_of(shape[1]), shape[2], shape[3], kBlock}, a.strides, b.strides);
  launch(lower, kernel, space.args<float>(), a.buffer, b.buffer, lower.output(0));
}

void lower_expand(Lower& lower, Buffer a, const Shape& a_shape, Buffer y, const Shape& out, float factor) {
  Combine args = make_space(out, broadcast_strides(a_shape, out), Shape(out.size(), 0)).args<float>();
  args.factor = factor;
  launch(lower, elementwise_kernels(lower.isa()).expand, args, a, kNone, y);
}

}  // namespace thaw
