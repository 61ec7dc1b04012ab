// The stand-in finds what it is there to find: each kernel here has a fault planted, and a repaired twin that passes.
#include <string>

#include "found.h"
#include "gpu.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

using namespace thaw::cuda;

namespace {

std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
  return values;
}

template <bool barrier>
__global__ void reverse(const float* x, float* y) {
  float* shared = shared_memory<float>();
  const unsigned i = threadIdx.x, n = blockDim.x;
  shared[i] = x[i];
  if constexpr (barrier) __syncthreads();
  y[i] = shared[n - 1 - i];
}

void missing_barrier() {
  const gpu::Array<float> x(ramp(256)), y(256);
  launch(reverse<false>, 1, 256, 1024, x.data(), y.data());
  FOUND("race in shared memory", "standin_test.cpp", "block (0,0,0)");
  launch(reverse<true>, 1, 256, 1024, x.data(), y.data());
  FINISH();
  CHECK(y.read()[3] == 252);
}

/// Sums by halves, in place; without the second barrier a slow reader meets the next round's writer.
template <bool barrier>
__global__ void rotate(const float* x, float* y, int rounds) {
  float* shared = shared_memory<float>();
  const unsigned i = threadIdx.x, n = blockDim.x;
  float value = x[i];
  for (int r = 0; r < rounds; ++r) {
    shared[i] = value;
    __syncthreads();
    value = shared[(i + 1) % n];
    if constexpr (barrier) __syncthreads();
  }
  y[i] = value;
}

void write_after_read() {
  const gpu::Array<float> x(ramp(128)), y(128);
  launch(rotate<false>, 1, 128, 512, x.data(), y.data(), 3);
  FOUND("race in shared memory");
  launch(rotate<true>, 1, 128, 512, x.data(), y.data(), 3);
  FINISH();
  CHECK(y.read()[0] == 3 && y.read()[127] == 2);
}

/// Inside a warp __syncwarp is order enough, between warps it is not.
__global__ void neighbours(const float* x, float* y, unsigned distance) {
  float* shared = shared_memory<float>();
  const unsigned i = threadIdx.x;
  shared[i] = x[i];
  __syncwarp();
  y[i] = shared[i ^ distance];
}

void order_in_a_warp() {
  const gpu::Array<float> x(ramp(64)), y(64);
  launch(neighbours, 1, 64, 256, x.data(), y.data(), 32u);
  FOUND("race in shared memory");
  launch(neighbours, 1, 64, 256, x.data(), y.data(), 5u);
  FINISH();
  CHECK(y.read()[40] == 45);
}

/// Threads take `each` bytes of words that they share.
template <class T>
__global__ void narrow(T* y, unsigned overlap) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i / overlap] = static_cast<T>(i);
}

void parts_of_words() {
  const gpu::Array<uint16_t> halves(96);
  const gpu::Array<uint8_t> bytes(96);
  // Blocks of 33 and 31: words at the seams belong to two of them.
  launch(narrow<uint16_t>, 3, 31, 0, halves.data(), 1u);
  launch(narrow<uint8_t>, 3, 31, 0, bytes.data(), 1u);
  FINISH();
  CHECK(halves.read()[92] == 92 && bytes.read()[31] == 31);
  launch(narrow<uint16_t>, 3, 31, 0, halves.data(), 2u);
  FOUND("race in device memory");
  launch(narrow<uint8_t>, 3, 31, 0, bytes.data(), 2u);
  FOUND("race in device memory");
}

/// Each block writes the sum of its part: to a place of its own, or all to one.
__global__ void totals(const float* x, float* y, unsigned places) {
  const float sum = warp_sum(x[blockIdx.x * 32 + threadIdx.x]);
  if (threadIdx.x == 0) y[blockIdx.x % places] = sum;
}

void two_blocks() {
  const gpu::Array<float> x(ramp(128)), y(4);
  launch(totals, 4, 32, 0, x.data(), y.data(), 3u);
  FOUND("race in device memory", "another block wrote", "byte 0 of an allocation of 16 bytes");
  launch(totals, 4, 32, 0, x.data(), y.data(), 4u);
  FINISH();
  CHECK(y.read()[0] == 496 && y.read()[3] == 3568);
}

