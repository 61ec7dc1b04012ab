// Gather and scatter of rows. A scatter's task owns a range of rows and reads all indices, so that repeated indices are
// summed in order without atomics.
#include "kernels/embedding.h"
#include "kernels/cpu/micro/vec.h"

namespace thaw {
namespace THAW_ISA {
namespace {

THAW_INLINE int64_t index_at(const Indices& indices, int64_t i) {
  return indices.wide ? static_cast<const int64_t*>(indices.data)[i] : static_cast<const int32_t*>(indices.data)[i];
}

THAW_INLINE int64_t lanes_at(int64_t n, int64_t i) { return n - i < kLanes ? n - i : kLanes; }

void gather(const Embedding& args, int64_t task, void*) {
  const int64_t begin = task * args.per_task;
  const int64_t end = begin + args.per_task < args.count ? begin + args.per_task : args.count;
  args.wrong[task] = -1;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = index_at(args.indices, i);
    if (row < 0 || row >= args.rows) {
      args.wrong[task] = i;
      return;
    }
    args.kept[i] = row == args.padding ? -1 : static_cast<int32_t>(row);
    const float* source = args.weight + row * args.width;
    float* y = args.y + i * args.width;
    for (int64_t c = 0; c < args.width; c += kLanes) {
      store_n(y + c, load_n(source + c, lanes_at(args.width, c)), lanes_at(args.width, c));
    }
  }
}

void scatter(const Scatter& args, int64_t task, void*) {
  const int64_t begin = task * args.per_task;
  const int64_t end = begin + args.per_task < args.rows_total ? begin + args.per_task : args.rows_total;
  float* first = args.dense + begin * args.width;
  const int64_t elements = (end - begin) * args.width;
  for (int64_t i = 0; i < elements; i += kLanes) store_n(first + i, zero(), lanes_at(elements, i));
  for (int64_t i = 0; i < args.count; ++i) {
    const int64_t row = index_at(args.indices, i);
    if (row < begin || row >= end) continue;
    const float* source = args.rows + i * args.width;
    float* sum = args.dense + row * args.width;
    for (int64_t c = 0; c < args.width; c += kLanes) {
      const int64_t lanes = lanes_at(args.width, c);
      store_n(sum + c, add(load_n(sum + c, lanes), load_n(source + c, lanes)), lanes);
    }
  }
}

}  // namespace

extern const EmbeddingKernels embedding = {gather, scatter};

}  // namespace THAW_ISA
}  // namespace thaw
