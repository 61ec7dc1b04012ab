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

}  // namespace

void lower_product(Lower& lower, Product p) {
  const int64_t batch = static_cast<int64_t>(p.a_of.size());
  if (batch * p.m * p.n == 0) return;
  const auto& kernels = gemm_kernels(lower.isa());
  const int64_t tiles = divide_up(p.m, kernels.rows);
  const Buffer a = pack_a(lower, p, tiles);
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
    args.a_of = p.a_of.data(), args.b_of = p.b_of.data();
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
