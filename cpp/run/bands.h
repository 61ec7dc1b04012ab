#pragma once
// Maps so large that not even one picture's stay in the second-level cache: a stretch of nodes runs for a band of rows of
// one picture before the next band begins (run/segment.h). Rows at the borders of bands are computed twice. Where bands
// lie changes no bits: every number is made by the kernel that was chosen for whole pictures.
#include "run/band_rows.h"
#include "run/segment.h"

namespace thaw {

/// Nodes first … last-1 and the rows of the last one's output in a band.
struct BandStretch {
  size_t first = 0, last = 0;
  int64_t rows = 0;
};

/// The stretches that save more traffic beyond the cache than rows computed twice cost.
std::vector<BandStretch> choose_bands(const Program& program, int64_t pictures, int threads);

class BandSegment final : public Segment {
 public:
  BandSegment(const BandStretch& stretch, const Program& whole, int64_t pictures);

 protected:
  int64_t tasks() const override { return pictures_ * static_cast<int64_t>(bands_.size()); }
  const Size& size_of(int64_t task) const override { return sizes_[band_of(task).size]; }
  void bring(int64_t task, const std::vector<void*>& plan, Part& part) const override;
  void take(int64_t task, const std::vector<void*>& plan, const Part& part) const override;

 private:
  /// A value that enters or leaves the stretch: planes of rows.
  struct Border {
    ValueId value;
    int64_t planes, height;
    size_t row_bytes;
  };
  struct Band {
    size_t size;              // index into sizes_
    std::vector<Rows> rows;   // of each border's value, as they lie in the band's memory
    Rows wanted;              // of the result
  };
  const Band& band_of(int64_t task) const { return bands_[static_cast<size_t>(task) % bands_.size()]; }
  int64_t picture_of(int64_t task) const { return task / static_cast<int64_t>(bands_.size()); }
  void find_borders(const Program& whole, const std::vector<BandNode>& nodes);

  int64_t pictures_;
  std::vector<Border> borders_;  // the last is the result
  std::vector<Size> sizes_;
  std::vector<Band> bands_;
};

}  // namespace thaw
