#pragma once
// The product of a convolution's lines and its weights (kernels/conv2d_gemm.h), for tiles of either type.
//
// A block computes BM points by BN outputs of one panel. It has four stages of shared memory: while one is multiplied, three
// are being copied, 16 bytes a thread and instruction. A thread copies the same rows in every step,
// so that it keeps where its points' lines begin; a tap adds the same offset to all of them.
//
// One barrier a step is enough: a thread that passes it has its own copies of this step behind it, and all have finished
// the step before, whose stage is filled next. Where products go on while their threads do (kInFlight), all have finished the
// step before that one, and a stage less is on its way.
#include "kernels/conv2d_gemm.h"
#include "kernels/cuda/conv2d_tile.h"

namespace thaw {
namespace cuda {

constexpr int kStages = 4;
/// So many stages are being copied while one is multiplied.
template <class Tile>
constexpr int kAhead = kStages - 1 - Tile::kInFlight;

/// A point of the grid: its line at offset (0, 0) in the first block of input and where that lies, and its output's line
/// in the first block of output, -1 beyond the last point.
struct GridPoint {
  int line, y, x, out;
};

__device__ __forceinline__ GridPoint grid_point(const Conv2dGemm& a, int m) {
  const int points = a.rows * a.cols;
  if (m >= a.pictures * points) return {0, -(1 << 30), 0, -1};
  const int n = m / points, row = m % points / a.cols, col = m % points % a.cols;
  const int y = row * a.stride_y + a.first_y, x = col * a.stride_x + a.first_x;
  return {(n * a.in_blocks * a.in_height + y) * a.in_width + x, y, x,
          n * a.out_blocks * a.out_pixels + a.out_start + row * a.out_row + col * a.out_col};
}

/// Which step of the depth comes next: taps go round within a block of input.
struct Walk {
  int tap_y, tap_x;
  int y, x;   // offset of the tap
  int block;  // lines from the panel's first block

  __device__ __forceinline__ Walk(const Conv2dGemm& a, int step) {
    const int taps = a.taps_y * a.taps_x, plane = a.in_height * a.in_width;
    const int tap = taps > 0 ? step % taps : 0;
    tap_y = taps > 0 ? tap / a.taps_x : 0, tap_x = taps > 0 ? tap % a.taps_x : 0;
    y = tap_y * a.step_y, x = tap_x * a.step_x;
    block = taps > 0 ? step / taps * plane : 0;
  }
  __device__ __forceinline__ void next(const Conv2dGemm& a) {
    x += a.step_x;
    if (++tap_x < a.taps_x) return;
    tap_x = x = 0;
    y += a.step_y;
    if (++tap_y < a.taps_y) return;
    tap_y = y = 0;
    block += a.in_height * a.in_width;
  }
};

/// What a block computes.
template <class Tile>
struct Place {
  static constexpr int kChannels = Part<typename Tile::Number>::kChannels;
  int first_point, panel, first_output;  // first_output: counted in the panel
  int outputs, steps;                    // of the panel, rounded up to whole blocks

  __device__ __forceinline__ explicit Place(const Conv2dGemm& a) {
    const int tiles = (a.panel_out * kChannels + Tile::kColumns - 1) / Tile::kColumns;
    const int column = static_cast<int>(blockIdx.x) % (tiles * a.panels);
    first_point = static_cast<int>(blockIdx.x) / (tiles * a.panels) * Tile::kRows;
    panel = column / tiles;
    first_output = column % tiles * Tile::kColumns;
    outputs = smaller_of(a.panel_out, a.out_blocks - panel * a.panel_out) * kChannels;
    steps = smaller_of(a.panel_in, a.in_blocks - panel * a.panel_in) * a.taps_y * a.taps_x;
  }
};

/// A thread's share of copying a stage.
template <class Tile>
struct Copies {
  static constexpr int kApart = Tile::kThreads / kParts;  // rows
  static constexpr int kA = Tile::kRows / kApart, kB = Tile::kColumns / kApart;
  static_assert(Tile::kRows % kApart == 0 && Tile::kColumns % kApart == 0, "whole rows");

  int line[kA], y[kA], x[kA];
  const unsigned char* pictures;
  const unsigned char* weights;
  int height, width, outputs;
  int row, part, panel_lines;

  __device__ __forceinline__ Copies(const Conv2dGemm& a, const Place<Tile>& place, const GridPoint* points, int step) {
    row = static_cast<int>(threadIdx.x) / kParts, part = static_cast<int>(threadIdx.x) % kParts;
    height = a.in_height, width = a.in_width;
#pragma unroll
    for (int i = 0; i < kA; ++i) {
      const GridPoint& point = points[row + i * kApart];
      line[i] = point.line, y[i] = point.y, x[i] = point.x;
    }
    pictures = line_at(a.x, place.panel * a.panel_in * height * width, part);
    const int64_t whole = static_cast<int64_t>(a.panel_in) * a.taps_y * a.taps_x * a.panel_out * Place<Tile>::kChannels;
    panel_lines = place.outputs;
    outputs = place.outputs - place.first_output;
    weights = static_cast<const unsigned char*>(a.weights) +
              (place.panel * whole + static_cast<int64_t>(step) * panel_lines + place.first_output) * kLine;
  }

