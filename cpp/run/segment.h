#pragma once
// A stretch of nodes that runs to its end for a part of the work before the next part begins, so that what lies between
// its nodes stays in the second-level cache; each thread takes parts of its own, without a barrier between nodes.
#include <memory>
#include <vector>

#include "run/lowered.h"
#include "run/queue.h"

namespace thaw {

/// Has v a row for each picture?
bool per_picture(const Program& program, ValueId v, int64_t pictures);

/// Bytes of one picture that a node reads and writes, and of everything else that it reads.
struct Traffic {
  double picture = 0, weights = 0;
};
Traffic traffic_of(const Program& program, size_t n, int64_t pictures);

class Segment {
 public:
  virtual ~Segment() = default;
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  size_t first() const { return first_; }
  size_t last() const { return last_; }
  /// Made and read within the stretch: has no place in the plan's memory.
  bool is_local(ValueId v) const { return local_[v]; }
  /// Memory that each thread needs while it runs.
  size_t bytes() const { return padded_bytes(buffers_) + padded_bytes(scratch_); }
  /// `pointers`: the plan's, by value. `profile`: per node ms, added to, or null.
  void run(const std::vector<void*>& pointers, const RandomState& random, const JobContext& context,
           std::vector<double>* profile) const;

 protected:
  /// Nodes first … last-1 of the program.
  Segment(size_t first, size_t last, const Program& whole);

  /// The launches of the stretch for parts of one size.
  struct Size {
    std::shared_ptr<Lowered> lowered;
    std::vector<size_t> offsets;  // per buffer, in the part's memory
  };
  /// Lowers the nodes of the stretch; `inside`: values that have their place in the part's memory.
  Size make_size(std::shared_ptr<Lowered> lowered, const std::function<bool(ValueId)>& inside);

  /// One part on this thread, with pointers of its own.
  struct Part {
    const Size& size;
    std::vector<void*> pointers;  // per buffer
    char* memory;
    const RandomState& random;
    const JobContext& context;
    std::vector<double>* profile;
  };
  virtual int64_t tasks() const = 0;
  virtual const Size& size_of(int64_t task) const = 0;
  /// Sets the pointers of values with pictures that lie in the plan's memory, or brings them into the part's.
  virtual void bring(int64_t task, const std::vector<void*>& plan, Part& part) const = 0;
  /// Takes results out of the part's memory.
  virtual void take(int64_t task, const std::vector<void*>& plan, const Part& part) const;

 private:
  void run_task(int64_t task, const std::vector<void*>& plan, Part& part) const;

  size_t first_, last_;
  std::vector<bool> local_;
  size_t buffers_ = 0;
  size_t scratch_ = 0;  // of one task of a launch, behind the buffers
};

}  // namespace thaw
