#pragma once
// C = A B: c[b][m][n] = act(sum_k a[b][m][k] * b[b][k][n] + bias[n]) in f32.
// B lies in chunks of kDepth along K, each in panels of 16 outputs [ceil(N/16)][depth][16]: what a task reads for one
// chunk is one piece of memory, whatever N and K. A lies in row tiles of R rows [K][R], tile i of n from row M i / n.
// Order of a sum: chunks of kDepth along K, each one chain of fused multiply-adds from zero, the chunks added in order.
// It does not depend on M, so a row has the same bits in any batch. Sums that no row of a batch has to itself (gradients
// of weights) may be cut into parts of some chunks each, added in order.
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/isa.h"

namespace thaw {

constexpr int64_t kPanel = 16;   // outputs in a panel of B
constexpr int64_t kDepth = 256;  // summands of a chunk

/// Packs B. The source holds b(k, n) at k * k_stride + n * n_stride; columns beyond N become zero.
/// Tasks: batch * ceil(N / 16).
struct PackB {
  const float* source;
  float* packed;
  int64_t k, n;
  int64_t k_stride, n_stride;
  int64_t batch_stride;
};

/// Packs A in row tiles. The source holds a(m, k) at m * m_stride + k * k_stride. Tasks: batch * tiles.
struct PackA {
  const float* source;
  float* packed;
  int64_t m, k;
  int64_t m_stride, k_stride;
  int64_t batch_stride;
  int64_t tiles;  // row tiles of one matrix
};

struct Gemm {
  const float* a;     // packed, or as it lies; matrices m * k apart
  const float* b;     // packed; matrices panels * k * 16 apart
  const float* bias;  // [n] or null
  float* c;           // [batch][m][n]
  int64_t m, n, k;
  int64_t m_stride, k_stride;  // of an a that is not packed: one of them is 1
  int64_t tiles;        // row tiles of one matrix
  int64_t row_groups;   // tasks of one matrix along M
  int64_t col_groups;   // tasks of one matrix along N
  const int64_t* a_of;  // [batch]: which matrix of a a product reads
  const int64_t* b_of;
  Activation activation;
  float alpha;
  int64_t batch;
  int64_t parts;        // 1, or where rows is 0: how many parts a sum has, at most as many as chunks
  float* partial;       // [parts][batch][m][n] where parts is more than 1
};

struct GemmKernels {
  int64_t rows;  // the most rows of a tile; 0: a is read as it lies, there are no tiles and no pack_a
  void (*pack_a)(const PackA&, int64_t task, void* scratch);
  void (*pack_b)(const PackB&, int64_t task, void* scratch);
  /// Tasks: batch * row_groups * col_groups.
  void (*multiply)(const Gemm&, int64_t task, void* scratch);
};

/// Part i of n parts of `count` things that are as equal as whole numbers allow: its first thing.
static inline constexpr int64_t part_begin(int64_t count, int64_t n, int64_t i) { return count * i / n; }

THAW_KERNELS(GemmKernels, gemm)

}  // namespace thaw
