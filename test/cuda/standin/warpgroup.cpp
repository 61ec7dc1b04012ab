// Part of the stand-in for CUDA: products of a warpgroup (PTX ISA, "Asynchronous Warpgroup Level Matrix
// Multiply-Accumulate Instructions"). A product reads shared memory at any time from its issue to the end of the wait for it, and
// its sums are in the registers only then: it is looked at when its first warp issues it; at every warp's issue all that it
// reads must be written, ordered by a barrier and fenced; at every warp's wait nobody may have written there since.
#include <algorithm>
#include <cstring>
#include <limits>

#include "async.h"
#include "block.h"
#include "report.h"

namespace standin {

namespace {

/// What all lanes of a warp must say alike.
struct Instruction {
  uint64_t a, b;
  int n, left;
};

/// A matrix descriptor, offsets in bytes.
struct Descriptor {
  uintptr_t start;
  uint64_t leading, stride;
  unsigned swizzle;  // bytes, 16: none
};

constexpr uint64_t kKnownBits = 0xc0003fff3fff3fffu;  // address, offsets, swizzle; a base offset is not modelled

Descriptor decode(uint64_t bits, Where where) {
  if ((bits & ~kKnownBits) != 0) {
    report("wgmma: bits of a descriptor that must be zero are not", where);
    end_block();
  }
  static constexpr unsigned kSwizzles[] = {16, 128, 64, 32};
  const uint64_t address = (bits & 0x3fff) << 4;
  if (address < kSharedWindow) {
    report("wgmma: a descriptor's address is not in the block's shared memory", where);
    end_block();
  }
  return {arena_begin + address - kSharedWindow, (bits >> 16 & 0x3fff) << 4, (bits >> 32 & 0x3fff) << 4, kSwizzles[bits >> 62]};
}

/// Where element (i, k) of a matrix lies: i a row of a or a column of b, k the depth. Numbers of 16 bits, eight to a unit of
/// sixteen bytes.
uintptr_t element(const Descriptor& d, bool transposed, unsigned i, unsigned k) {
  const unsigned wide = d.swizzle / 16;  // units of a line
  uint64_t offset;
  if (!transposed) {
    offset = i / 8 * d.stride + i % 8 * d.swizzle + k % 8 * 2 + (wide == 1 ? k / 8 * d.leading : k / 8 * 16);
  } else if (wide == 1) {
    offset = i / 8 * d.stride + k / 8 * d.leading + k % 8 * 16 + i % 8 * 2;
  } else {
    offset = i / 8 / wide * d.leading + i / 8 % wide * 16 + i % 8 * 2 + k / 8 * d.stride + k % 8 * d.swizzle;
  }
  const uint64_t address = d.start - arena_begin + kSharedWindow + offset;
  const uint64_t row = address >> 7 & (wide - 1);  // the swizzle takes bits of the address itself
  return arena_begin - kSharedWindow + (address ^ row << 4);
}

float number_at(uintptr_t address) {
  uint16_t bits;
  std::memcpy(&bits, reinterpret_cast<const void*>(address), 2);
  return __uint_as_float(static_cast<uint32_t>(bits) << 16);
}

void gather(const Descriptor& d, bool transposed, unsigned count, std::vector<uintptr_t>& units, std::vector<float>* numbers) {
  for (unsigned i = 0; i < count; ++i) {
    for (unsigned k = 0; k < 16; ++k) {
      const uintptr_t address = element(d, transposed, i, k);
      if (numbers != nullptr) numbers->push_back(number_at(address));
      else if ((transposed ? i : k) % 8 == 0) units.push_back(address & ~uintptr_t{15});
    }
  }
}

Warpgroup& group_of(const Thread& t) { return block->async.groups[t.number / 128]; }

/// All that a product reads, by the running thread.
void demand_operands(const Wgmma& p, Where where, const void* place) {
  for (const uintptr_t unit : p.units) {
    check_access(unit, 16, false, place);
    demand_published(unit, 16, "wgmma", where);
  }
}

/// A warp's share in the issue of a product, by its first lane.
void issue(Thread& t, const Instruction& x, bool transposed_a, bool transposed_b, Where where, const void* place) {
  Warpgroup& group = group_of(t);
  const uint64_t at = t.async.issued - group.dropped;
  if (at < group.products.size()) {
    const Wgmma& p = group.products[at];
    if (p.a != x.a || p.b != x.b || p.n != x.n || p.transposed_a != transposed_a || p.transposed_b != transposed_b)
      report("wgmma: the warps of a warpgroup bring different operands", where);
    demand_operands(p, where, place);
    return;
  }
  Wgmma p{x.a, x.b, x.n, transposed_a, transposed_b, last_write(), {}, {}, {}, 0};
  const Descriptor a = decode(x.a, where), b = decode(x.b, where);
  gather(a, transposed_a, 64, p.units, nullptr);
  gather(b, transposed_b, static_cast<unsigned>(x.n), p.units, nullptr);
  demand_operands(p, where, place);
  gather(a, transposed_a, 64, p.units, &p.rows);
  gather(b, transposed_b, static_cast<unsigned>(x.n), p.units, &p.columns);
  group.products.push_back(std::move(p));
}

/// A thread's sums += a b, k ascending; fragments as of mma.m16n8k16, a warp's rows sixteen of the product's.
void add(const Wgmma& p, unsigned thread, std::vector<float>& sums) {
  const unsigned row = thread / 32 % 4 * 16 + thread % 32 / 4, column = thread % 4 * 2;
  for (unsigned i = 0; i < sums.size(); ++i) {
    const float* a = &p.rows[(row + i / 2 % 2 * 8) * 16];
    const float* b = &p.columns[(i / 4 * 8 + column + i % 2) * 16];
    for (unsigned k = 0; k < 16; ++k) sums[i] += a[k] * b[k];
  }
}

bool untouched(const float* registers, size_t count) {
  return std::all_of(registers, registers + count, [](float x) { return x != x; });
}

/// The first of the thread's products on their way is done.
void finish(Thread& t, Where where, const void* place) {
  AsyncThread& me = t.async;
  const PendingSums pending = me.pending.front();
  me.pending.erase(me.pending.begin());
  Warpgroup& group = group_of(t);
  Wgmma& p = group.products[pending.product - group.dropped];
  if (t.number % 32 == 0) {
    for (const uintptr_t unit : p.units) {
      if (last_write_to(unit, 16) > p.serial) {
        report("wgmma: bytes " + std::to_string(unit - arena_begin) +
                   " and following of shared memory were written while a product might read them", where);
        break;
      }
      check_access(unit, 16, false, place);
    }
  }
  std::vector<float>& sums = me.sums[pending.registers];
  if (!untouched(pending.registers, sums.size())) report("wgmma: sums were written before their product was done", where);
  add(p, t.number, sums);
  const bool more = std::any_of(me.pending.begin(), me.pending.end(),
                                [&](const PendingSums& other) { return other.registers == pending.registers; });
  if (!more) {
    std::copy(sums.begin(), sums.end(), pending.registers);
    me.sums.erase(pending.registers);
  }
  ++p.finished;
  for (; !group.products.empty() && group.products.front().finished == 128; ++group.dropped)
    group.products.erase(group.products.begin());
}

void together(Instruction& x, Where where) { exchange(Kind::warpgroup, 0xffffffffu, &x, where); }

}  // namespace

void compare_all(Thread* warp) {
  const Instruction& first = *static_cast<Instruction*>(warp[0].data);
  for (int lane = 1; lane < 32; ++lane) {
    const Instruction& other = *static_cast<Instruction*>(warp[lane].data);
    if (other.a == first.a && other.b == first.b && other.n == first.n && other.left == first.left) continue;
    report("wgmma: the lanes of a warp bring different operands", warp[lane].where);
    return;
  }
}

uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pointer) - arena_begin) + kSharedWindow;
}

