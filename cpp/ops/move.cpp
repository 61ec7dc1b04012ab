#include "ops/move.h"

#include <algorithm>
#include <array>
#include <bit>

namespace thaw {

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// A blocked value as a tensor of 64-byte lines.
Shape lines_of(const Value& value) {
  const Shape& s = value.shape;
  return {s[0], channel_blocks(value), s[2], s[3]};
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

/// What Lower::launch does with arguments that point to memory of the step.
template <class Args>
void start(Run& run, Isa isa, void (*kernel)(const Args&, int64_t, void*), const Args& args, int64_t tasks) {
  if (isa == Isa::cuda) return kernel(args, tasks, nullptr);
  run.parallel(tasks, 0, [&](int64_t task, void* scratch) { kernel(args, task, scratch); });
}

std::vector<Buffer> operands_of(const Lower& low) {
  std::vector<Buffer> operands;
  for (size_t i = 0; i < low.node().inputs.size(); ++i) operands.push_back(low.input(i));
  return operands;
}

template <class T>
std::vector<const T*> pointers(const Run& run, const std::vector<Buffer>& buffers) {
  std::vector<const T*> result;
  for (const Buffer b : buffers) result.push_back(static_cast<const T*>(run.at(b)));
  return result;
}

template <class T>
void lower_assemble_as(Lower& low, const std::vector<Source>& sources,
                       void (*kernel)(const AssembleOf<T>&, int64_t, void*), T fill) {
  const int64_t width = block_channels(low.out(0));
  const Runs made = runs_of(sources, width);
  const Buffer runs = low.table(made.runs), first_run = low.table(made.first);
  const std::vector<Buffer> operands = operands_of(low);
  std::vector<int64_t> blocks;
  for (size_t i = 0; i < operands.size(); ++i) blocks.push_back(channel_blocks(low.in(i)));
  const Shape& s = low.out(0).shape;
  const int64_t pictures = s[0], channels = s[1], pixels = s[2] * s[3], tasks = pictures * ceil_div(channels, width);
  const Buffer y = low.output(0);
  low.add([=, isa = low.isa()](Run& run) {
    const std::vector<const T*> x = pointers<T>(run, operands);
    const AssembleOf<T> args = {static_cast<int64_t>(x.size()), x.data(), blocks.data(), static_cast<T*>(run.at(y)),
                                pictures, channels, pixels, static_cast<const LaneRun*>(run.at(runs)),
                                static_cast<const int64_t*>(run.at(first_run)), fill};
    start(run, isa, kernel, args, tasks);
  });
}

void lower_assemble(Lower& low, const std::vector<Source>& sources, float fill) {
  const ShapeKernels& kernels = shape_kernels(low.isa());
  if (low.out(0).layout == Layout::blocked_bf16)
    return lower_assemble_as(low, sources, kernels.assemble_bf16, bf16_of(fill));
  lower_assemble_as(low, sources, kernels.assemble, fill);
}

/// Operands of a concat that are to be copied: bytes per outer index, where in y's, and from one to the next.
struct JoinSizes {
  std::vector<Buffer> operands;
  std::vector<int64_t> bytes, offset, step;
  int64_t outer = 1, total = 0;
};

JoinSizes join_sizes(const Lower& low, size_t axis, bool blocked) {
  const Graph& graph = low.graph();
  const ValueId y = low.node().outputs[0];
  const Shape& s = low.out(0).shape;
  const int64_t plane = blocked ? s[2] * s[3] * 64 : 0;
  int64_t block = low.out(0).whole_block;
  JoinSizes sizes;
  for (size_t i = 0; i < low.node().inputs.size(); ++i) {
    const Shape shape = blocked ? lines_of(low.in(i)) : low.in(i).shape;
    const int64_t element = blocked ? 64 : static_cast<int64_t>(dtype_size(low.in(i).dtype));
    const int64_t bytes = count(Shape(shape.begin() + axis, shape.end())) * element;
    sizes.outer = count(Shape(shape.begin(), shape.begin() + axis));
    // What its producer has written there is in place.
    if (low.in(i).whole != graph.home(y) || low.in(i).whole_block != block) {
      sizes.operands.push_back(low.input(i));
      sizes.bytes.push_back(bytes);
      sizes.offset.push_back(sizes.total);
      sizes.step.push_back(bytes + low.gap_in(i) * plane);
    }
    sizes.total += bytes;
    if (blocked && axis == 1) block += shape[1];
  }
  sizes.total += low.gap_out(0) * plane;
  return sizes;
}

void lower_join_bytes(Lower& low, size_t axis, bool blocked) {
  const JoinSizes sizes = join_sizes(low, axis, blocked);
  const int64_t n = static_cast<int64_t>(sizes.operands.size());
  if (n == 0) return;
  const int64_t per_task = std::max<int64_t>(1, kCopyBytes * n / std::max<int64_t>(1, sizes.total));
  const Buffer y = low.output(0);
  low.add([=, isa = low.isa()](Run& run) {
    const std::vector<const void*> x = pointers<void>(run, sizes.operands);
    const Join args = {n, sizes.outer, per_task, x.data(), sizes.bytes.data(), sizes.offset.data(), sizes.step.data(),
                       sizes.total, run.at(y)};
    start(run, isa, shape_kernels(isa).join, args, n * ceil_div(sizes.outer, per_task));
  });
}

}  // namespace

Shape plain_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  return strides;
}

void lower_gather(Lower& low, Tables tables, int64_t element, float fill) {
  if (tables.empty()) tables.push_back({0});  // a scalar
  Gather args = {};
  args.element = element;
  args.rank = static_cast<int>(tables.size());
  args.rows = 1;
  std::array<Buffer, kMaxRank> offsets = {};
  for (int d = 0; d < args.rank; ++d) {
    args.shape[d] = static_cast<int64_t>(tables[d].size());
    offsets[d] = low.table(tables[d]);
    if (d + 1 < args.rank) args.rows *= args.shape[d];
  }
  std::fill(args.fill, args.fill + 16, fill);
  args.rows_per_task = std::max<int64_t>(1, kCopyBytes / std::max<int64_t>(1, args.shape[args.rank - 1] * element));
  const Buffer x = low.input(0), y = low.output(0);
  low.launch(shape_kernels(low.isa()).gather, ceil_div(args.rows, args.rows_per_task), 0, [args, offsets, x, y](Run& run) {
    Gather a = args;
    a.x = run.at(x);
    a.y = run.at(y);
    for (int d = 0; d < a.rank; ++d) a.offsets[d] = static_cast<const int64_t*>(run.at(offsets[d]));
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

bool joins_blocks(const Graph& graph, const Node& node) {
  const Value& y = graph.values[node.outputs[0]];
  return y.layout != Layout::plain && std::all_of(node.inputs.begin(), node.inputs.end() - 1, [&](ValueId v) {
    return graph.values[v].shape[1] % block_channels(y) == 0;
  });
}

void lower_join(Lower& low, size_t axis) {
  const bool blocked = low.out(0).layout != Layout::plain;
  if (!blocked || axis != 1 || joins_blocks(low.graph(), low.node())) return lower_join_bytes(low, axis, blocked);
  std::vector<Source> sources;
  for (size_t i = 0; i < low.node().inputs.size(); ++i) {
    for (int64_t c = 0; c < low.in(i).shape[1]; ++c) sources.push_back({static_cast<int32_t>(i), c});
  }
  lower_assemble(low, sources, 0);
}

}  // namespace thaw
