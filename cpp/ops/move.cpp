#include "ops/move.h"

#include <algorithm>
#include <bit>
#include <memory>

namespace thaw {

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Channels of a line.
int64_t width_of(const Value& value) { return value.layout == Layout::blocked_bf16 ? kBlockBf16 : kBlock; }

/// A blocked value as a tensor of 64-byte lines.
Shape lines_of(const Value& value) {
  const Shape& s = value.shape;
  return {s[0], ceil_div(s[1], width_of(value)), s[2], s[3]};
}

/// A finite number in bf16: to the nearest, ties to even.
uint16_t bf16_of(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

bool is_identity(const IndexMap& map, int64_t size) {
  if (static_cast<int64_t>(map.size()) != size) return false;
  for (int64_t i = 0; i < size; ++i) {
    if (map[i] != i) return false;
  }
  return true;
}

Tables scaled(const std::vector<IndexMap>& maps, const Shape& strides) {
  Tables tables = maps;
  for (size_t d = 0; d < tables.size(); ++d) {
    for (int64_t& i : tables[d]) i = i < 0 ? -1 : i * strides[d];
  }
  return tables;
}

/// Where each channel of the output comes from.
struct Source {
  int32_t operand;
  int64_t channel;  // -1: filled
};

struct Runs {
  std::vector<LaneRun> runs;
  std::vector<int64_t> first;  // of each output block, and the end
};

/// Neighbouring channels that stay neighbours within one block of their operand make a run.
Runs runs_of(const std::vector<Source>& sources, int64_t width) {
  Runs result;
  for (size_t c = 0; c < sources.size(); ++c) {
    const int32_t lane = static_cast<int32_t>(static_cast<int64_t>(c) % width);
    if (lane == 0) result.first.push_back(static_cast<int64_t>(result.runs.size()));
    const Source s = sources[c];
    if (s.channel < 0) continue;
    const int32_t block = static_cast<int32_t>(s.channel / width), from = static_cast<int32_t>(s.channel % width);
    LaneRun* last = lane == 0 || result.runs.empty() ? nullptr : &result.runs.back();
    if (last && last->operand == s.operand && last->block == block && last->from + last->count == from &&
        last->lane + last->count == lane) {
      ++last->count;
    } else {
      result.runs.push_back({s.operand, block, from, lane, 1});
    }
  }
  result.first.push_back(static_cast<int64_t>(result.runs.size()));
  return result;
}

template <class T>
void lower_assemble_as(Lower& low, const std::vector<Source>& sources,
                       void (*kernel)(const AssembleOf<T>&, int64_t, void*), T fill) {
  struct Held {
    Runs runs;
    std::vector<int64_t> blocks;
  };
  auto held = std::make_shared<Held>();
  const int64_t width = width_of(low.out(0));
  held->runs = runs_of(sources, width);
  std::vector<Buffer> operands;
  for (size_t i = 0; i < low.node().inputs.size(); ++i) {
    operands.push_back(low.input(i));
    held->blocks.push_back(ceil_div(low.in(i).shape[1], width));
  }
  const Shape& s = low.out(0).shape;
  const int64_t pictures = s[0], channels = s[1], pixels = s[2] * s[3], tasks = pictures * ceil_div(channels, width);
  const Buffer y = low.output(0);
  low.add([=](Run& run) {
    std::vector<const T*> x;
    for (const Buffer b : operands) x.push_back(static_cast<const T*>(run.at(b)));
    const AssembleOf<T> args = {x.data(), held->blocks.data(), static_cast<T*>(run.at(y)), pictures, channels, pixels,
                                held->runs.runs.data(), held->runs.first.data(), fill};
    run.parallel(tasks, 0, [&](int64_t task, void* scratch) { kernel(args, task, scratch); });
  });
}

void lower_assemble(Lower& low, const std::vector<Source>& sources, float fill) {
  const ShapeKernels& kernels = shape_kernels(low.isa());
  if (low.out(0).layout == Layout::blocked_bf16)
    return lower_assemble_as(low, sources, kernels.assemble_bf16, bf16_of(fill));
  lower_assemble_as(low, sources, kernels.assemble, fill);
}

/// Sizes of a concat: bytes per operand and outer index.
struct JoinSizes {
  int64_t outer = 1, total = 0;
  std::vector<int64_t> bytes, offset;
};

JoinSizes join_sizes(const Lower& low, size_t axis, bool blocked) {
  JoinSizes sizes;
  for (size_t i = 0; i < low.node().inputs.size(); ++i) {
    const Shape shape = blocked ? lines_of(low.in(i)) : low.in(i).shape;
    const int64_t element = blocked ? 64 : static_cast<int64_t>(dtype_size(low.in(i).dtype));
    sizes.outer = count(Shape(shape.begin(), shape.begin() + axis));
    sizes.bytes.push_back(count(Shape(shape.begin() + axis, shape.end())) * element);
    sizes.offset.push_back(sizes.total);
    sizes.total += sizes.bytes.back();
  }
  return sizes;
}

void lower_join_bytes(Lower& low, size_t axis, bool blocked) {
  const auto sizes = std::make_shared<const JoinSizes>(join_sizes(low, axis, blocked));
  std::vector<Buffer> operands;
  for (size_t i = 0; i < low.node().inputs.size(); ++i) operands.push_back(low.input(i));
  const int64_t n = static_cast<int64_t>(operands.size());
  const int64_t per_task = std::max<int64_t>(1, kCopyBytes * n / std::max<int64_t>(1, sizes->total));
  const auto kernel = shape_kernels(low.isa()).join;
  const Buffer y = low.output(0);
  low.add([=](Run& run) {
    std::vector<const void*> x;
    for (const Buffer b : operands) x.push_back(run.at(b));
    const Join args = {n, sizes->outer, per_task, x.data(), sizes->bytes.data(), sizes->offset.data(), sizes->total,
                       run.at(y)};
    run.parallel(n * ceil_div(sizes->outer, per_task), 0,
                 [&](int64_t task, void* scratch) { kernel(args, task, scratch); });
  });
}

}  // namespace

Shape plain_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  return strides;
}

