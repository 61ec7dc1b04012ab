#include "run/bands.h"

#include <algorithm>
#include <cstring>

namespace thaw {

namespace {

std::vector<BandNode> nodes_of(const BandStretch& stretch, const Program& whole, int64_t pictures) {
  std::vector<BandNode> nodes;
  for (size_t n = stretch.first; n < stretch.last; ++n)
    if (!whole.prepared[n]) nodes.push_back(band_node(whole, n, pictures).value());
  return nodes;
}

/// What makes two bands the same launches: the rows of every value, and how each node's padding follows from them.
std::vector<int64_t> kind_of(const std::vector<BandNode>& nodes, const std::map<ValueId, Rows>& rows) {
  std::vector<int64_t> kind;
  for (const auto& [v, range] : rows) kind.push_back(range.count());
  for (const BandNode& b : nodes) {
    const Rows out = rows.at(b.output), in = rows.at(b.pictures[0]);
    kind.push_back(in.begin - out.begin * b.window.stride);
    kind.push_back(out.end == b.height);
  }
  return kind;
}

}  // namespace

BandSegment::BandSegment(const BandStretch& stretch, const Program& whole, int64_t pictures)
    : Segment(stretch.first, stretch.last, whole), pictures_(pictures) {
  const std::vector<BandNode> nodes = nodes_of(stretch, whole, pictures);
  const BandNode *first = nodes.data(), *last = first + nodes.size();
  find_borders(whole, nodes);
  const int64_t height = nodes.back().height;
  std::map<std::vector<int64_t>, size_t> kinds;
  for (int64_t begin = 0; begin < height; begin += stretch.rows) {
    const Rows wanted{begin, std::min(height, begin + stretch.rows)};
    const std::map<ValueId, Rows> rows = band_rows(first, last, wanted).value();
    const auto [kind, fresh] = kinds.try_emplace(kind_of(nodes, rows), sizes_.size());
    if (fresh)
      sizes_.push_back(make_size(std::make_shared<Lowered>(band_program(whole, first, last, rows), 1),
                                 [&](ValueId v) { return rows.count(v) > 0; }));
    Band band{kind->second, {}, wanted};
    for (const Border& border : borders_) band.rows.push_back(rows.at(border.value));
    bands_.push_back(std::move(band));
  }
}

void BandSegment::find_borders(const Program& whole, const std::vector<BandNode>& nodes) {
  const auto add = [&](ValueId v) {
    const Value& value = whole.graph.values[v];
    const int64_t height = value.shape[2], width = value.shape[3];
    const size_t pixel = value.layout == Layout::plain ? dtype_size(value.dtype) : 64;
    const size_t row_bytes = static_cast<size_t>(width) * pixel;
    const size_t rows = physical_bytes(value) / row_bytes;
    borders_.push_back({v, static_cast<int64_t>(rows) / height / pictures_, height, row_bytes});
  };
  std::vector<ValueId> made, seen;
  for (const BandNode& b : nodes) made.push_back(b.output);
  for (const BandNode& b : nodes)
    for (ValueId v : b.pictures) {
      if (std::count(made.begin(), made.end(), v) || std::count(seen.begin(), seen.end(), v)) continue;
      seen.push_back(v);
      add(v);
    }
  add(nodes.back().output);
}

void BandSegment::bring(int64_t task, const std::vector<void*>& plan, Part& part) const {
  const Band& band = band_of(task);
  for (size_t i = 0; i < borders_.size(); ++i) {
    const Border& border = borders_[i];
    char* to = part.memory + part.size.offsets[border.value];
    part.pointers[border.value] = to;
    if (i + 1 == borders_.size()) break;
    const size_t bytes = static_cast<size_t>(band.rows[i].count()) * border.row_bytes;
    for (int64_t p = 0; p < border.planes; ++p) {
      const int64_t row = (picture_of(task) * border.planes + p) * border.height + band.rows[i].begin;
      std::memcpy(to + static_cast<size_t>(p) * bytes,
                  static_cast<const char*>(plan[border.value]) + static_cast<size_t>(row) * border.row_bytes, bytes);
    }
  }
}

void BandSegment::take(int64_t task, const std::vector<void*>& plan, const Part& part) const {
  const Band& band = band_of(task);
  const Border& border = borders_.back();
  const Rows lying = band.rows.back();
  const char* from = static_cast<const char*>(part.pointers[border.value]);
  for (int64_t p = 0; p < border.planes; ++p) {
    const int64_t row = (picture_of(task) * border.planes + p) * border.height + band.wanted.begin;
    const int64_t here = p * lying.count() + band.wanted.begin - lying.begin;
    std::memcpy(static_cast<char*>(plan[border.value]) + static_cast<size_t>(row) * border.row_bytes,
                from + static_cast<size_t>(here) * border.row_bytes,
                static_cast<size_t>(band.wanted.count()) * border.row_bytes);
  }
}

}  // namespace thaw
