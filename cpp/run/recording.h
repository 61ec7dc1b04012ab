#pragma once
// A plan's launches on a GPU as recorded graphs: replaying one costs the processor a single call, where a step has some
// hundred launches of a few microseconds each. Launches are recorded with their addresses, so a recording holds as long as
// the plan's memory stays where it is. Nodes that draw random numbers are launched every time, with the numbers of the run.
#include <cstddef>
#include <functional>
#include <vector>

#include "compile/compile.h"

namespace thaw {

class Recording {
 public:
  explicit Recording(const Program& program);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  /// Runs all nodes that are not prepared; `launch(n)` launches node n. The first run at these addresses launches them
  /// one by one, since most plans of an odd size run once; the second records.
  void run(const std::vector<void*>& pointers, const std::function<void(size_t)>& launch);

 private:
  /// Nodes first … last-1 in a graph, or one that is launched every time.
  struct Section {
    size_t first = 0, last = 0;
    bool replayed = true;
    GpuGraph* graph = nullptr;
  };
  void forget();

  const Program& program_;
  std::vector<Section> sections_;
  std::vector<void*> pointers_;  // that the graphs were recorded with, or will be
  bool recorded_ = false;
};

}  // namespace thaw
