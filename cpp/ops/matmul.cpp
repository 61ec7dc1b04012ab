// matmul(a[…,M,K], b[…,K,N]) → […,M,N]. Attributes transpose_a, transpose_b (false): the last two dimensions of that
// operand are swapped. Leading dimensions broadcast. After packing: b_shape, the shape of b before it was packed.
#include "ops/broadcast.h"
#include "ops/combine.h"
#include "ops/product.h"

namespace thaw {

namespace {

/// One operand as matrices of rows x columns, transposition applied.
struct Matrices {
  Shape batch;
  int64_t rows, columns;
  int64_t row_stride, column_stride;
};

Matrices matrices_of(const Shape& shape, bool transposed) {
  const size_t rank = shape.size();
  Matrices m{Shape(shape.begin(), shape.end() - 2), shape[rank - 2], shape[rank - 1], shape[rank - 1], 1};
  if (transposed) std::swap(m.rows, m.columns), std::swap(m.row_stride, m.column_stride);
  return m;
}

Matrices a_of(const Node& node, const Shape& shape) { return matrices_of(shape, node.attrs.get("transpose_a", false)); }

Matrices b_of(const Node& node, const Shape& shape) {
  return matrices_of(node.attrs.get("b_shape", shape), node.attrs.get("transpose_b", false));
}

void infer(Infer& infer) {
  infer.expect_f32(0);
  infer.expect_f32(1);
  for (size_t i = 0; i < 2; ++i) {
    if (infer.shape(i).size() < 2) infer.fail("operands with at least 2 dimensions", to_string(infer.shape(i)));
  }
  const Matrices a = a_of(infer.node, infer.shape(0)), b = b_of(infer.node, infer.shape(1));
  if (a.columns != b.rows) {
    infer.fail("a second operand with " + std::to_string(a.columns) + " rows", std::to_string(b.rows));
  }
  Shape out;
  if (!broadcast_shapes(a.batch, b.batch, out)) {
    infer.fail("leading dimensions that broadcast", to_string(a.batch) + " and " + to_string(b.batch));
  }
  out.insert(out.end(), {a.rows, b.columns});
  infer.output(DType::f32, out);
}

Json transposes(bool a, bool b) { return Json::object().set("transpose_a", a).set("transpose_b", b); }

void differentiate(Gradient& g) {
  const bool ta = g.attrs().get("transpose_a", false), tb = g.attrs().get("transpose_b", false);
  const ValueId a = g.input(0), b = g.input(1), dy = g.grad(0);
  if (g.needs(0)) {
    add_summed(g, 0, ta ? g.emit1("matmul", {b, dy}, transposes(tb, true))
                        : g.emit1("matmul", {dy, b}, transposes(false, !tb)));
  }
  if (!g.needs(1)) return;
  if (!ta && g.value(b).shape.size() == 2) {  // one b for all rows: one product over all of them
    g.add(1, tb ? g.emit1("linear_backward_weights", {a, dy}) : g.emit1("linear_backward_weights", {dy, a}));
  } else {
    add_summed(g, 1, tb ? g.emit1("matmul", {dy, a}, transposes(true, ta))
                        : g.emit1("matmul", {a, dy}, transposes(!ta, false)));
  }
}

void select(Select& select) {
  const ValueId b = select.node().inputs[1];
  const Shape shape = select.graph().values[b].shape;
  const bool transposed = select.node().attrs.get("transpose_b", false);
  const ValueId packed = select.before("matmul_pack", {b}, Json::object().set("transpose_b", transposed));
  select.node().inputs[1] = packed;
  select.node().attrs.set("b_shape", shape);
  select.choose("packed");
}

/// For each matrix of the result, the matrix of an operand that it reads.
std::vector<int64_t> sources(const Shape& batch, const Shape& out) {
  const Shape strides = broadcast_strides(batch, out);
  std::vector<int64_t> result(count(out), 0);
  for (size_t i = 0; i < result.size(); ++i) {
    int64_t rest = static_cast<int64_t>(i);
    for (size_t d = out.size(); d-- > 0;) {
      result[i] += rest % out[d] * strides[d];
      rest /= out[d];
    }
  }
  return result;
}

void lower(Lower& lower) {
  const Matrices a = a_of(lower.node(), lower.in(0).shape), b = b_of(lower.node(), lower.in(1).shape);
  Product p;
  p.m = a.rows;
  p.n = b.columns;
  p.k = a.columns;
  p.a = lower.input(0);
  p.m_stride = a.row_stride;
  p.k_stride = a.column_stride;
  p.a_matrices = count(a.batch);
  p.b = lower.input(1);
  p.c = lower.output(0);
  if (count(b.batch) == 1 && p.k_stride == 1) {
    p.m *= p.a_matrices;  // all matrices of a are rows of one
    p.a_matrices = 1;
  } else {
    Shape batch;
    broadcast_shapes(a.batch, b.batch, batch);
    p.a_of = sources(a.batch, batch);
    p.b_of = sources(b.batch, batch);
  }
  lower_product(lower, p);
}

void infer_pack(Infer& infer) {
  infer.expect_f32(0);
  const Matrices b = b_of(infer.node, infer.shape(0));
  infer.output(DType::f32, packed_shape(b.batch, b.rows, b.columns));
}

void lower_matmul_pack(Lower& lower) {
  const Matrices b = b_of(lower.node(), lower.in(0).shape);
  lower_pack(lower, lower.input(0), lower.output(0), count(b.batch), b.rows, b.columns, b.row_stride, b.column_stride);
}

}  // namespace

const OpDef& op_matmul() {
  static const OpDef def{.name = "matmul", .infer = infer, .gradient = differentiate, .select = select, .lower = lower};
  return def;
}

// matmul_pack(b; transpose_b) → panels of every matrix of b.
const OpDef& op_matmul_pack() {
  static const OpDef def{.name = "matmul_pack", .infer = infer_pack, .lower = lower_matmul_pack};
  return def;
}

}  // namespace thaw