  /// Begins to copy the step that `walk` stands at; the next call copies the next one. Lines of weights lie in global memory
  /// as they do in a stage, one behind the other: tiles that can have one copy for all, whose end is told at `arrival`.
  __device__ __forceinline__ void copy(unsigned char* a, unsigned char* b, const Walk& walk, uint64_t* arrival) {
    const int offset = walk.block + walk.y * width + walk.x;
#pragma unroll
    for (int i = 0; i < kA; ++i) {
      const bool valid = inside(y[i] + walk.y, height) && inside(x[i] + walk.x, width);
      const int64_t from = valid ? static_cast<int64_t>(line[i] + offset) * kLine : 0;
      copy_later(a + slot(row + i * kApart, part), pictures + from, valid);
    }
    if constexpr (Tile::kBulk) {
      Tile::copy_lines(b, weights, outputs, arrival);
    } else {
#pragma unroll
      for (int i = 0; i < kB; ++i) {
        const int line = row + i * kApart, byte = line * kLine + part * 16;
        copy_later(b + byte, weights + (line < outputs ? byte : 0), line < outputs);
      }
    }
    weights += static_cast<int64_t>(panel_lines) * kLine;
  }
};

/// What a thread finishes of a block's sums: whole parts of lines, neighbours of a warp those of neighbouring lines.
template <class Tile>
struct Share {
  static constexpr int kSize = Part<typename Tile::Number>::kSize;
  static constexpr int kCount = Tile::kRows * Tile::kColumns / kSize / Tile::kThreads;
  int row, column;

  __device__ __forceinline__ explicit Share(int i) {
    const int index = static_cast<int>(threadIdx.x) + i * Tile::kThreads, block = index / kParts / Tile::kRows;
    row = index / kParts % Tile::kRows;
    column = block * Part<typename Tile::Number>::kChannels + index % kParts * kSize;
  }
  __device__ __forceinline__ float4* four(float* sums, int i) const {
    return reinterpret_cast<float4*>(sums + sum_at<Tile::kColumns>(row, column + i));
  }
  __device__ __forceinline__ void load(float* sums, float (&v)[kSize]) const {
#pragma unroll
    for (int i = 0; i < kSize; i += 4) {
      const float4 f = *four(sums, i);
      v[i] = f.x, v[i + 1] = f.y, v[i + 2] = f.z, v[i + 3] = f.w;
    }
  }
  __device__ __forceinline__ void store(float* sums, const float (&v)[kSize]) const {
#pragma unroll
    for (int i = 0; i < kSize; i += 4) *four(sums, i) = make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]);
  }
};

/// Sums of one part of the depth, for the join: [part][out_block][point][channels].
template <class T>
__device__ __forceinline__ void store_partial(const Conv2dGemm& a, int part, int point, int channel,
                                              const float (&v)[Part<T>::kSize]) {
  constexpr int kChannels = Part<T>::kChannels;
  const int64_t points = static_cast<int64_t>(a.pictures) * a.rows * a.cols;
  float* to = a.partial + ((static_cast<int64_t>(part) * a.out_blocks + channel / kChannels) * points + point) * kChannels +
              channel % kChannels;
#pragma unroll
  for (int i = 0; i < Part<T>::kSize; i += 4) *reinterpret_cast<float4*>(to + i) = make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]);
}

template <class T>
__device__ __forceinline__ Finish<T> finish_of(const Conv2dGemm& a) {
  return {a.bias, a.residual, a.gate, a.y, a.out_channels, a.activation, a.alpha};
}

/// Lays the sums out in shared memory and finishes them. Four parts at a time, so that what is read of a residual is asked
/// for together; activations of many instructions go through a loop of their own.
template <class Tile>
__device__ __forceinline__ void finish(const Conv2dGemm& a, const Place<Tile>& place, const typename Tile::Sums& sums,
                                       float* shared, const GridPoint* points) {
  using T = typename Tile::Number;
  constexpr int kCount = Share<Tile>::kCount, kTogether = kCount < 4 ? kCount : 4;
  const Finish<T> finish = finish_of<T>(a);
  const int first = place.panel * a.panel_out * Place<Tile>::kChannels + place.first_output;
  const int columns = place.outputs - place.first_output;
  Tile::spread(sums, shared);
  __syncthreads();
  for (int i = 0; i < kCount; i += kTogether) {
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      const Share<Tile> share(i + j);
      const int out = points[share.row].out, channel = first + share.column;
      if (out < 0 || share.column >= columns) continue;
      float v[Share<Tile>::kSize];
      share.load(shared, v);
      if (a.partial) {
        store_partial<T>(a, static_cast<int>(blockIdx.y), place.first_point + share.row, channel, v);
        continue;
      }
      const int line = out + channel / Place<Tile>::kChannels * a.out_pixels;
      finish.combine(line, channel, v);
      if (finish.simple()) finish.store(line, channel, v);
      else share.store(shared, v);
    }
  }
  if (a.partial || finish.simple()) return;
