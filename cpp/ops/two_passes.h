#pragma once
// Two passes over pictures with a join between them that needs all of the first: batch norms, forward and backward. The
// channel blocks do not know each other, so the passes take a few of them at a time, and what the first one reads the
// second one finds in the second-level caches.
#include <algorithm>

#include "ops/op.h"
#include "run/pool.h"

namespace thaw {

/// The order of the tasks of both passes, which are chunk * blocks + block; the join's are the blocks. No bit depends on it.
struct TwoPasses {
  int64_t blocks, chunks;
  int64_t block_bytes;  // that both passes read
  int threads;

  int64_t cache() const { return static_cast<int64_t>(second_level_cache() / 4 * 3); }
  /// Does a thread take a whole block, with nobody to wait for?
  bool whole_blocks() const { return block_bytes <= cache() && (threads == 1 || blocks >= 2 * threads || blocks == threads); }
  /// Blocks that all threads together take at a time otherwise.
  int64_t wave() const {
    return std::clamp<int64_t>(threads * cache() / std::max<int64_t>(1, block_bytes), 1, blocks);
  }
};

template <class Args, class Fill>
struct Pass {
  void (*kernel)(const Args&, int64_t task, void* scratch);
  Fill fill;  // Args from a run
};
template <class Args, class Fill>
Pass(void (*)(const Args&, int64_t, void*), Fill) -> Pass<Args, Fill>;

template <class First, class Join, class Second>
void run_whole_blocks(Run& run, const TwoPasses& p, const First& first, const Join& join, const Second& second) {
  run.parallel(p.blocks, 0, [&](int64_t block, void*) {
    for (int64_t c = 0; c < p.chunks; ++c) first(c * p.blocks + block);
    join(block);
    for (int64_t c = p.chunks; c-- > 0;) second(c * p.blocks + block);
  });
}

/// Each thread takes the same part of a wave in both passes (the first to come takes the first: nearly always the same),
/// and walks it back in the second.
template <class First, class Join, class Second>
void run_waves(Run& run, const TwoPasses& p, const First& first, const Join& join, const Second& second) {
  const int64_t wave = p.wave();
  for (int64_t block = 0; block < p.blocks; block += wave) {
    const int64_t count = std::min(wave, p.blocks - block), items = count * p.chunks;
    const int64_t parts = std::min<int64_t>(p.threads, items);
    const auto task = [&](int64_t item) { return item % p.chunks * p.blocks + block + item / p.chunks; };
    run.parallel(parts, 0, [&](int64_t part, void*) {
      for (int64_t i = items * part / parts; i < items * (part + 1) / parts; ++i) first(task(i));
    });
    for (int64_t b = 0; b < count; ++b) join(block + b);
    run.parallel(parts, 0, [&](int64_t part, void*) {
      for (int64_t i = items * (part + 1) / parts; i-- > items * part / parts;) second(task(i));
    });
  }
}

/// Launches the three kernels; on a GPU one after the other.
template <class First, class Join, class Second>
void launch_two_passes(Lower& low, const TwoPasses& p, const First& first, const Join& join, const Second& second) {
  if (low.isa() == Isa::cuda) {
    low.launch(first.kernel, p.blocks * p.chunks, 0, first.fill);
    low.launch(join.kernel, p.blocks, 0, join.fill);
    low.launch(second.kernel, p.blocks * p.chunks, 0, second.fill);
    return;
  }
  low.add([=](Run& run) {
    const auto call = [](const auto& pass, const auto& args) {
      return [&](int64_t task) { pass.kernel(args, task, nullptr); };
    };
    const auto first_args = first.fill(run);
    const auto join_args = join.fill(run);
    const auto second_args = second.fill(run);
    const auto a = call(first, first_args);
    const auto b = call(join, join_args);
    const auto c = call(second, second_args);
    if (p.whole_blocks()) run_whole_blocks(run, p, a, b, c);
    else run_waves(run, p, a, b, c);
  });
}

}  // namespace thaw