void begin_wgmma(Where where) {
  Instruction x{};
  together(x, where);
  block->current->async.registers_fenced = true;
}

void end_wgmma(Where where) {
  Instruction x{};
  together(x, where);
  ++block->current->async.group;
}

void wgmma_bf16(float* d, int n, uint64_t a, uint64_t b, bool transposed_a, bool transposed_b, Where where) {
  Instruction x{a, b, n, 0};
  together(x, where);
  Thread& t = *block->current;
  AsyncThread& me = t.async;
  if (block->threads < (t.number / 128 + 1) * 128) {
    report("wgmma: its warpgroup has not four warps", where);
    end_block();
  }
  if (!me.registers_fenced) report("wgmma: registers were used before without a wgmma.fence behind it", where);
  if (t.number % 32 == 0) issue(t, x, transposed_a, transposed_b, where, __builtin_return_address(0));
  const size_t count = static_cast<size_t>(n) / 2;
  if (me.sums.find(d) == me.sums.end()) {
    me.sums[d].assign(d, d + count);
    std::fill(d, d + count, std::numeric_limits<float>::quiet_NaN());
  }
  me.pending.push_back({me.issued++, d, me.group, where});
}

void wait_wgmma(int left, Where where) {
  Instruction x{0, 0, 0, left};
  together(x, where);
  Thread& t = *block->current;
  AsyncThread& me = t.async;
  while (!me.pending.empty() && me.pending.front().group < me.group - left) finish(t, where, __builtin_return_address(0));
  if (me.pending.empty()) me.registers_fenced = false;
}

void end_async(Thread& t) {
  if (!t.async.pending.empty()) report("wgmma: a thread returns before its products are done", t.async.pending.front().where);
}

}  // namespace standin
