// Packed matrix product on V16; see kernels/gemm.h for layouts and the order of sums.
// AVX-512: 14 rows x 32 outputs in 28 registers. AVX2: 6 rows x 16 outputs in 12. Scalar: 2 x 16.
// Fewer rows take wider tiles of outputs, so that one row alone still keeps several chains in flight.
#include "kernels/gemm.h"
#include "kernels/cpu/micro/activate.h"
#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

#if defined(THAW_ISA_avx512)
constexpr int kRows = 14;
constexpr int widest(int rows) { return rows <= 2 ? 8 : rows <= 6 ? 4 : 2; }
#elif defined(THAW_ISA_avx2)
constexpr int kRows = 6;
constexpr int widest(int rows) { return rows <= 1 ? 4 : rows <= 3 ? 2 : 1; }
#else
constexpr int kRows = 2;
constexpr int widest(int) { return 1; }
#endif

int64_t panels_of(int64_t n) { return (n + kPanel - 1) / kPanel; }
THAW_INLINE int64_t depth_at(int64_t k, int64_t begin) { return k - begin < kDepth ? k - begin : kDepth; }

/// One chunk of one panel; `source` is at its first summand and first column.
void pack_chunk(const PackB& args, const float* source, int64_t depth, int64_t lanes, float* packed) {
  if (args.n_stride == 1) {
    for (int64_t k = 0; k < depth; ++k) storeu(packed + k * kPanel, load_n(source + k * args.k_stride, lanes));
    return;
  }
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const float* column = source + lane * args.n_stride;
    for (int64_t k = 0; k < depth; ++k) packed[k * kPanel + lane] = column[k * args.k_stride];
  }
  for (int64_t lane = lanes; lane < kPanel; ++lane) {
    for (int64_t k = 0; k < depth; ++k) packed[k * kPanel + lane] = 0.0f;
  }
}

void pack_b(const PackB& args, int64_t task, void*) {
  const int64_t panels = panels_of(args.n), panel = task % panels, matrix = task / panels;
  const int64_t left = args.n - panel * kPanel, lanes = left < kPanel ? left : kPanel;
  const float* source = args.source + matrix * args.batch_stride + panel * kPanel * args.n_stride;
  float* packed = args.packed + matrix * panels * args.k * kPanel;
  for (int64_t k = 0; k < args.k; k += kDepth) {
    const int64_t depth = depth_at(args.k, k);
    pack_chunk(args, source + k * args.k_stride, depth, lanes, packed + (k * panels + panel * depth) * kPanel);
  }
}

void pack_a(const PackA& args, int64_t task, void*) {
  const int64_t tile = task % args.tiles, matrix = task / args.tiles;
  const int64_t begin = part_begin(args.m, args.tiles, tile), rows = part_begin(args.m, args.tiles, tile + 1) - begin;
  const float* source = args.source + matrix * args.batch_stride + begin * args.m_stride;
  float* packed = args.packed + (matrix * args.m + begin) * args.k;
  if (args.m_stride == 1) {
    for (int64_t k = 0; k < args.k; ++k, packed += rows) {
      for (int64_t row = 0; row < rows; ++row) packed[row] = source[k * args.k_stride + row];
    }
    return;
  }
  for (int64_t k0 = 0; k0 < args.k; k0 += 64) {
    const int64_t k1 = k0 + 64 < args.k ? k0 + 64 : args.k;
    for (int64_t row = 0; row < rows; ++row) {
      const float* line = source + row * args.m_stride;
      for (int64_t k = k0; k < k1; ++k) packed[k * rows + row] = line[k * args.k_stride];
    }
  }
}

struct Tile {
  const float* a;  // [depth][R]
  const float* b;  // P panels [depth][16], one after the other
  float* c;
  int64_t depth, c_stride;
  int64_t lanes;  // columns of the last panel
  bool first, last;
  const float* bias;
  Activation activation;
  float alpha;
};

/// Adds one chunk's sums to C; the last chunk's also take the bias.
THAW_INLINE void finish(const Tile& tile, V16 sum, float* c, int64_t panel, int64_t lanes) {
  if (!tile.first) sum = add(load_n(c, lanes), sum);
  if (tile.last && tile.bias != nullptr) sum = add(sum, load_n(tile.bias + panel * kPanel, lanes));
  store_n(c, sum, lanes);
}

/// Out of line, or each of the tile kernels would carry every activation.
THAW_NOINLINE void activate_tile(const Tile& tile, int64_t rows, int64_t panels) {
  const int64_t columns = (panels - 1) * kPanel + tile.lanes;
  for (int64_t row = 0; row < rows; ++row) {
    activate_all(tile.c + row * tile.c_stride, tile.c + row * tile.c_stride, columns, tile.activation, tile.alpha);
  }
}