void lower_gather(Lower& low, Tables tables, int64_t element, float fill) {
  struct Held {
    Tables tables;
    float fill[16];
  };
  if (tables.empty()) tables.push_back({0});  // a scalar
  auto held = std::make_shared<Held>();
  held->tables = std::move(tables);
  std::fill(held->fill, held->fill + 16, fill);
  Gather args = {};
  args.element = element;
  args.rank = static_cast<int>(held->tables.size());
  args.rows = 1;
  for (int d = 0; d < args.rank; ++d) {
    args.shape[d] = static_cast<int64_t>(held->tables[d].size());
    args.offsets[d] = held->tables[d].data();
    if (d + 1 < args.rank) args.rows *= args.shape[d];
  }
  args.fill = held->fill;
  args.rows_per_task = std::max<int64_t>(1, kCopyBytes / std::max<int64_t>(1, args.shape[args.rank - 1] * element));
  const Buffer x = low.input(0), y = low.output(0);
  low.launch(shape_kernels(low.isa()).gather, ceil_div(args.rows, args.rows_per_task), 0, [args, held, x, y](Run& run) {
    Gather a = args;
    a.x = run.at(x);
    a.y = run.at(y);
    return a;
  });
}

void lower_map(Lower& low, const std::vector<IndexMap>& maps, float fill) {
  const Value& x = low.in(0);
  if (x.layout == Layout::plain) {
    return lower_gather(low, scaled(maps, plain_strides(x.shape)), static_cast<int64_t>(dtype_size(x.dtype)), fill);
  }
  if (is_identity(maps[1], x.shape[1])) {
    const Shape lines = lines_of(x);
    std::vector<IndexMap> by_line = maps;
    by_line[1].resize(lines[1]);  // the identity over blocks instead of channels
    // In bf16 a float of the fill is two numbers.
    const uint32_t twice = bf16_of(fill) * 0x10001u;
    return lower_gather(low, scaled(by_line, plain_strides(lines)), 64,
                        x.layout == Layout::blocked_bf16 ? std::bit_cast<float>(twice) : fill);
  }
  std::vector<Source> sources;
  for (const int64_t channel : maps[1]) sources.push_back({0, channel});
  lower_assemble(low, sources, fill);
}

void lower_join(Lower& low, size_t axis) {
  const bool blocked = low.out(0).layout != Layout::plain;
  bool aligned = true;  // every operand begins in lane 0
  for (size_t i = 0; i + 1 < low.node().inputs.size(); ++i) {
    if (blocked && axis == 1 && low.in(i).shape[1] % width_of(low.out(0)) != 0) aligned = false;
  }
  if (aligned) return lower_join_bytes(low, axis, blocked);
  std::vector<Source> sources;
  for (size_t i = 0; i < low.node().inputs.size(); ++i) {
    for (int64_t c = 0; c < low.in(i).shape[1]; ++c) sources.push_back({static_cast<int32_t>(i), c});
  }
  lower_assemble(low, sources, 0);
}

}  // namespace thaw
