#pragma once
// What linear, matmul and the gradients of linear share: the lowering of one packed matrix product.
#include "kernels/gemm.h"
#include "ops/op.h"

namespace thaw {

struct Product {
  int64_t m = 0, n = 0, k = 0;
  Buffer a = kNone;  // not packed: a(m, k) at m * m_stride + k * k_stride
  int64_t m_stride = 0, k_stride = 0;
  int64_t a_matrices = 1;  // m * k apart
  Buffer b = kNone;        // packed
  Buffer bias = kNone;
  Buffer c = kNone;
  std::vector<int64_t> a_of = {0}, b_of = {0};  // the matrices each product reads
  Activation activation = Activation::none;
  float alpha = 0;
  bool over_rows = false;  // sums go over the rows of a batch, so that their order may follow from all of the shape
};

/// Packs a when it must be, then multiplies.
void lower_product(Lower&, Product);
/// Packs `matrices` matrices b(k, n) at k * k_stride + n * n_stride, k * n elements apart, into panels.
void lower_pack(Lower&, Buffer source, Buffer packed, int64_t matrices, int64_t k, int64_t n, int64_t k_stride,
                int64_t n_stride);
/// [matrices…, ceil(n / 16), k, 16]
Shape packed_shape(Shape matrices, int64_t k, int64_t n);

/// What the attributes of a fused layer say: activation ("none", "relu", …), with approximate for gelu.
/// Throws ERR_ATTRIBUTE for an unknown one.
Activation fused_activation(const Json& attrs);

}  // namespace thaw
