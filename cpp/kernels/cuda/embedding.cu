// Gather and scatter of rows. A scatter's block owns a range of rows and reads all indices, so that repeated indices are
// summed in order without atomics.
#include "kernels/embedding.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace thaw {
namespace cuda {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ int64_t index_at(const Indices& indices, int64_t i) {
  return indices.wide ? static_cast<const int64_t*>(indices.data)[i] : static_cast<const int32_t*>(indices.data)[i];
}

/// One block takes one task's positions, a warp each. Rows of wrong indices become 0.
__global__ void __launch_bounds__(kThreads) gather_kernel(Embedding a) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * a.per_task;
  const int64_t end = begin + a.per_task < a.count ? begin + a.per_task : a.count;
  int64_t wrong = INT64_MAX;
  for (int64_t i = begin + warp; i < end; i += kThreads / 32) {
    const int64_t row = index_at(a.indices, i);
    const bool valid = row >= 0 && row < a.rows;
    if (!valid && i < wrong) wrong = i;
    if (lane == 0) a.kept[i] = !valid || row == a.padding ? -1 : static_cast<int32_t>(row);
    for (int64_t c = lane; c < a.width; c += 32) a.y[i * a.width + c] = valid ? a.weight[row * a.width + c] : 0.0f;
  }
  int64_t* firsts = shared_memory<int64_t>();
  if (lane == 0) firsts[warp] = wrong;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kThreads / 32; ++w) wrong = firsts[w] < wrong ? firsts[w] : wrong;
  a.wrong[blockIdx.x] = wrong == INT64_MAX ? -1 : wrong;
}

/// The positions among kThreads from `begin` on whose rows lie in [first, last), in order, with their rows; their number.
__device__ int collect(const Scatter& a, int64_t begin, int64_t first, int64_t last, int64_t* list, int* counts) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t i = begin + threadIdx.x, row = i < a.count ? index_at(a.indices, i) : -1;
  const bool wanted = row >= first && row < last;
  const unsigned votes = __ballot_sync(0xffffffffu, wanted);
  __syncthreads();  // the list before this one has been read
  if (lane == 0) counts[warp] = __popc(votes);
  __syncthreads();
  int before = 0, all = 0;
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w == warp) before = all;
    all += counts[w];
  }
  if (wanted) {
    const int place = before + __popc(votes & ((1u << lane) - 1));
    list[2 * place] = i;
    list[2 * place + 1] = row;
  }
  __syncthreads();
  return all;
}

/// Block b owns `each` rows. An element of `dense` belongs to one thread.
__global__ void __launch_bounds__(kThreads) scatter_kernel(Scatter a, int64_t each) {
  const int64_t first = blockIdx.x * each, last = first + each < a.rows_total ? first + each : a.rows_total;
  int64_t* list = shared_memory<int64_t>();  // [kThreads][position, row]
  int* counts = reinterpret_cast<int*>(list + 2 * kThreads);
  for (int64_t row = first; row < last; ++row)
    for (int64_t c = threadIdx.x; c < a.width; c += kThreads) a.dense[row * a.width + c] = 0.0f;
  for (int64_t begin = 0; begin < a.count; begin += kThreads) {
    const int found = collect(a, begin, first, last, list, counts);
    for (int k = 0; k < found; ++k) {
      const float* source = a.rows + list[2 * k] * a.width;
      float* sum = a.dense + list[2 * k + 1] * a.width;
      for (int64_t c = threadIdx.x; c < a.width; c += kThreads) sum[c] += source[c];
    }
  }
}

void gather(const Embedding& a, int64_t tasks, void*) {
  launch(gather_kernel, blocks(tasks, 1), kThreads, kThreads / 32 * sizeof(int64_t), a);
}

void scatter(const Scatter& a, int64_t, void*) {
  const int64_t each = divide_up(a.rows_total, 1024);  // every block reads all indices
  if (each == 0) return;
  const size_t shared = 2 * kThreads * sizeof(int64_t) + kThreads / 32 * sizeof(int);
  launch(scatter_kernel, blocks(a.rows_total, 1, static_cast<int>(each)), kThreads, shared, a, each);
}

}  // namespace

extern const EmbeddingKernels embedding = {gather, scatter};

}  // namespace cuda
}  // namespace thaw