template <int R, int P>
void multiply_tile(const Tile& tile) {
  V16 sums[R][P];
  THAW_UNROLL
  for (int r = 0; r < R; ++r) {
    THAW_UNROLL
    for (int p = 0; p < P; ++p) sums[r][p] = zero();
  }
  const float* a = tile.a;
  const float* b = tile.b;
  const int64_t panel_stride = tile.depth * kPanel;
  for (int64_t k = 0; k < tile.depth; ++k, a += R, b += kPanel) {
    V16 columns[P];
    THAW_UNROLL
    for (int p = 0; p < P; ++p) columns[p] = loadu(b + p * panel_stride);
    THAW_UNROLL
    for (int r = 0; r < R; ++r) {
      const V16 value = broadcast(a[r]);
      THAW_UNROLL
      for (int p = 0; p < P; ++p) sums[r][p] = fma(value, columns[p], sums[r][p]);
    }
  }
  THAW_UNROLL
  for (int r = 0; r < R; ++r) {
    THAW_UNROLL
    for (int p = 0; p < P; ++p) {
      finish(tile, sums[r][p], tile.c + r * tile.c_stride + p * kPanel, p, p == P - 1 ? tile.lanes : kPanel);
    }
  }
  if (tile.last && tile.activation != Activation::none) activate_tile(tile, R, P);
}

template <int R, int P>
void with_panels(const Tile& tile, int64_t panels) {
  if constexpr (P > 1) {
    if (panels < P) return with_panels<R, P / 2>(tile, panels);
  }
  multiply_tile<R, P>(tile);
}

template <int R>
void with_rows(const Tile& tile, int64_t rows, int64_t panels) {
  if constexpr (R > 1) {
    if (rows < R) return with_rows<R - 1>(tile, rows, panels);
  }
  with_panels<R, widest(R)>(tile, panels);
}

/// Panels that one tile of `rows` rows takes at once when `left` remain.
int64_t panels_at_once(int64_t rows, int64_t left) {
  int64_t panels = widest(static_cast<int>(rows));
  while (panels > left) panels /= 2;
  return panels;
}

/// One chunk of K for the panels [p0, p1) and the row tiles [t0, t1).
void multiply_chunk(const Gemm& args, Tile tile, const float* a, const float* b, float* c, int64_t k, int64_t t0,
                    int64_t t1, int64_t p0, int64_t p1) {
  for (int64_t t = t0; t < t1; ++t) {
    const int64_t row = part_begin(args.m, args.tiles, t), rows = part_begin(args.m, args.tiles, t + 1) - row;
    tile.a = a + row * args.k + k * rows;
    int64_t step;
    for (int64_t p = p0; p < p1; p += step) {
      step = panels_at_once(rows, p1 - p);
      tile.b = b + (k * panels_of(args.n) + p * tile.depth) * kPanel;
      tile.c = c + row * args.n + p * kPanel;
      tile.bias = args.bias == nullptr ? nullptr : args.bias + p * kPanel;
      const int64_t width = args.n - (p + step - 1) * kPanel;
      tile.lanes = width < kPanel ? width : kPanel;
      with_rows<kRows>(tile, rows, step);
    }
  }
}

void multiply(const Gemm& args, int64_t task, void*) {
  const int64_t panels = panels_of(args.n);
  const int64_t col_group = task % args.col_groups, rest = task / args.col_groups;
  const int64_t row_group = rest % args.row_groups, batch = rest / args.row_groups;
  const int64_t p0 = part_begin(panels, args.col_groups, col_group);
  const int64_t p1 = part_begin(panels, args.col_groups, col_group + 1);
  const int64_t t0 = part_begin(args.tiles, args.row_groups, row_group);
  const int64_t t1 = part_begin(args.tiles, args.row_groups, row_group + 1);
  const float* a = args.a + args.a_of[batch] * args.m * args.k;
  const float* b = args.b + args.b_of[batch] * panels * args.k * kPanel;
  float* c = args.c + batch * args.m * args.n;
  Tile tile{};
  tile.c_stride = args.n;
  tile.activation = args.activation;
  tile.alpha = args.alpha;
  int64_t k = 0;
  do {  // once even when K is 0: the sum of nothing is zero
    tile.depth = depth_at(args.k, k);
    tile.first = k == 0;
    tile.last = k + tile.depth >= args.k;
    // A strip of panels whose chunk stays in the second cache while all rows pass over it.
    constexpr int64_t kStrip = 16;
    for (int64_t p = p0; p < p1; p += kStrip) {
      multiply_chunk(args, tile, a, b, c, k, t0, t1, p, p + kStrip < p1 ? p + kStrip : p1);
    }
    k += kDepth;
  } while (k < args.k);
}

}  // namespace

extern const GemmKernels gemm = {kRows, pack_a, pack_b, multiply};

}  // namespace THAW_ISA
}  // namespace thaw
