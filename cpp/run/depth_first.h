#pragma once
// Depth-first order: a stretch of nodes runs to its end for a few pictures before the next few begin, so that what lies
// between its nodes stays in the second-level cache, and each thread takes pictures of its own, without a barrier
// between nodes. Only nodes whose rows do not see each other (OpDef::per_picture) can run so; how many pictures make a
// group changes no bits.
#include <memory>
#include <vector>

#include "run/lowered.h"
#include "run/queue.h"

namespace thaw {

/// Nodes first … last-1 and the pictures of a group.
struct Stretch {
  size_t first = 0, last = 0;
  int64_t group = 0;
};

/// Cuts the nodes of a program for `pictures` into stretches by the traffic that they cause beyond the second-level
/// cache: weights are read once for each group, activations once for each picture where a group of them does not fit.
/// Nodes in no stretch run for all pictures at once.
std::vector<Stretch> choose_stretches(const Program& program, int64_t pictures, int threads);

/// A stretch with its launches for the one or two sizes that its groups have.
class Segment {
 public:
  /// `make(pictures)` compiles the plan's request for that many.
  Segment(const Stretch& stretch, const Program& whole, int64_t pictures,
          const std::function<std::shared_ptr<Lowered>(int64_t)>& make);

  /// False where the program for a group is not the same one on fewer pictures: such a segment must not run.
  bool sound() const { return sound_; }
  size_t first() const { return stretch_.first; }
  size_t last() const { return stretch_.last; }
  /// Made and read within the stretch: has no place in the plan's memory.
  bool is_local(ValueId v) const { return local_[v]; }
  /// Memory that each thread needs while it runs.
  size_t bytes() const { return bytes_; }
  /// `pointers`: the plan's, by value. `profile`: per node ms, added to, or null.
  void run(const std::vector<void*>& pointers, const RandomState& random, const JobContext& context,
           std::vector<double>* profile) const;

 private:
  struct Size {
    int64_t pictures = 0;
    std::shared_ptr<Lowered> lowered;
    std::vector<size_t> offsets;  // per buffer, in the group's memory
  };
  void find_local(const Program& whole);
  void run_group(const Size& size, int64_t begin, const std::vector<void*>& pointers, char* memory,
                 const RandomState& random, const JobContext& context, std::vector<double>* profile) const;

  Stretch stretch_;
  int64_t pictures_ = 0, groups_ = 0;
  bool sound_ = true;
  std::vector<bool> local_;
  std::vector<size_t> row_bytes_;  // per value: what one picture takes, 0 where it has no pictures
  std::vector<Size> sizes_;
  size_t scratch_ = 0;  // of one task, behind the buffers
  size_t bytes_ = 0;
};

/// Are these the same nodes on the same values, but for the number of pictures?
bool same_but_pictures(const Program& whole, int64_t pictures, const Program& group, int64_t group_pictures);

}  // namespace thaw
