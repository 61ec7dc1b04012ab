#include "run/recording.h"

#include "ops/op.h"

namespace thaw {

Recording::Recording(const Program& program) : program_(program) {
  for (size_t n = 0; n < program.graph.nodes.size(); ++n) {
    const bool replayed = !program.graph.nodes[n].op->random;
    if (replayed && !sections_.empty() && sections_.back().replayed) sections_.back().last = n + 1;
    else sections_.push_back({n, n + 1, replayed, nullptr});
  }
}

Recording::~Recording() { forget(); }

void Recording::forget() {
  for (Section& section : sections_) {
    if (section.graph) gpu::backend().forget(section.graph);
    section.graph = nullptr;
  }
  recorded_ = false;
}

void Recording::run(const std::vector<void*>& pointers, const std::function<void(size_t)>& launch) {
  const bool same = pointers == pointers_;
  if (!same) forget();
  pointers_ = pointers;
  const auto launch_all = [&](const Section& section) {
    for (size_t n = section.first; n < section.last; ++n)
      if (!program_.prepared[n]) launch(n);
  };
  for (Section& section : sections_) {
    if (!same || !section.replayed) {
      launch_all(section);
      continue;
    }
    if (!recorded_) {
      gpu::check(gpu::backend().record_begin());
      try {
        launch_all(section);
      } catch (...) {
        GpuGraph* unfinished = nullptr;
        if (!gpu::backend().record_end(&unfinished)) gpu::backend().forget(unfinished);
        throw;
      }
      gpu::check(gpu::backend().record_end(&section.graph));
    }
    gpu::check(gpu::backend().replay(section.graph));
  }
  recorded_ = same;
}

}  // namespace thaw
