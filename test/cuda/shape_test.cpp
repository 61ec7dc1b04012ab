// Copies, gathers and joins on the GPU: the same bytes as the CPU's kernels.
#include "kernels/shape.h"

#include <memory>

#include "gpu.h"
#include "values.h"

using namespace thaw;
using namespace values;

namespace {

using Bytes = std::vector<uint8_t>;

Bytes bytes_of(int64_t count, uint64_t seed) {
  Bytes bytes;
  for (const double x : harness::noise(count, seed)) bytes.push_back(static_cast<uint8_t>(static_cast<int>(x * 1e5) & 255));
  return bytes;
}

void copies(int64_t count, int64_t shift) {
  const Bytes x = bytes_of(count + shift, 1);
  Bytes y(x.size() + 1, 7);
  const gpu::Array<uint8_t> on_x(x), on_y(y);
  run_tasks(scalar::shape.copy, {x.data() + shift, y.data() + shift, count}, ceil_div(count, kCopyBytes));
  cuda::shape.copy({on_x + shift, on_y + shift, count}, ceil_div(count, kCopyBytes), nullptr);
  FINISH();
  CHECK(on_y.read() == y);
}

// ---- gather -----------------------------------------------------------------------------------------------------

/// Offsets that add up to elements below `elements`; each seventh is filled.
std::vector<std::vector<int64_t>> tables_for(const std::vector<int64_t>& shape, int64_t elements) {
  std::vector<std::vector<int64_t>> tables;
  const int64_t share = elements / static_cast<int64_t>(shape.size());
  int64_t n = 3;
  for (const int64_t size : shape) {
    tables.emplace_back();
    for (int64_t i = 0; i < size; ++i, n += 5) tables.back().push_back(n % 7 == 0 ? -1 : n * 31 % share);
  }
  return tables;
}

void gathers(const std::vector<int64_t>& shape, int64_t element) {
  const int64_t elements = 200;
  const Bytes x = bytes_of(elements * element, 2);
  const auto tables = tables_for(shape, elements);
  Gather args = {};
  args.element = element;
  args.rank = static_cast<int>(shape.size());
  args.rows = 1, args.rows_per_task = 3;
  std::fill(args.fill, args.fill + 16, 1.25f);
  std::vector<std::unique_ptr<gpu::Array<int64_t>>> on_tables;
  Gather on_gpu;
  for (int d = 0; d < args.rank; ++d) {
    args.shape[d] = shape[d];
    args.offsets[d] = tables[d].data();
    on_tables.push_back(std::make_unique<gpu::Array<int64_t>>(tables[d]));
    if (d + 1 < args.rank) args.rows *= shape[d];
  }
  Bytes y(static_cast<size_t>(args.rows * shape.back() * element));
  const gpu::Array<uint8_t> on_x(x), on_y(y.size());
  on_gpu = args;
  for (int d = 0; d < args.rank; ++d) on_gpu.offsets[d] = on_tables[d]->data();
  args.x = x.data(), args.y = y.data();
  on_gpu.x = on_x, on_gpu.y = on_y;
  run_tasks(scalar::shape.gather, args, ceil_div(args.rows, args.rows_per_task));
  cuda::shape.gather(on_gpu, 1, nullptr);
  FINISH();
  CHECK(on_y.read() == y);
}

// ---- concat -----------------------------------------------------------------------------------------------------

void joins(const std::vector<int64_t>& bytes, int64_t outer) {
  const int64_t n = static_cast<int64_t>(bytes.size());
  std::vector<Bytes> x;
  std::vector<std::unique_ptr<gpu::Array<uint8_t>>> on_x;
  std::vector<const void*> pointers, on_pointers;
  std::vector<int64_t> offset;
  int64_t total = 0;
  for (const int64_t length : bytes) {
    x.push_back(bytes_of(length * outer, static_cast<uint64_t>(total) + 3));
    on_x.push_back(std::make_unique<gpu::Array<uint8_t>>(x.back()));
    offset.push_back(total);
    total += length;
  }
  for (size_t i = 0; i < x.size(); ++i) pointers.push_back(x[i].data()), on_pointers.push_back(on_x[i]->data());
  Bytes y(static_cast<size_t>(total * outer));
  const gpu::Array<uint8_t> on_y(y.size());
  const Join a = {n, outer, 2, pointers.data(), bytes.data(), offset.data(), bytes.data(), total, y.data()};
  run_tasks(scalar::shape.join, a, n * ceil_div(outer, 2));
  cuda::shape.join({n, outer, 2, on_pointers.data(), bytes.data(), offset.data(), bytes.data(), total, on_y.data()}, 1,
                   nullptr);
  FINISH();
  CHECK(on_y.read() == y);
}

// ---- channels that change their lane ----------------------------------------------------------------------------

/// Where each channel of the output comes from; operand -1: filled.
struct Source {
  int32_t operand, channel;
};

template <class T>
void assembles(void (*cpu)(const AssembleOf<T>&, int64_t, void*), void (*cuda)(const AssembleOf<T>&, int64_t, void*),
               const std::vector<int64_t>& channels, const std::vector<Source>& sources, int64_t pixels) {
  constexpr int64_t width = 64 / sizeof(T);
  const int64_t pictures = 2, out = static_cast<int64_t>(sources.size()), blocks = ceil_div(out, width);
  std::vector<LaneRun> runs;
  std::vector<int64_t> first, x_blocks;
  for (int64_t c = 0; c < out; ++c) {
    const Source s = sources[static_cast<size_t>(c)];
    const int32_t lane = static_cast<int32_t>(c % width), from = static_cast<int32_t>(s.channel % width);
    if (lane == 0) first.push_back(static_cast<int64_t>(runs.size()));
    if (s.operand < 0) continue;
    LaneRun* last = lane == 0 || runs.empty() ? nullptr : &runs.back();
    const int32_t block = static_cast<int32_t>(s.channel / width);
    if (last && last->operand == s.operand && last->block == block && last->from + last->count == from && last->lane + last->count == lane) ++last->count;
    else runs.push_back({s.operand, block, from, lane, 1});
  }
  first.push_back(static_cast<int64_t>(runs.size()));
  std::vector<std::vector<T>> x;
  std::vector<std::unique_ptr<gpu::Array<T>>> on_x;
  std::vector<const T*> pointers, on_pointers;
  for (const int64_t c : channels) {
    x_blocks.push_back(ceil_div(c, width));
    x.push_back(noise<T>(pictures * x_blocks.back() * pixels * width, static_cast<uint64_t>(x.size()) + 9));
    on_x.push_back(std::make_unique<gpu::Array<T>>(x.back()));
  }
  for (size_t i = 0; i < x.size(); ++i) pointers.push_back(x[i].data()), on_pointers.push_back(on_x[i]->data());
  const int64_t n = static_cast<int64_t>(channels.size());
  std::vector<T> y(static_cast<size_t>(pictures * blocks * pixels * width));
  const gpu::Array<T> on_y(y.size());
  const gpu::Array<LaneRun> on_runs(runs);
  const gpu::Array<int64_t> on_first(first);
  const T fill = encode<T>(0.5);
  run_tasks(cpu, {n, pointers.data(), x_blocks.data(), y.data(), pictures, out, pixels, runs.data(), first.data(), fill}, pictures * blocks);
  cuda({n, on_pointers.data(), x_blocks.data(), on_y, pictures, out, pixels, on_runs, on_first, fill}, 1, nullptr);
  FINISH();
  CHECK(same(on_y.read(), y));
}

/// All operands one after another.
std::vector<Source> joined(const std::vector<int64_t>& channels) {
  std::vector<Source> sources;
  for (size_t i = 0; i < channels.size(); ++i)
    for (int64_t c = 0; c < channels[i]; ++c) sources.push_back({static_cast<int32_t>(i), static_cast<int32_t>(c)});
  return sources;
}

void both(const std::vector<int64_t>& channels, const std::vector<Source>& sources, int64_t pixels) {
  assembles<float>(scalar::shape.assemble, cuda::shape.assemble, channels, sources, pixels);
  assembles<uint16_t>(scalar::shape.assemble_bf16, cuda::shape.assemble_bf16, channels, sources, pixels);
}

}  // namespace

int main() {
  for (const int64_t count : {1, 15, 16, 64, 4099}) {
    copies(count, 0);
    copies(count, 3);
  }
  for (const int64_t element : {1, 2, 4, 8, 64}) {
    gathers({1}, element);
    gathers({65}, element);
    gathers({5, 3, 7}, element);
    gathers({2, 1, 2, 3, 2, 2, 3, 5}, element);
  }
  joins({64, 128, 64}, 5);
  joins({4, 20, 12}, 300);
  joins({3, 1, 0, 7}, 9);
  joins(std::vector<int64_t>(35, 48), 3);
  for (const int64_t pixels : {1, 9}) {
    for (const std::vector<int64_t>& channels : {std::vector<int64_t>{24, 8, 40}, {3, 5}, {48, 16}, std::vector<int64_t>(70, 3)})
      both(channels, joined(channels), pixels);
    std::vector<Source> mixed;  // a shuffle of channels with some filled, beyond one block
    for (int32_t c = 0; c < 50; ++c) mixed.push_back({c % 5 == 3 ? -1 : 0, c * 7 % 40});
    both({40}, mixed, pixels);
  }
  return check::result();
}
