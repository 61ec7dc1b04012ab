#pragma once
// Cross-entropy by position; formulas in kernels/loss.h. A position's scores are read by one thread, or, where they lie
// side by side and are many, by a warp.
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/loss.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kLossThreads = 256;
constexpr int64_t kManyClasses = 32;

__device__ __forceinline__ float factor_at(const Factors& f, int64_t i) {
  if (!f.data) return 1.0f;
  const int64_t at = f.divide == 1 && i < f.modulo ? i : i / f.divide % f.modulo;
  if (f.bytes) return static_cast<const uint8_t*>(f.data)[at] != 0 ? 1.0f : 0.0f;
  return static_cast<const float*>(f.data)[at];
}

/// dloss / total; 0 where a mean was over nothing.
__device__ __forceinline__ float scale_of(const float* dloss, const float* total) {
  return *total == 0.0f ? 0.0f : *dloss / *total;
}

/// One thread, or the 32 of a warp, that go through a position's classes first, first + step, ….
template <int kSize>
struct Readers {
  static __device__ __forceinline__ int first() { return static_cast<int>(threadIdx.x) % kSize; }
  static __device__ __forceinline__ double sum(double x) {
    if constexpr (kSize == 32) return warp_sum(x);
    return x;
  }
  static __device__ __forceinline__ float max(float x) {
    for (int distance = kSize / 2; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, distance));
    return x;
  }
};

/// Positions of a task are numbered as its units have them: `line` numbers all positions, `begin` is the offset of the
/// first class.
struct Position {
  int64_t line, begin;
};

/// Position i of a task, i < units_per_task * 16 (inner == 1: a unit is one position). False where there is none.
__device__ __forceinline__ bool position_of(const CrossEntropy& a, int64_t task, int64_t i, Position& p) {
  const int64_t lines = a.inner == 1 ? 1 : 16, row = (a.inner + 15) / 16;
  const int64_t unit = task * a.units_per_task + i / lines;
  const int64_t outer = unit / row, column = unit % row * lines + i % lines;
  if (outer >= a.outer || column >= a.inner) return false;
  p.line = outer * a.inner + column;
  p.begin = outer * a.n * a.inner + column;
  return true;
}

/// What a position aims at.
struct Target {
  int64_t index;  // its class; -1: none, or probabilities
  float mask;     // 0 where it is ignored, masked or wrong
  bool wrong;
};

__device__ __forceinline__ Target target_of(const CrossEntropy& a, int64_t line) {
  Target t = {-1, factor_at(a.mask, line), false};
  if (a.kind == TargetKind::probabilities) return t;
  const int64_t index = a.kind == TargetKind::i64 ? static_cast<const int64_t*>(a.target)[line]
                                                  : static_cast<const int32_t*>(a.target)[line];
  const bool ignored = index == a.ignore_index;
  t.wrong = !ignored && (index < 0 || index >= a.n);
  if (ignored || t.wrong) t.mask = 0.0f;
  // Masks and classes are apart: q of an ignored position is that of class 0, times 0.
  t.index = ignored || t.wrong ? 0 : index;
  return t;
}

/// q of class c; `offset` is that of the score.
__device__ __forceinline__ float coefficient(const CrossEntropy& a, const Target& t, int64_t c, int64_t offset) {
  const float target = a.kind == TargetKind::probabilities ? static_cast<const float*>(a.target)[offset]
                                                           : c == t.index ? 1.0f : 0.0f;
  const float q = fmaf(target, 1.0f - a.smoothing, a.smoothing / static_cast<float>(a.n));
  return a.class_weights ? a.class_weights[c] * q : q;
}

/// What a position counts in a mean: the weight of its class, 1 for probabilities.
__device__ __forceinline__ float position_weight(const CrossEntropy& a, const Target& t) {
  if (a.kind == TargetKind::probabilities || !a.class_weights) return 1.0f;
  return a.class_weights[t.index];
}

template <int kSize>
__device__ __forceinline__ float log_sum_of(const CrossEntropy& a, int64_t begin) {
  float max = -__int_as_float(0x7f800000);
  for (int64_t c = Readers<kSize>::first(); c < a.n; c += kSize) max = fmaxf(max, a.scores[begin + c * a.inner]);
  max = Readers<kSize>::max(max);
  double total = 0;
  for (int64_t c = Readers<kSize>::first(); c < a.n; c += kSize)
    total += static_cast<double>(expf(a.scores[begin + c * a.inner] - max));
  return max + logf(static_cast<float>(Readers<kSize>::sum(total)));
}

