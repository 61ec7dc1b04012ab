#include "ops/reduction.h"

#include <algorithm>

#include "kernels/elementwise.h"

namespace thaw {

namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

std::vector<Extent> joined(const std::vector<Extent>& extents) {
  std::vector<Extent> result;
  for (const Extent& e : extents) {
    if (e.size == 1) continue;
    if (!result.empty() && result.back().reduced == e.reduced) {
      result.back().size *= e.size;
    } else {
      result.push_back(e);
    }
  }
  return result;
}

/// [outer][length][inner] → [outer][parts][inner].
struct Stage {
  int64_t outer, length, inner;
  int64_t part, parts;

  int64_t results() const { return outer * parts * inner; }
};

void launch(Lower& lower, ReduceKernel kernel, const Stage& s, Buffer x, Buffer y, double factor) {
  const int64_t units = s.outer * s.parts * divide_up(s.inner, kReduceColumns);
  const int64_t unit_work = std::max<int64_t>(1, s.part * std::min(s.inner, kReduceColumns));
  const int64_t per_task = std::max<int64_t>(1, kChunk / unit_work);
  lower.launch(kernel, divide_up(units, per_task), 0, [=](Run& run) {
    return Reduce{run.f32(x), run.f32(y), s.outer, s.length, s.inner, s.part, s.parts, per_task, factor};
  });
}

/// One run of reduced dimensions. Few long sums are cut into parts, so that there is work for several threads.
void reduce_one(Lower& lower, ReduceKernel kernel, Stage s, Buffer x, Buffer y, double factor) {
  const int64_t sums = s.outer * divide_up(s.inner, kReduceColumns);
  const int64_t part = std::max<int64_t>(64, kChunk / std::min(s.inner, kReduceColumns));
  if (sums >= 16 || s.length <= 2 * part) return launch(lower, kernel, s, x, y, factor);
  Stage parts = s;
  parts.part = part;
  parts.parts = divide_up(s.length, part);
  const Buffer partial = lower.workspace(sizeof(float) * parts.results());
  launch(lower, kernel, parts, x, partial, 1.0);
  launch(lower, kernel, {s.outer, parts.parts, s.inner, parts.parts, 1}, partial, y, factor);
}

}  // namespace

void lower_copy(Lower& lower, Buffer x, Buffer y, int64_t n) {
  lower.launch(elementwise_kernels(lower.isa()).scale, chunks(n), 0,
               [=](Run& run) { return Scale{run.f32(x), nullptr, run.f32(y), n, 1.0f}; });
}

void lower_reduction(Lower& lower, ReduceKernel kernel, Buffer x, const std::vector<Extent>& all, Buffer y,
                     double factor) {
  std::vector<Extent> extents = joined(all);
  auto reduced = [](const Extent& e) { return e.reduced; };
  int64_t left = std::count_if(extents.begin(), extents.end(), reduced);
  if (left == 0) {  // nothing but dimensions of one element is reduced
    extents.push_back({1, true});
    left = 1;
  }
  for (; left > 0; --left) {
    const auto at = std::find_if(extents.rbegin(), extents.rend(), reduced);
    const size_t i = static_cast<size_t>(extents.rend() - at) - 1;
    Stage stage{1, extents[i].size, 1, extents[i].size, 1};
    for (size_t d = 0; d < extents.size(); ++d) {
      if (d != i) (d < i ? stage.outer : stage.inner) *= extents[d].size;
    }
    const Buffer result = left == 1 ? y : lower.workspace(sizeof(float) * stage.results());
    reduce_one(lower, kernel, stage, x, result, left == 1 ? factor : 1.0);
    extents.erase(extents.begin() + static_cast<std::ptrdiff_t>(i));
    extents = joined(extents);
    x = result;
  }
}

}  // namespace thaw
