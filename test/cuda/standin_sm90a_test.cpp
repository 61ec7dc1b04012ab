// The stand-in's Hopper: products of a warpgroup, mbarriers and bulk copies. Descriptors in every swizzle against loops over
// the matrices; every order that the instructions ask for is left out once and must be found.
#define THAW_STANDIN_SM90A 1
#include <cmath>

#include "found.h"
#include "gpu.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/wgmma.h"
#include "numbers.h"

using namespace thaw::cuda;

namespace {

constexpr int kDepth = 16;

/// Where the numbers of a [count][16] lie in shared memory, and its descriptor: by the PTX ISA's figures of the layouts.
struct Layout {
  bool transposed;
  int swizzle;  // bytes
};

/// K-major: eight rows are an atom of 8 x `swizzle` bytes, of which sixteen numbers fill 32 bytes. MN-major: `swizzle` bytes
/// of rows by eight steps of the depth.
int byte_of(const Layout& l, int count, int i, int k) {
  const int atom = 8 * l.swizzle, across = l.swizzle / 2;
  int byte;
  if (!l.transposed && l.swizzle == 16) byte = i / 8 * 256 + k / 8 * 128 + i % 8 * 16 + k % 8 * 2;
  else if (!l.transposed) byte = i / 8 * atom + i % 8 * l.swizzle + k * 2;
  else byte = k / 8 * (count / across * atom) + i / across * atom + k % 8 * l.swizzle + i % across * 2;
  return byte ^ (byte / 128 % (l.swizzle / 16)) * 16;
}

uint64_t descriptor_of(const Layout& l, int count, uint32_t from) {
  const int atom = 8 * l.swizzle, across = l.swizzle / 2;
  uint64_t leading = 0, stride = static_cast<uint64_t>(atom);
  if (!l.transposed && l.swizzle == 16) leading = 128, stride = 256;
  if (l.transposed) leading = static_cast<uint64_t>(atom), stride = static_cast<uint64_t>(count / across * atom);
  if (l.transposed && l.swizzle == 16) std::swap(leading, stride);
  const uint64_t mode = l.swizzle == 128 ? 1 : l.swizzle == 64 ? 2 : l.swizzle == 32 ? 3 : 0;
  return mode << 62 | stride >> 4 << 32 | leading >> 4 << 16 | from >> 4;
}

/// y [64][n] = 2 (a b), a [64][16], b [n][16], by two products on the same sums.
template <int n>
__global__ void product(const uint16_t* a, const uint16_t* b, float* y, Layout l) {
  unsigned char* of_a = shared_memory<unsigned char>();
  unsigned char* of_b = of_a + 8192;
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < 64 * kDepth; i += 128)
    *reinterpret_cast<uint16_t*>(of_a + byte_of(l, 64, i / kDepth, i % kDepth)) = a[i];
  for (int i = t; i < n * kDepth; i += 128)
    *reinterpret_cast<uint16_t*>(of_b + byte_of(l, n, i / kDepth, i % kDepth)) = b[i];
  publish_shared();
  __syncthreads();
  float d[n / 8][4] = {};
  begin_wgmma();
  const uint64_t at = descriptor_of(l, 64, shared_address(of_a)), bt = descriptor_of(l, n, shared_address(of_b));
  for (int i = 0; i < 2; ++i) standin::wgmma_bf16(&d[0][0], n, at, bt, l.transposed, l.transposed);
  end_wgmma();
  wait_wgmma<0>();
  for (int j = 0; j < n / 8; ++j)
    for (int e = 0; e < 4; ++e)
      y[(t / 32 * 16 + t % 32 / 4 + e / 2 * 8) * n + j * 8 + t % 4 * 2 + e % 2] = d[j][e];
}

std::vector<uint16_t> bf16(const std::vector<double>& x) {
  std::vector<uint16_t> result;
  for (double v : x) result.push_back(harness::bf16_bits(v));
  return result;
}

template <int n>
void products() {
  const std::vector<double> a = harness::in_bf16(harness::noise(64 * kDepth, 1)), b = harness::in_bf16(harness::noise(n * kDepth, 2));
  const gpu::Array<uint16_t> on_a(bf16(a)), on_b(bf16(b));
  const gpu::Array<float> on_y(64 * n);
  for (const bool transposed : {false, true})
    for (const int swizzle : {16, 32, 64, 128}) {
      if (transposed && swizzle / 2 > n) continue;
      launch(product<n>, 1, 128, 24576, on_a.data(), on_b.data(), on_y.data(), Layout{transposed, swizzle});
      FINISH();
      const std::vector<float> y = on_y.read();
      double worst = 0;
      for (size_t i = 0; i < 64; ++i)
        for (size_t j = 0; j < n; ++j) {
          double want = 0;
          for (size_t k = 0; k < kDepth; ++k) want += 2 * a[i * kDepth + k] * b[j * kDepth + k];
          worst = std::max(worst, std::abs(y[i * n + j] - want));
        }
      CHECK(worst < 1e-4);
    }
}