/// The sum over a position's classes of q (log_sum - score). A class that does not count must not bring in an infinite
/// score.
template <int kSize>
__device__ __forceinline__ double loss_of(const CrossEntropy& a, const Target& t, int64_t begin, float log_sum) {
  double total = 0;
  for (int64_t c = Readers<kSize>::first(); c < a.n; c += kSize) {
    const int64_t at = begin + c * a.inner;
    const float q = coefficient(a, t, c, at);
    if (q != 0.0f) total = fma(static_cast<double>(q), static_cast<double>(log_sum - a.scores[at]), total);
  }
  return Readers<kSize>::sum(total);
}

/// One block makes one task's share and its first wrong position.
template <int kSize>
__global__ void __launch_bounds__(kLossThreads) cross_entropy_kernel(CrossEntropy a) {
  const int64_t task = blockIdx.x, positions = a.units_per_task * (a.inner == 1 ? 1 : 16);
  double loss = 0, weight = 0;
  int64_t wrong = INT64_MAX;
  for (int64_t i = threadIdx.x / kSize; i < positions; i += kLossThreads / kSize) {
    Position p;
    if (!position_of(a, task, i, p)) continue;
    const float log_sum = log_sum_of<kSize>(a, p.begin);
    const Target t = target_of(a, p.line);
    const float value = static_cast<float>(loss_of<kSize>(a, t, p.begin, log_sum)) * t.mask;
    if (Readers<kSize>::first() != 0) continue;
    a.log_sum[p.line] = log_sum;
    if (t.wrong && p.line < wrong) wrong = p.line;
    if (t.mask == 0.0f) continue;
    loss += static_cast<double>(value);
    weight += static_cast<double>(position_weight(a, t) * t.mask);
  }
  double* scratch = shared_memory<double>();
  loss = block_sum(loss, scratch);
  weight = block_sum(weight, scratch);
  for (int distance = 16; distance > 0; distance /= 2) {
    const int64_t other = __shfl_xor_sync(0xffffffffu, static_cast<long long>(wrong), distance);
    if (other < wrong) wrong = other;
  }
  int64_t* firsts = reinterpret_cast<int64_t*>(scratch + 33);
  if (threadIdx.x % 32 == 0) firsts[threadIdx.x / 32] = wrong;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kLossThreads / 32; ++w) wrong = firsts[w] < wrong ? firsts[w] : wrong;
  a.shares[task] = {loss, weight};
  a.wrong[task] = wrong == INT64_MAX ? -1 : wrong;
}

template <int kSize>
__global__ void __launch_bounds__(kLossThreads) cross_entropy_backward_kernel(CrossEntropyBackward b) {
  const CrossEntropy& a = b.loss;
  const int64_t line = static_cast<int64_t>(blockIdx.x) * (kLossThreads / kSize) + threadIdx.x / kSize;
  if (line >= a.outer * a.inner) return;
  const int64_t begin = line / a.inner * a.n * a.inner + line % a.inner;
  const Target t = target_of(a, line);
  const float log_sum = a.log_sum[line], factor = scale_of(b.dloss, b.total) * t.mask;
  double coefficients = 0, probabilities = 0;
  for (int64_t c = Readers<kSize>::first(); c < a.n; c += kSize) {
    const int64_t at = begin + c * a.inner;
    coefficients += static_cast<double>(coefficient(a, t, c, at));
    const float probability = expf(a.scores[at] - log_sum);
    probabilities += static_cast<double>(probability);
    b.dscores[at] = probability;
  }
  // Divided by their sum, the probabilities lose the error that the rounding of log_sum gave to all of them.
  const float weight = static_cast<float>(Readers<kSize>::sum(coefficients)) /
                       static_cast<float>(Readers<kSize>::sum(probabilities));
  for (int64_t c = Readers<kSize>::first(); c < a.n; c += kSize) {
    const int64_t at = begin + c * a.inner;
    const float slope = weight * b.dscores[at] - coefficient(a, t, c, at);
    b.dscores[at] = t.mask == 0.0f ? 0.0f : factor * slope;
  }
}

bool many_classes(const CrossEntropy& a) { return a.inner == 1 && a.n >= kManyClasses; }

void cross_entropy(const CrossEntropy& a, int64_t tasks, void*) {
  const auto kernel = many_classes(a) ? cross_entropy_kernel<32> : cross_entropy_kernel<1>;
  launch(kernel, blocks(tasks, 1), kLossThreads, (33 + kLossThreads / 32) * sizeof(double), a);
}

void cross_entropy_backward(const CrossEntropyBackward& b, int64_t, void*) {
  const bool many = many_classes(b.loss);
  const auto kernel = many ? cross_entropy_backward_kernel<32> : cross_entropy_backward_kernel<1>;
  launch(kernel, blocks(b.loss.outer * b.loss.inner, many ? kLossThreads / 32 : kLossThreads), kLossThreads, 0, b);
}

}  // namespace
}  // namespace cuda
}  // namespace thaw
