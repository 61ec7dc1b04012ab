// embedding(indices i32|i64 […], weight[V,D]; padding_index -1: none) → y […,D], and the indices as i32 [count] with -1
// for the padding index, as the gradient by rows wants them.
// scatter_rows(indices, rows[count,…]; rows_total V) → dense [V,…]: the rows of equal indices summed in order; negative
// indices are ignored.
#include "kernels/embedding.h"

#include <algorithm>

#include "kernels/activation.h"
#include "ops/whole_numbers.h"

namespace thaw {

namespace {

void expect_indices(const Infer& infer) {
  if (infer.dtype(0) != DType::i32 && infer.dtype(0) != DType::i64) {
    infer.fail("indices of type i32 or i64", dtype_name(infer.dtype(0)));
  }
}

void infer(Infer& infer) {
  expect_indices(infer);
  infer.expect_f32(1, 2);
  const int64_t rows = infer.shape(1)[0], padding = infer.attrs().get("padding_index", -1);
  if (padding < -1 || padding >= rows) {
    infer.fail("a padding_index below " + std::to_string(rows), std::to_string(padding));
  }
  if (rows > INT32_MAX) infer.fail("at most 2147483647 rows", std::to_string(rows));
  Shape y = infer.shape(0);
  y.push_back(infer.shape(1)[1]);
  infer.output(DType::f32, y);
  infer.output(DType::i32, {count(infer.shape(0))});
}

void differentiate(Gradient& g) {
  if (!g.needs(1)) return;
  const Shape weight = g.value(g.input(1)).shape;
  const Shape rows = {count(g.value(g.input(0)).shape), weight[1]};
  ValueId dy = g.grad(0);
  if (g.value(dy).shape != rows) dy = g.emit1("reshape", {dy}, Json::object().set("shape", rows));
  g.add_rows(1, g.output(1), dy);
}

void lower(Lower& lower) {
  Embedding shape{};
  shape.count = count(lower.in(0).shape);
  shape.rows = lower.in(1).shape[0];
  shape.width = lower.in(1).shape[1];
  shape.padding = lower.attrs().get("padding_index", -1);
  shape.per_task = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, shape.width));
  shape.indices.wide = lower.in(0).dtype == DType::i64;
  const int64_t tasks = (shape.count + shape.per_task - 1) / shape.per_task;
  const Buffer indices = lower.input(0), weight = lower.input(1), y = lower.output(0), kept = lower.output(1);
  const Buffer wrong = lower.workspace(sizeof(int64_t) * std::max<int64_t>(1, tasks));
  lower.launch(embedding_kernels(lower.isa()).gather, tasks, 0, [=](Run& run) {
    Embedding args = shape;
    args.indices.data = run.at(indices);
    args.weight = run.f32(weight);
    args.y = run.f32(y);
    args.kept = static_cast<int32_t*>(run.at(kept));
    args.wrong = static_cast<int64_t*>(run.at(wrong));
    return args;
  });
  check_numbers(lower, indices, shape.indices.wide, wrong, tasks,
                {"ERR_INDEX", "indices from 0 to " + std::to_string(shape.rows - 1), "embedding '" + lower.node().name + "'"});
}

void infer_scatter(Infer& infer) {
  expect_indices(infer);
  infer.expect_f32(1);
  Shape dense = infer.shape(1);
  if (dense.empty() || dense[0] != count(infer.shape(0))) {
    infer.fail("a row for each of " + std::to_string(count(infer.shape(0))) + " indices", to_string(dense));
  }
  dense[0] = infer.attrs().at("rows_total").as_int();
  infer.output(DType::f32, dense);
}

void lower_scatter(Lower& lower) {
  Scatter shape{};
  shape.count = count(lower.in(0).shape);
  shape.rows_total = lower.out(0).shape[0];
  shape.width = shape.rows_total == 0 ? 0 : count(lower.out(0).shape) / shape.rows_total;
  shape.indices.wide = lower.in(0).dtype == DType::i64;
  // Every task reads all indices: at most 64 tasks.
  const int64_t worth = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, shape.width));
  shape.per_task = std::max(worth, (shape.rows_total + 63) / 64);
  const int64_t tasks = (shape.rows_total + shape.per_task - 1) / shape.per_task;
  const Buffer indices = lower.input(0), rows = lower.input(1), dense = lower.output(0);
  lower.launch(embedding_kernels(lower.isa()).scatter, tasks, 0, [=](Run& run) {
    Scatter args = shape;
    args.indices.data = run.at(indices);
    args.rows = run.f32(rows);
    args.dense = run.f32(dense);
    return args;
  });
}

}  // namespace

const OpDef& op_embedding() {
  static const OpDef def{.name = "embedding", .infer = infer, .gradient = differentiate, .lower = lower};
  return def;
}

const OpDef& op_scatter_rows() {
  static const OpDef def{.name = "scatter_rows", .infer = infer_scatter, .lower = lower_scatter};
  return def;
}

}  // namespace thaw
