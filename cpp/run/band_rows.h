#pragma once
// Which rows of pictures a band needs: from rows of what leaves a stretch of nodes back to what enters it.
#include <map>
#include <optional>
#include <vector>

#include "compile/compile.h"
#include "ops/op.h"

namespace thaw {

/// Rows begin … end-1 of a picture.
struct Rows {
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
  bool operator==(const Rows&) const = default;
};

/// A node that can run on a band of rows.
struct BandNode {
  NodeId node = kNone;
  RowWindow window;
  ValueId output = kNone;
  int64_t height = 0;             // of the output
  std::vector<ValueId> pictures;  // operands with rows; the first is the one that the window lies on
  std::vector<int64_t> heights;   // theirs
};

/// Node n of a program for `pictures`, if it can.
std::optional<BandNode> band_node(const Program& program, size_t n, int64_t pictures);

/// Per value the rows that are computed or read so that `wanted` rows of the last node's output are computed. Nothing
/// where two readers of a value would have to lie differently in it.
std::optional<std::map<ValueId, Rows>> band_rows(const BandNode* first, const BandNode* last, Rows wanted);

/// The program with pictures of these rows alone, one picture, in the nodes first … last-1.
Program band_program(const Program& whole, const BandNode* first, const BandNode* last,
                     const std::map<ValueId, Rows>& rows);

}  // namespace thaw
