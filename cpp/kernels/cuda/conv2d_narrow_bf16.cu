// A network's first convolution in bf16 (Conv2dNarrow): plain f32 pictures of up to four channels, lines of bf16 out.
// Lines of 32 channels would be nearly empty; here a step of the depth is eight neighbours of a row with four channels each.
//
// A block computes 8 rows by 16 columns by 64 outputs of one picture. What these read, the patch, waits in shared memory as
// pixels of four bf16: two neighbouring channels are one word of a fragment, and at a stride of 2 a fragment's words lie in
// all 32 banks. Weights come straight from the first-level cache, packed as fragments:
//   [eight outputs][row of the kernel][part of eight taps][lane][4 words]
#include "kernels/conv2d_bf16.h"

#include "kernels/cuda/conv2d_tile.h"
#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {
namespace {

using Tile = TileBf16<128, 64, 32, 64>;
constexpr int kRows = kNarrowRows, kCols = kNarrowCols;
static_assert(kRows * kCols == Tile::kRows && kCols == 16, "sixteen columns are the rows of a fragment");
constexpr int kTaps = 8, kPixelChannels = 4;  // of a step

/// The fields in the numbers that the device computes fast with.
struct Narrow {
  const float* x;
  const uint4* weights;
  int channels, in_height, in_width, out_blocks, out_height, out_width;
  int kernel_height, parts, stride_y, stride_x, pad_top, pad_left, dilation_y;
  int patch_rows, patch_cols;
};

/// Copies the patch, rounded, zeros beyond the picture and its channels.
__device__ __forceinline__ void load_patch(const Narrow& a, const float* picture, int first_row, int first_col, uint2* patch) {
  const int64_t plane = static_cast<int64_t>(a.in_height) * a.in_width;
  for (int i = static_cast<int>(threadIdx.x); i < a.patch_rows * a.patch_cols; i += Tile::kThreads) {
    const int row = first_row + i / a.patch_cols, col = first_col + i % a.patch_cols;
    const bool valid = inside(row, a.in_height) && inside(col, a.in_width);
    float v[kPixelChannels];
#pragma unroll
    for (int c = 0; c < kPixelChannels; ++c)
      v[c] = valid && c < a.channels ? __ldg(picture + c * plane + row * a.in_width + col) : 0.0f;
    patch[i] = make_uint2(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]));
  }
}

/// One step: the row of the kernel that begins at `row` of the patch (a warp's first), eight taps from column `tap`.
__device__ __forceinline__ void multiply(const Narrow& a, const uint32_t* patch, int row, int tap, const uint4* weights,
                                         int apart, int eights, Tile::Sums& sums) {
  const int lane = Tile::lane(), column = lane / 4, word = lane % 4;
  uint4 fb[Tile::kN];
#pragma unroll
  for (int j = 0; j < Tile::kN; ++j)
    fb[j] = j < eights ? __ldg(weights + static_cast<int64_t>(j) * apart + lane) : make_uint4(0, 0, 0, 0);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int i = 0; i < Tile::kM; ++i) {
      // A pixel is two words; four lanes take two pixels, and the upper half of a fragment's depth the two behind.
      const uint32_t* at = patch + ((row + i * a.stride_y) * a.patch_cols + tap + half * 4 + column * a.stride_x) * 2 + word;
      const int below = 8 * a.stride_x * 2;
      const uint32_t fa[4] = {at[0], at[below], at[4], at[below + 4]};
#pragma unroll
      for (int j = 0; j < Tile::kN; ++j) {
        const uint32_t pair[2] = {half ? fb[j].z : fb[j].x, half ? fb[j].w : fb[j].y};
        mma_bf16(sums.at[i][j], fa, pair);
      }
    }
  }
}

