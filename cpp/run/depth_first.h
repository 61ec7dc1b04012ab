#pragma once
// Depth-first order: a stretch of nodes runs to its end for a few pictures before the next few begin (run/segment.h).
// Only nodes whose rows do not see each other (OpDef::per_picture) can run so; how many pictures make a group changes no
// bits.
#include "run/segment.h"

namespace thaw {

/// Nodes first … last-1 and the pictures of a group.
struct Stretch {
  size_t first = 0, last = 0;
  int64_t group = 0;
};

/// Cuts the nodes of a program for `pictures` into stretches by the traffic that they cause beyond the second-level
/// cache: weights are read once for each group, activations once for each picture where a group of them does not fit.
/// Nodes in no stretch run for all pictures at once, or in bands: those for which `taken` is true.
std::vector<Stretch> choose_stretches(const Program& program, int64_t pictures, int threads,
                                      const std::vector<bool>& taken);

/// A stretch with its launches for the one or two sizes that its groups have.
class GroupSegment final : public Segment {
 public:
  /// `make(pictures)` compiles the plan's request for that many.
  GroupSegment(const Stretch& stretch, const Program& whole, int64_t pictures,
               const std::function<std::shared_ptr<Lowered>(int64_t)>& make);

  /// False where the program for a group is not the same one on fewer pictures: such a segment must not run.
  bool sound() const { return sound_; }

 protected:
  int64_t tasks() const override { return groups_; }
  const Size& size_of(int64_t task) const override;
  void bring(int64_t task, const std::vector<void*>& plan, Part& part) const override;

 private:
  int64_t begin_of(int64_t group) const { return pictures_ * group / groups_; }

  int64_t pictures_ = 0, groups_ = 0;
  bool sound_ = true;
  std::vector<size_t> row_bytes_;  // per value: what one picture takes, 0 where it has no pictures
  std::vector<Size> sizes_;
};

/// Are these the same nodes on the same values, but for the number of pictures?
bool same_but_pictures(const Program& whole, int64_t pictures, const Program& group, int64_t group_pictures);

}  // namespace thaw
