#include "run/band_rows.h"

#include <algorithm>

#include "run/segment.h"

namespace thaw {

namespace {

bool has_rows(const Program& program, ValueId v, int64_t pictures) {
  return per_picture(program, v, pictures) && program.graph.values[v].shape.size() == 4;
}

/// Rows of the windowed operand, `height` high, that rows `out` read; without those beyond its borders.
Rows read_rows(const RowWindow& w, Rows out, int64_t height) {
  return {std::max<int64_t>(0, out.begin * w.stride - w.top),
          std::min(height, (out.end - 1) * w.stride - w.top + w.size)};
}

Json& padded_attrs(Json& attrs, Json& inner) {
  const Json* deep = attrs.find("depthwise");
  if (!deep) return attrs;
  inner = *deep;
  return inner;
}

/// Gives a node that computes rows `out` from rows `in` of an operand `height` high the padding that makes it so.
void set_padding(Node& node, const BandNode& b, Rows out, Rows in, int64_t height) {
  const RowWindow& w = b.window;
  const int64_t begin = out.begin * w.stride - w.top, end = (out.end - 1) * w.stride - w.top + w.size;
  Json inner;
  Json& attrs = padded_attrs(node.attrs, inner);
  std::vector<int64_t> padding = attrs.get("padding", std::vector<int64_t>{0, 0, 0, 0});
  padding[0] = in.begin - begin;
  // Averages count what lies within the picture's own padding: there the last band keeps it.
  if (out.end < b.height || end <= height) padding[2] = end - in.end;
  attrs.set("padding", padding);
  if (&attrs == &inner) node.attrs.set("depthwise", std::move(inner));
}

}  // namespace

std::optional<BandNode> band_node(const Program& program, size_t n, int64_t pictures) {
  const Node& node = program.graph.nodes[n];
  const std::vector<Value>& values = program.graph.values;
  if (!node.op->rows || program.prepared[n] || node.outputs.size() != 1) return {};
  const ValueId output = node.outputs[0];
  if (!has_rows(program, output, pictures) || !has_rows(program, node.inputs[0], pictures)) return {};
  // Rows of a part of a concatenation lie apart from those of the next picture by more than its own.
  const auto is_part = [&](ValueId v) { return v != kNone && values[v].whole != kNone; };
  if (is_part(output) || std::any_of(node.inputs.begin(), node.inputs.end(), is_part)) return {};
  BandNode b{static_cast<NodeId>(n), node.op->rows(node), output, values[output].shape[2], {}, {}};
  if (b.window.top >= b.window.size) return {};
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId v = node.inputs[i];
    if (v == kNone || !per_picture(program, v, pictures)) continue;
    if (values[v].shape.size() != 4) return {};
    const bool windowed = i == 0 && b.window.has_padding;
    if (!windowed && values[v].shape[2] != b.height) return {};
    b.pictures.push_back(v);
    b.heights.push_back(values[v].shape[2]);
  }
  return b;
}

std::optional<std::map<ValueId, Rows>> band_rows(const BandNode* first, const BandNode* last, Rows wanted) {
  std::map<ValueId, Rows> rows{{(last - 1)->output, wanted}};
  for (const BandNode* b = last; b-- != first;) {
    const auto found = rows.find(b->output);
    if (found == rows.end()) return {};
    Rows& out = found->second;
    const int64_t multiple = b->window.multiple;
    out.begin = out.begin / multiple * multiple;
    out.end = std::min(b->height, (out.end + multiple - 1) / multiple * multiple);
    for (size_t i = 0; i < b->pictures.size(); ++i) {
      const Rows in = i == 0 ? read_rows(b->window, out, b->heights[0]) : out;
      if (in.begin >= in.end) return {};
      Rows& all = rows.try_emplace(b->pictures[i], in).first->second;
      all = {std::min(all.begin, in.begin), std::max(all.end, in.end)};
    }
  }
  // Only padding makes up for rows that another reader needs.
  for (const BandNode* b = first; b != last; ++b)
    for (size_t i = b->window.has_padding ? 1 : 0; i < b->pictures.size(); ++i)
      if (!(rows.at(b->pictures[i]) == rows.at(b->output))) return {};
  return rows;
}

Program band_program(const Program& whole, const BandNode* first, const BandNode* last,
                     const std::map<ValueId, Rows>& rows) {
  Program program = whole;
  for (const auto& [v, range] : rows) {
    Shape& shape = program.graph.values[v].shape;
    shape[0] = 1, shape[2] = range.count();
  }
  for (const BandNode* b = first; b != last; ++b)
    if (b->window.has_padding)
      set_padding(program.graph.nodes[b->node], *b, rows.at(b->output), rows.at(b->pictures[0]), b->heights[0]);
  return program;
}

}  // namespace thaw