__global__ __launch_bounds__(Tile::kThreads, 3) void direct_kernel(Narrow a, Finish<uint16_t> finish) {
  unsigned char* memory = shared_memory<unsigned char>();
  const int outputs = (a.out_blocks + 1) / 2, across = (a.out_width + kCols - 1) / kCols, down = (a.out_height + kRows - 1) / kRows;
  int index = static_cast<int>(blockIdx.x);
  const int first_block = index % outputs * 2;
  index /= outputs;
  const int col = index % across * kCols, row = index / across % down * kRows, n = index / across / down;
  const float* picture = a.x + static_cast<int64_t>(n) * a.channels * a.in_height * a.in_width;
  load_patch(a, picture, row * a.stride_y - a.pad_top, col * a.stride_x - a.pad_left, reinterpret_cast<uint2*>(memory));
  __syncthreads();

  const int steps = a.kernel_height * a.parts, apart = steps * 32;
  const int blocks = smaller_of(2, a.out_blocks - first_block);
  Tile::Sums sums;
  Tile::clear(sums);
  const uint4* weights = a.weights + static_cast<int64_t>(first_block) * 4 * apart;
  const int patch_row = Tile::warp_row() / kCols * a.stride_y;
  for (int step = 0; step < steps; ++step)
    multiply(a, reinterpret_cast<const uint32_t*>(memory), patch_row + step / a.parts * a.dilation_y, step % a.parts * kTaps,
             weights + step * 32, apart, blocks * 4, sums);
  __syncthreads();

  float* spread = reinterpret_cast<float*>(memory);
  Tile::spread(sums, spread);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kCols * blocks * kParts; i += Tile::kThreads) {
    const int part = i % kParts, point = i / kParts % (kRows * kCols), block = i / kParts / (kRows * kCols);
    const int y = row + point / kCols, x = col + point % kCols;
    if (y >= a.out_height || x >= a.out_width) continue;
    float v[8];
#pragma unroll
    for (int e = 0; e < 8; e += 4) {
      const float4 f = *reinterpret_cast<const float4*>(spread + sum_at<64>(point, block * 32 + part * 8 + e));
      v[e] = f.x, v[e + 1] = f.y, v[e + 2] = f.z, v[e + 3] = f.w;
    }
    const int line = ((n * a.out_blocks + first_block + block) * a.out_height + y) * a.out_width + x;
    finish(line, (first_block + block) * 32 + part * 8, v);
  }
}

/// A thread makes one word of a fragment: two neighbouring channels of one tap.
__global__ void pack_kernel(Conv2dNarrowPack a, uint32_t* packed, int words) {
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= words) return;
  const int steps = static_cast<int>(a.kernel_height * a.parts);
  const int word = index % 4, lane = index / 4 % 32, step = index / 128 % steps, output = index / 128 / steps * 8 + lane / 4;
  const int k = word / 2 * 16 + word % 2 * 8 + lane % 4 * 2;  // of the step's 32
  const int64_t tap = step % a.parts * kTaps + k / kPixelChannels, row = step / a.parts;
  float v[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int64_t channel = k % kPixelChannels + i;
    const bool exists = output < a.outputs && channel < a.channels && tap < a.kernel_width;
    v[i] = exists ? __ldg(a.weight + ((output * a.channels + channel) * a.kernel_height + row) * a.kernel_width + tap) : 0.0f;
  }
  packed[index] = bf16_pair(v[0], v[1]);
}

int small(int64_t n) { return static_cast<int>(n); }

void direct(const Conv2dNarrow& a, int64_t, void*) {
  Narrow d{a.x, reinterpret_cast<const uint4*>(a.weights), small(a.channels), small(a.in_height), small(a.in_width),
           small(a.out_blocks), small(a.out_height), small(a.out_width), small(a.kernel_height), small(a.parts),
           small(a.stride_y), small(a.stride_x), small(a.pad_top), small(a.pad_left), small(a.dilation_y), 0, 0};
  d.patch_rows = (kRows - 1) * d.stride_y + (d.kernel_height - 1) * d.dilation_y + 1;
  d.patch_cols = (kCols - 1) * d.stride_x + d.parts * kTaps;
  const Finish<uint16_t> finish{a.bias, a.residual, nullptr, a.y, small(a.out_channels), a.activation, a.alpha};
  const int64_t tiles = divide_up(a.out_blocks, 2) * divide_up(a.out_width, kCols) * divide_up(a.out_height, kRows) * a.pictures;
  const size_t patch = static_cast<size_t>(d.patch_rows) * static_cast<size_t>(d.patch_cols) * sizeof(uint2);
  const size_t sums = kRows * kCols * 64 * sizeof(float);
  launch(direct_kernel, dim3(static_cast<unsigned>(tiles)), dim3(Tile::kThreads), patch > sums ? patch : sums, d, finish);
}

void pack(const Conv2dNarrowPack& a, int64_t, void*) {
  const int64_t words = divide_up(a.outputs, 32) * 4 * a.kernel_height * a.parts * 128;
  launch(pack_kernel, blocks(words, 256), dim3(256), 0, a, reinterpret_cast<uint32_t*>(a.packed), small(words));
}

}  // namespace

extern const Conv2dNarrowKernels conv2d_narrow_bf16 = {direct, pack};

}  // namespace cuda
}  // namespace thaw
