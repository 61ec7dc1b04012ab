// The stand-in's warps: shuffles, votes, products on tensor cores, their operands, asynchronous copies, and barriers that
// not all threads reach. Faults are found, never waited for.
#include <cmath>

#include "found.h"
#include "gpu.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/mma.h"
#include "numbers.h"

using namespace thaw::cuda;

namespace {

/// Lanes at or beyond `lanes` do not take part.
__global__ void sum(float* y, unsigned lanes) {
  float x = static_cast<float>(threadIdx.x);
  if (threadIdx.x < lanes) x = warp_sum(x);
  y[threadIdx.x] = x;
}

__global__ void returns_early(float* y, unsigned lanes) {
  if (threadIdx.x >= lanes) return;
  y[threadIdx.x] = warp_sum(1.0f);
}

void lanes_missing() {
  const gpu::Array<float> y(64);
  launch(sum, 1, 32, 0, y.data(), 31u);
  FOUND("shuffle", "reads from lane 31, which takes no part");
  launch(returns_early, 1, 64, 0, y.data(), 60u);
  FOUND("shuffle", "takes no part");
  launch(sum, 1, 24, 0, y.data(), 24u);
  FOUND("shuffle", "takes no part");
  launch(sum, 2, 32, 0, y.data(), 32u);
  FOUND("race in device memory", "another block");
  launch(sum, 1, 32, 0, y.data(), 32u);
  launch(returns_early, 1, 64, 0, y.data(), 64u);
  FINISH();
  CHECK(y.read()[5] == 32 && y.read()[63] == 32);
}

__global__ void exchanges(int64_t* y) {
  const int lane = static_cast<int>(threadIdx.x);
  const int64_t x = int64_t{lane} << 40;
  y[lane] = __shfl_sync(0xffffffffu, x, 7) >> 40;
  y[32 + lane] = __shfl_up_sync(0xffffffffu, x, 2) >> 40;
  y[64 + lane] = __shfl_down_sync(0xffffffffu, x, 3, 16) >> 40;
  y[96 + lane] = __shfl_xor_sync(0xffffffffu, x, 9) >> 40;
  y[128 + lane] = __ballot_sync(0xffffffffu, lane % 3 == 0);
  if (lane < 16) y[160 + lane] = __shfl_sync(0x0000ffffu, lane, lane + 1, 8);
}

void every_exchange() {
  const gpu::Array<int64_t> on_y(176);
  launch(exchanges, 1, 32, 0, on_y.data());
  FINISH();
  const std::vector<int64_t> y = on_y.read();
  for (int64_t i = 0; i < 32; ++i) {
    const size_t at = static_cast<size_t>(i);
    CHECK(y[at] == 7 && y[32 + at] == (i < 2 ? i : i - 2));
    CHECK(y[64 + at] == (i % 16 < 13 ? i + 3 : i) && y[96 + at] == (i ^ 9) && y[128 + at] == 0x49249249);
    if (i < 16) CHECK(y[160 + at] == i / 8 * 8 + (i + 1) % 8);
  }
}

__global__ void barrier_for_some(float* y, unsigned threads, bool both) {
  if (threadIdx.x < threads) {
    __syncthreads();
  } else if (both) {
    __syncthreads();
  }
  y[threadIdx.x] = 1;
}

__global__ void barrier_or_shuffle(float* y, unsigned threads) {
  float x = 1;
  if (threadIdx.x < threads) __syncthreads();
  else x = warp_sum(x);
  y[threadIdx.x] = x;
}

__global__ void barrier_of_those_left(float* y, unsigned threads) {
  float* shared = shared_memory<float>();
  if (threadIdx.x >= threads) return;
  shared[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  y[threadIdx.x] = shared[threads - 1 - threadIdx.x];
}

void divergent_barriers() {
  const gpu::Array<float> y(128);
  launch(barrier_for_some, 1, 128, 0, y.data(), 40u, true);
  FOUND("divergent __syncthreads");
  launch(barrier_or_shuffle, 1, 64, 0, y.data(), 40u);
  FOUND("shuffle", "lanes of its mask do not arrive", "waits for the block");
  launch(barrier_for_some, 1, 128, 0, y.data(), 128u, true);
  launch(barrier_of_those_left, 1, 128, 512, y.data(), 70u);
  FINISH();
  CHECK(y.read()[69] == 0 && y.read()[0] == 69);
}

/// y = a b + c, one warp: a 16x16, b 16x8, c 16x8 by rows; b's fragments by ldmatrix from its rows, transposed.
__global__ void product(const uint16_t* a, const uint16_t* b, const float* c, float* y) {
  uint16_t* shared_a = shared_memory<uint16_t>();
  uint16_t* shared_b = shared_a + 256;
  const unsigned lane = threadIdx.x;
  for (unsigned i = lane; i < 256; i += 32) shared_a[i] = a[i];
  for (unsigned i = lane; i < 256; i += 32) shared_b[i] = b[i % 128];
  __syncwarp();
  uint32_t of_a[4], of_b[4];
  // Matrices of a: rows 0-7 and 8-15 of columns 0-7, then of columns 8-15.
  load_matrices(of_a, shared_a + lane % 16 * 16 + lane / 16 * 8);
  load_matrices_transposed(of_b, shared_b + lane * 8);
  const uint32_t first[2] = {of_b[0], of_b[1]};
  const unsigned row = lane / 4, column = lane % 4 * 2;
  float d[4];
  for (unsigned i = 0; i < 4; ++i) d[i] = c[(row + i / 2 * 8) * 8 + column + i % 2];
  mma_bf16(d, of_a, first);
  for (unsigned i = 0; i < 4; ++i) y[(row + i / 2 * 8) * 8 + column + i % 2] = d[i];
}

std::vector<uint16_t> rounded(const std::vector<double>& x) {
  std::vector<uint16_t> result;
  for (double v : x) result.push_back(harness::bf16_bits(v));
  return result;
}

void tensor_cores() {
  const std::vector<double> a = harness::in_bf16(harness::noise(256, 1)), b = harness::in_bf16(harness::noise(128, 2));
  const std::vector<double> c = harness::noise(128, 3);
  const gpu::Array<uint16_t> on_a(rounded(a)), on_b(rounded(b));
  const gpu::Array<float> on_c(std::vector<float>(c.begin(), c.end())), on_y(128);
  launch(product, 1, 32, 1024, on_a.data(), on_b.data(), on_c.data(), on_y.data());
  FINISH();
  const std::vector<float> y = on_y.read();
  for (size_t m = 0; m < 16; ++m) {
    for (size_t n = 0; n < 8; ++n) {
      double want = c[m * 8 + n], scale = std::abs(want);
      for (size_t k = 0; k < 16; ++k) {
        want += a[m * 16 + k] * b[k * 8 + n];
        scale += std::abs(a[m * 16 + k] * b[k * 8 + n]);
      }
      CHECK(std::abs(y[m * 8 + n] - want) <= scale * 0x1p-20);
    }
  }
}

/// r of all lanes, from 32 rows of 8 numbers whose addresses the lanes give in another order.
__global__ void load(const uint16_t* x, uint32_t* y, bool transposed, unsigned offset) {
  uint16_t* shared = shared_memory<uint16_t>();
  const unsigned lane = threadIdx.x;
  for (unsigned i = 0; i < 8; ++i) shared[lane * 8 + i] = x[lane * 8 + i];
  __syncwarp();
  uint32_t r[4];
  const uint16_t* row = shared + (lane * 5 + 3) % 32 * 8 + offset;
  if (transposed) load_matrices_transposed(r, row);
  else load_matrices(r, row);
  for (unsigned i = 0; i < 4; ++i) y[lane * 4 + i] = r[i];
}

void matrices() {
  std::vector<uint16_t> x(256);
  for (size_t i = 0; i < 256; ++i) x[i] = static_cast<uint16_t>(i);
  const gpu::Array<uint16_t> on_x(x);
  const gpu::Array<uint32_t> on_y(128);
  for (const bool transposed : {false, true}) {
    launch(load, 1, 32, 544, on_x.data(), on_y.data(), transposed, 0u);
    FINISH();
    const std::vector<uint32_t> y = on_y.read();
    for (unsigned lane = 0; lane < 32; ++lane) {
      for (unsigned matrix = 0; matrix < 4; ++matrix) {
        const auto at = [&](unsigned row, unsigned column) { return ((matrix * 8 + row) * 5 + 3) % 32 * 8 + column; };
        const unsigned i = lane / 4, j = lane % 4 * 2;
        const uint32_t low = transposed ? at(j, i) : at(i, j), high = transposed ? at(j + 1, i) : at(i, j + 1);
        CHECK(y[lane * 4 + matrix] == (low | high << 16));
      }
    }
  }
  launch(load, 1, 32, 544, on_x.data(), on_y.data(), false, 4u);
  FOUND("ldmatrix", "no multiple of 16");
}

/// Two stages of copies; `waits`: 0 none, 1 for too few groups, 2 right. The block reads what its neighbours copied.
__global__ void staged(const float4* x, float4* y, unsigned count, int waits, bool barrier) {
  float4* shared = shared_memory<float4>();
  const unsigned i = threadIdx.x, n = blockDim.x;
  for (unsigned stage = 0; stage < 2; ++stage) {
    const unsigned at = stage * n + i;
    copy_later(shared + at, x + (at < count ? at : 0), at < count);
    end_copies();
  }
  for (unsigned stage = 0; stage < 2; ++stage) {
    if (waits == 1) wait_copies<1>();
    if (waits == 2 && stage == 0) wait_copies<1>();
    if (waits == 2 && stage == 1) wait_copies<0>();
    if (barrier) __syncthreads();
    y[stage * n + i] = shared[stage * n + (barrier ? n - 1 - i : i)];
    if (!barrier && stage == 1) y[i] = shared[n + (i + 32) % n];
  }
}

void copies() {
  const std::vector<float4> x(128, float4{1, 2, 3, 4});
  const gpu::Array<float4> on_x(x), on_y(128);
  for (const int waits : {0, 1}) {
    launch(staged, 1, 64, 2048, on_x.data(), on_y.data(), 128u, waits, true);
    FOUND("unfinished copy");
  }
  launch(staged, 1, 64, 2048, on_x.data(), on_y.data(), 128u, 2, false);
  FOUND("race in shared memory", "mma.h");  // a neighbour's copy, without a barrier
  launch(staged, 1, 64, 2048, on_x.data(), on_y.data(), 100u, 2, true);
  FINISH();
  const std::vector<float4> y = on_y.read();
  CHECK(y[127].w == 4 && y[64 + 27].w == 0 && y[64 + 28].w == 4 && y[0].x == 1);
  launch(staged, 1, 64, 2048, reinterpret_cast<const float4*>(reinterpret_cast<const float*>(on_x.data()) + 1), on_y.data(), 100u, 2, true);
  FOUND("asynchronous copy", "no multiple of 16");
}

}  // namespace

int main() {
  gpu::backend();
  lanes_missing();
  every_exchange();
  divergent_barriers();
  tensor_cores();
  matrices();
  copies();
  return check::result();
}
