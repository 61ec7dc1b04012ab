#include "ops/combine.h"

#include <algorithm>

#include "ops/broadcast.h"

namespace thaw {

namespace {

int64_t blocks_of(int64_t channels) { return (channels + kBlock - 1) / kBlock; }

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

  Combine args() const {
    Combine c{};
    c.rank = std::max<int64_t>(1, static_cast<int64_t>(sizes.size()));
    c.sizes[0] = 1;
    std::copy(sizes.begin(), sizes.end(), c.sizes);
    std::copy(a.begin(), a.end(), c.a_strides);
    std::copy(b.begin(), b.end(), c.b_strides);
    c.rows = 1;
    for (int64_t d = 0; d + 1 < c.rank; ++d) c.rows *= c.sizes[d];
    c.rows_per_task = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, c.sizes[c.rank - 1]));
    c.factor = 1;
    return c;
  }
};

Space make_space(const Shape& sizes, const Shape& a, const Shape& b) {
  Space space;
  for (size_t d = 0; d < sizes.size(); ++d) space.push(sizes[d], a[d], b[d]);
  return space;
}

int64_t tasks_of(const Combine& c) {
  if (count(Shape(c.sizes, c.sizes + c.rank)) == 0) return 0;
  return c.rank == 1 ? chunks(c.sizes[0]) : (c.rows + c.rows_per_task - 1) / c.rows_per_task;
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
  Shape shape(4 - value.shape.size(), 1);
  shape.insert(shape.end(), value.shape.begin(), value.shape.end());
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

void launch(Lower& lower, CombineKernel kernel, const Combine& shape, Buffer a, Buffer b, Buffer y) {
  lower.launch(kernel, tasks_of(shape), 0, [=](Run& run) {
    Combine args = shape;
    args.a = run.f32(a);
    args.b = run.f32(b);
    args.y = run.f32(y);
    return args;
  });
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

void lower_combine(Lower& lower, CombineKernel kernel) {
  const Value& out = lower.out(0);
  const Shape& shape = out.shape;
  if (out.layout == Layout::plain) {
    const Space space = make_space(shape, broadcast_strides(lower.in(0).shape, shape),
                                   broadcast_strides(lower.in(1).shape, shape));
    return launch(lower, kernel, space.args(), lower.input(0), lower.input(1), lower.output(0));
  }
  const Source a = source_of(lower, 0, shape), b = source_of(lower, 1, shape);
  const Space space = make_space({shape[0], blocks_of(shape[1]), shape[2], shape[3], kBlock}, a.strides, b.strides);
  launch(lower, kernel, space.args(), a.buffer, b.buffer, lower.output(0));
}

void lower_expand(Lower& lower, Buffer a, const Shape& a_shape, Buffer y, const Shape& out, float factor) {
  Combine args = make_space(out, broadcast_strides(a_shape, out), Shape(out.size(), 0)).args();
  args.factor = factor;
  launch(lower, elementwise_kernels(lower.isa()).expand, args, a, kNone, y);
}

}  // namespace thaw