/// A block reads what another writes.
__global__ void shift(float* x, unsigned by) {
  const unsigned i = blockIdx.x * 32 + threadIdx.x;
  x[i] = x[i + by] + 1;
}

void blocks_that_read() {
  const gpu::Array<float> x(ramp(96));
  launch(shift, 2, 32, 0, x.data(), 32u);
  FOUND("race in device memory", "another block");
  launch(shift, 2, 32, 0, x.data(), 0u);
  FINISH();
}

__global__ void copy(const float* x, float* y, unsigned count) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) y[i] = x[i];
}

void out_of_bounds() {
  const gpu::Array<float> x(ramp(101)), y(100), z(101);
  launch(copy, 2, 64, 0, x.data(), y.data(), 101u);
  FOUND("out of bounds", "wrote 4 bytes at 0 bytes past the end of an allocation of 400 bytes");
  launch(copy, 2, 64, 0, y.data() - 1, z.data(), 100u);
  FOUND("out of bounds", "read 4 bytes");
  launch(reverse<true>, 1, 64, 252, x.data(), z.data());
  FOUND("out of bounds", "of shared memory, of which the block has 252");
  launch(copy, 2, 64, 0, x.data(), y.data(), 100u);
  FINISH();
  CHECK(y.read() == ramp(100));
}

void after_the_end() {
  const gpu::Array<float> y(100);
  const float* gone = nullptr;
  {
    const gpu::Array<float> x(ramp(100));
    gone = x.data();
  }
  launch(copy, 2, 64, 0, gone, y.data(), 100u);
  FOUND("out of bounds");
}

void uninitialised() {
  const gpu::Array<float> x(64), y(64);
  launch(copy, 1, 64, 0, x.data(), y.data(), 64u);
  FOUND("uninitialised", "which nobody has written");
  gpu::demand(gpu::backend().clear(x.data(), 4 * 63));
  launch(copy, 1, 64, 0, x.data(), y.data(), 64u);
  FOUND("uninitialised", "byte 252");
  gpu::demand(gpu::backend().clear(x.data(), 4 * 64));
  launch(copy, 1, 64, 0, x.data(), y.data(), 64u);
  FINISH();
  const gpu::Array<float> z(64);
  standin::set_check_initialised(false);
  launch(copy, 1, 64, 0, z.data(), y.data(), 64u);
  standin::set_check_initialised(true);
  gpu::backend().wait();
  standin::forget_violations();
}

void memory_of_the_host() {
  alignas(16) float x[64] = {}, y[64];
  launch(copy, 1, 64, 0, static_cast<const float*>(x), static_cast<float*>(y), 64u);
  FOUND("out of bounds", "memory that the device has not");
  x[5] = 7;
  const standin::Registered in(x, sizeof x), out(y, sizeof y);
  launch(copy, 1, 64, 0, static_cast<const float*>(x), static_cast<float*>(y), 64u);
  FINISH();
  CHECK(y[5] == 7);
  launch(copy, 1, 96, 0, static_cast<const float*>(x), static_cast<float*>(y), 65u);
  FOUND("out of bounds");
}

__global__ void wide(const float* x, float4* y) { y[threadIdx.x] = reinterpret_cast<const float4*>(x)[threadIdx.x]; }

void misaligned() {
  const gpu::Array<float> x(ramp(132));
  const gpu::Array<float4> y(32);
  launch(wide, 1, 32, 0, x.data() + 1, y.data());
  FOUND("misaligned", "float4", "no multiple of 16");
  launch(wide, 1, 32, 0, x.data() + 4, y.data());
  FINISH();
  CHECK(y.read()[31].w == 131);
}

}  // namespace

int main() {
  gpu::backend();
  missing_barrier();
  write_after_read();
  order_in_a_warp();
  parts_of_words();
  two_blocks();
  blocks_that_read();
  out_of_bounds();
  after_the_end();
  uninitialised();
  memory_of_the_host();
  misaligned();
  return check::result();
}
