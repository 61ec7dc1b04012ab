#include "ops/product.h"

#include <algorithm>

namespace thaw {

namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

Buffer pack_a(Lower& lower, const Product& p, int64_t tiles) {
  if (p.m == 1 && p.k_stride == 1) return p.a;  // one row is its own tile
  const auto& kernels = gemm_kernels(lower.isa());
  const Buffer packed = lower.workspace(sizeof(float) * p.a_matrices * p.m * p.k);
  lower.launch(kernels.pack_a, p.a_matrices * tiles, 0, [=](Run& run) {
    return PackA{run.f32(p.a), run.f32(packed), p.m, p.k, p.m_stride, p.k_stride, p.m * p.k, tiles};
  });
  return packed;
}

/// Parts of a sum that keep a GPU's multiprocessors busy where the result is small.
int64_t parts_of(const Product& p, int64_t batch) {
  constexpr int64_t kTile = 64, kWanted = 256;
  const int64_t tiles = batch * divide_up(p.m, kTile) * divide_up(p.n, kTile);
  return std::clamp<int64_t>(kWanted / tiles, 1, std::max<int64_t>(1, divide_up(p.k, kDepth)));
}

/// The product with a as it lies.
void lower_unpacked(Lower& lower, const Product& p) {
  const int64_t batch = static_cast<int64_t>(p.a_of.size()), parts = p.over_rows ? parts_of(p, batch) : 1;
  const Buffer partial = parts > 1 ? lower.workspace(sizeof(float) * parts * batch * p.m * p.n) : kNone;
  const Buffer a_of = lower.table(p.a_of), b_of = lower.table(p.b_of);
  lower.launch(gemm_kernels(lower.isa()).multiply, batch, 0, [=](Run& run) {
    Gemm args{};
    args.a = run.f32(p.a), args.b = run.f32(p.b), args.bias = run.f32(p.bias), args.c = run.f32(p.c);
    args.m = p.m, args.n = p.n, args.k = p.k;
    args.m_stride = p.m_stride, args.k_stride = p.k_stride;
    args.a_of = static_cast<const int64_t*>(run.at(a_of)), args.b_of = static_cast<const int64_t*>(run.at(b_of));
    args.activation = p.activation, args.alpha = p.alpha;
    args.batch = batch, args.parts = parts, args.partial = run.f32(partial);
    return args;
  });
}

}  // namespace

void lower_product(Lower& lower, Product p) {
  const int64_t batch = static_cast<int64_t>(p.a_of.size());
  if (batch * p.m * p.n == 0) return;
  const auto& kernels = gemm_kernels(lower.isa());
  if (kernels.rows == 0) return lower_unpacked(lower, p);
  const int64_t tiles = divide_up(p.m, kernels.rows);
  const Buffer a = pack_a(lower, p, tiles), a_of = lower.table(p.a_of), b_of = lower.table(p.b_of);
  // A task takes up to 16 row tiles and at least 8 panels, so that what it packs in caches serves many times.
  const int64_t row_groups = divide_up(tiles, 16);
  const int64_t worth = std::max<int64_t>(1, p.m * p.k * p.n >> 17);
  const int64_t col_groups = std::min({divide_up(divide_up(p.n, kPanel), 8), int64_t{32}, worth});
  lower.launch(kernels.multiply, batch * row_groups * col_groups, 0, [=](Run& run) {
    Gemm args{};
    args.a = run.f32(a);
    args.b = run.f32(p.b);
    args.bias = run.f32(p.bias);
    args.c = run.f32(p.c);
    args.m = p.m, args.n = p.n, args.k = p.k;
    args.tiles = tiles, args.row_groups = row_groups, args.col_groups = col_groups;
    args.a_of = static_cast<const int64_t*>(run.at(a_of)), args.b_of = static_cast<const int64_t*>(run.at(b_of));
    args.activation = p.activation, args.alpha = p.alpha;
    return args;
  });
}

void lower_pack(Lower& lower, Buffer source, Buffer packed, int64_t matrices, int64_t k, int64_t n, int64_t k_stride,
                int64_t n_stride) {
  lower.launch(gemm_kernels(lower.isa()).pack_b, matrices * divide_up(n, kPanel), 0, [=](Run& run) {
    return PackB{run.f32(source), run.f32(packed), k, n, k_stride, n_stride, k * n};
  });
}

Shape packed_shape(Shape matrices, int64_t k, int64_t n) {
  matrices.insert(matrices.end(), {divide_up(n, kPanel), k, kPanel});
  return matrices;
}

}  // namespace thaw