#pragma unroll 1
  for (int i = 0; i < kCount; ++i) {
    const Share<Tile> share(i);
    const int out = points[share.row].out, channel = first + share.column;
    if (out < 0 || share.column >= columns) continue;
    float v[Share<Tile>::kSize];
    share.load(shared, v);
    finish.activate_part(v);
    finish.store(out + channel / Place<Tile>::kChannels * a.out_pixels, channel, v);
  }
}

template <class Tile>
struct Memory {
  static constexpr int kStage = (Tile::kRows + Tile::kColumns) * kLine;
  static constexpr int kSums = Tile::kRows * Tile::kColumns * 4;
  static constexpr int kWork = kStages * kStage > kSums ? kStages * kStage : kSums;
  static constexpr int kArrivals = kWork + Tile::kRows * static_cast<int>(sizeof(GridPoint));  // of a stage's weights
  static constexpr int kBytes = kArrivals + kStages * static_cast<int>(sizeof(uint64_t));
};

/// One block of the product. `joins`: it computes all parts of the depth and joins them, else the part blockIdx.y.
template <class Tile, bool joins>
__device__ __forceinline__ void product(const Conv2dGemm& a) {
  using Sums = typename Tile::Sums;
  unsigned char* memory = shared_memory<unsigned char>();
  GridPoint* points = reinterpret_cast<GridPoint*>(memory + Memory<Tile>::kWork);
  uint64_t* arrivals = reinterpret_cast<uint64_t*>(memory + Memory<Tile>::kArrivals);
  const Place<Tile> place(a);
  if (place.first_output >= place.outputs) return;
  Tile::prepare(memory + Tile::kRows * kLine, Memory<Tile>::kStage, kStages, place.outputs - place.first_output, arrivals);
  for (int r = static_cast<int>(threadIdx.x); r < Tile::kRows; r += Tile::kThreads)
    points[r] = grid_point(a, place.first_point + r);
  __syncthreads();

  const int first_part = joins ? 0 : static_cast<int>(blockIdx.y), last_part = joins ? a.parts : first_part + 1;
  int step = place.steps * first_part / a.parts;
  const int end = place.steps * last_part / a.parts;
  Copies<Tile> copies(a, place, points, step);
  Walk walk(a, step);
  int copied = step, filled = 0, used = 0;  // a step; stages
  uint32_t round = 0;                       // through the stages
  const auto stage = [&](int i) { return memory + i * Memory<Tile>::kStage; };
  const auto fill = [&] {
    if (copied < end) {
      copies.copy(stage(filled), stage(filled) + Tile::kRows * kLine, walk, arrivals + filled);
      walk.next(a);
    }
    end_copies();
    ++copied;
    filled = filled + 1 == kStages ? 0 : filled + 1;
  };
#pragma unroll 1
  for (int i = 0; i < kAhead<Tile>; ++i) fill();

  Sums sums, total;
  Tile::clear(sums);
  if (joins) Tile::clear(total);
#pragma unroll 1
  for (int part = first_part; part < last_part; ++part) {
    const int boundary = place.steps * (part + 1) / a.parts;
    if (step < boundary) {  // sums under way and others must not meet: the compiler would wait in every step
#pragma unroll 1
      do {
        wait_copies<kAhead<Tile> - 1>();
        if constexpr (Tile::kBulk) Tile::wait_lines(arrivals + used, round % 2);
        Tile::meet(sums);
        __syncthreads();
        fill();
        Tile::multiply(stage(used), stage(used) + Tile::kRows * kLine, sums);
        used = used + 1 == kStages ? 0 : used + 1;
        round += used == 0;
      } while (++step < boundary);
      Tile::settle(sums);
    }
    if (!joins) continue;
    Tile::add(total, sums);
    Tile::clear(sums);
  }
  wait_copies<0>();
  __syncthreads();
  finish<Tile>(a, place, joins ? total : sums, reinterpret_cast<float*>(memory), points);
}

/// Joins the parts of the depth in order: a thread has one part of a line.
template <class T>
__device__ __forceinline__ void join_parts(const Conv2dGemm& a) {
  constexpr int kSize = Part<T>::kSize, kChannels = Part<T>::kChannels;
  const int64_t points = static_cast<int64_t>(a.pictures) * a.rows * a.cols, all = points * a.out_blocks;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= all * kParts) return;
  const int block = static_cast<int>(index / kParts / points), point = static_cast<int>(index / kParts % points);
  const int part = static_cast<int>(index % kParts);
  float v[kSize] = {};
  const float* from = a.partial + index * kSize;
#pragma unroll 4
  for (int p = 0; p < a.parts; ++p) {
#pragma unroll
    for (int i = 0; i < kSize; i += 4) {
      const float4 four = __ldg(reinterpret_cast<const float4*>(from + i));
      v[i] += four.x, v[i + 1] += four.y, v[i + 2] += four.z, v[i + 3] += four.w;
    }
    from += all * kChannels;
  }
  finish_of<T>(a)(grid_point(a, point).out + block * a.out_pixels, block * kChannels + part * kSize, v);
}

}  // namespace cuda
}  // namespace thaw