enum class Fault {
  none, no_fence, late_fence, no_barrier, no_register_fence, no_wait, read_early, write_early, overwrite, one_warp, other_operands
};

/// Zeros times zeros, with a fault.
__global__ void faulty(float* y, Fault fault) {
  uint32_t* memory = shared_memory<uint32_t>();
  const unsigned t = threadIdx.x;
  for (unsigned i = t; i < 1536; i += 128) memory[i] = 0;
  if (fault != Fault::no_fence && fault != Fault::late_fence) publish_shared();
  if (fault != Fault::no_barrier) __syncthreads();
  if (fault == Fault::late_fence) publish_shared();
  float d[4][4] = {};
  if (fault != Fault::no_register_fence) begin_wgmma();
  const uint32_t from = shared_address(memory) + (fault == Fault::other_operands && t < 32 ? 32 : 0);
  if (fault != Fault::one_warp || t >= 32)
    wgmma_bf16<32, false>(d, wgmma_operand(from, 0, 512), wgmma_operand(shared_address(memory) + 4096, 0, 512));
  end_wgmma();
  if (fault == Fault::write_early) d[1][1] = 5;
  if (fault == Fault::overwrite) memory[t] = 1;
  if (fault == Fault::overwrite) __syncthreads();
  if (fault == Fault::read_early) y[t] = d[0][0];
  if (fault != Fault::no_wait) wait_wgmma<0>();
  __syncthreads();
  if (fault != Fault::read_early) y[t] = d[0][0];
}

void faults() {
  const gpu::Array<float> y(128);
  const auto run = [&](Fault fault) { launch(faulty, 1, 128, 6144, y.data(), fault); };
  run(Fault::none);
  FINISH();
  CHECK(y.read()[77] == 0);
  run(Fault::no_fence);
  FOUND("without a fence of the asynchronous proxy");
  run(Fault::late_fence);
  FOUND("without a fence of the asynchronous proxy");
  run(Fault::no_barrier);
  FOUND("race in shared memory");
  run(Fault::no_register_fence);
  FOUND("without a wgmma.fence");
  run(Fault::no_wait);
  FOUND("returns before its products are done");
  run(Fault::write_early);
  FOUND("sums were written before their product was done");
  run(Fault::overwrite);
  FOUND("while a product might read them");
  run(Fault::one_warp);
  FOUND("has issued");
  run(Fault::other_operands);
  FOUND("different operands");
  launch(faulty, 1, 96, 6144, y.data(), Fault::none);
  FOUND("four warps");
  run(Fault::read_early);
  FINISH();
  CHECK(std::isnan(y.read()[77]));
}

enum class Slip { none, no_wait, no_publish, short_bytes, wrong_parity, unaligned, overwritten };

/// y = x by three bulk copies through two stages.
__global__ void staged(const float* x, float* y, Slip slip) {
  uint64_t* barriers = shared_memory<uint64_t>();
  float* stages = reinterpret_cast<float*>(barriers + 2);
  const unsigned t = threadIdx.x;
  if (t == 0) {
    for (int i = 0; i < 2; ++i) init_barrier(barriers + i, 1);
    if (slip != Slip::no_publish) publish_shared();
  }
  __syncthreads();
  const auto copy = [&](unsigned i) {
    if (t != 64) return;
    expect_bytes(barriers + i % 2, slip == Slip::short_bytes ? 240 : 256);
    copy_bulk(stages + i % 2 * 64 + (slip == Slip::unaligned ? 1 : 0), x + i * 64, 256, barriers + i % 2);
  };
  copy(0);
  copy(1);
  for (unsigned i = 0; i < 3; ++i) {
    if (slip != Slip::no_wait) wait_phase(barriers + i % 2, slip == Slip::wrong_parity ? 1 - i / 2 : i / 2);
    __syncthreads();
    if (t < 64) y[i * 64 + t] = stages[i % 2 * 64 + t];
    if (slip != Slip::overwritten) __syncthreads();
    if (i == 0) copy(2);
  }
}

void bulk_copies() {
  std::vector<float> x(192);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  const gpu::Array<float> on_x(x), y(192);
  const auto run = [&](Slip slip) { launch(staged, 1, 96, 16 + 512, on_x.data(), y.data(), slip); };
  run(Slip::none);
  FINISH();
  CHECK(y.read() == x);
  run(Slip::no_wait);
  FOUND("unfinished copy");
  run(Slip::no_publish);
  FOUND("without a fence of the asynchronous proxy");
  run(Slip::short_bytes);
  FOUND("its phase never ends");
  run(Slip::wrong_parity);
  FOUND("unfinished copy");
  run(Slip::unaligned);
  FOUND("multiples of 16");
  run(Slip::overwritten);
  FOUND("race in shared memory");
}

}  // namespace

int main() {
  gpu::backend();
  products<32>();
  products<64>();
  products<128>();
  faults();
  bulk_copies();
  return check::result();
}
