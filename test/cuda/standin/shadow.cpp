// Part of the stand-in for CUDA: judges an access by the shadow of the memory it goes to, and keeps it there.
#include "shadow.h"

#include <sys/mman.h>

#include <cstring>

#include "async.h"
#include "report.h"

namespace standin {

thread_local Running* running = nullptr;
bool check_initialised = true;

namespace {

/// The code's addresses by what a record keeps of them: the call in which an address lies is longer than four bytes.
const void* places[kPlaceMask + 1];

uint8_t* map(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<uint8_t*>(p);
}

bool mine(uint64_t record) { return ((record ^ running->me) >> kThreadShift) == 0 && (record & kSharing) == 0; }

/// Is what the record tells (at or after the region's floor) unordered with what the running thread does now?
bool conflicts(uint64_t record, bool read) {
  const uint64_t sharing = read ? record & kSharing : 0;
  if (record < running->block_floor || sharing == kBlocks) return true;
  if (record < running->phase_floor) return false;
  if (sharing == kWarps || ((record ^ running->me) >> kWarpShift & 31) != 0) return true;
  if (record >> kStampBits < running->me >> kStampBits) return false;  // before the warp's barrier
  return sharing == kLanes || ((record ^ running->me) >> kThreadShift & 31) != 0;
}

/// The record of all reads after one more, by the running thread.
uint64_t join_read(uint64_t record, uint64_t me, uint64_t floor) {
  if (record < floor) return me;
  const uint64_t sharing = record & kSharing;
  if (sharing == kBlocks) return record;
  if (record < running->block_floor) return me | kBlocks;
  if (record < running->phase_floor) return me;
  if (sharing == kWarps) return record;
  if (((record ^ me) >> kWarpShift & 31) != 0) return me | kWarps;
  if (record >> kStampBits < me >> kStampBits) return me;
  if (sharing == kLanes) return record;
  return ((record ^ me) >> kThreadShift & 31) == 0 ? me : me | kLanes;
}

/// The rule for one cell; 1: raced with a write, 2: with a read.
int touch(Cell& cell, uint64_t me, uint64_t floor, bool write) {
  int race = 0;
  if (cell.write >= floor && conflicts(cell.write, false)) race = 1;
  if (write && race == 0 && cell.read >= floor && conflicts(cell.read, true)) race = 2;
  if (race != 0) return race;
  if (write) {
    cell.write = me;
  } else {
    cell.read = join_read(cell.read, me, floor);
  }
  return 0;
}

struct Access {
  const Region* region;
  uintptr_t address;
  size_t bytes;
  bool write;
  const void* place;
  uint64_t floor, me;
};

void raced(const Access& a, const Cell& cell, int race) {
  report_race(a.address, a.bytes, a.write, a.place, race == 1 ? cell.write : cell.read, race == 2);
}

bool touch_bytes(const Access& a, size_t word, unsigned mask) {
  for (int i = 0; i < 4; ++i) {
    if ((mask >> i & 1) == 0) continue;
    Cell& cell = a.region->each_byte[word * 4 + static_cast<size_t>(i)];
    const int race = touch(cell, a.me, a.floor, a.write);
    if (race == 0) continue;
    raced(a, cell, race);
    return false;
  }
  return true;
}

/// From now on, and as long as the word's records count, its bytes are looked at one by one.
void split(const Region& region, size_t word, uint64_t floor) {
  Cell& cell = region.words[word];
  const unsigned masks = region.masks[word];
  for (size_t i = 0; i < 4; ++i) {
    const bool write = cell.write >= floor && ((cell.write & kPartial) == 0 || (masks >> i & 1) != 0);
    const bool read = cell.read >= floor && ((cell.read & kPartial) == 0 || (masks >> (4 + i) & 1) != 0);
    region.each_byte[word * 4 + i] = {write ? cell.write & ~kPartial : 0, read ? cell.read & ~kPartial : 0};
  }
  cell.write = running->me | kSplit;
}

/// One word, of which the access touches the bytes of `mask`. False: raced.
bool touch_word(const Access& a, size_t word, unsigned mask) {
  const Region& region = *a.region;
  Cell& cell = region.words[word];
  if (cell.write >= a.floor && (cell.write & kSplit) != 0) return touch_bytes(a, word, mask);
  const bool partial = mask != 15;
  const auto foreign = [&](uint64_t r) { return r >= a.floor && (partial || (r & kPartial) != 0) && !mine(r); };
  if (foreign(cell.write) || foreign(cell.read)) {
    split(region, word, a.floor);
    return touch_bytes(a, word, mask);
  }
  if (!partial) {
    const int race = touch(cell, a.me, a.floor, a.write);
    if (race != 0) raced(a, cell, race);
    return race == 0;
  }
  uint64_t& record = a.write ? cell.write : cell.read;
  const int shift = a.write ? 0 : 4;
  uint8_t& masks = region.masks[word];
  if (record >= a.floor && (record & kPartial) == 0) return true;  // all of it is the thread's own already
  if (record < a.floor) masks = static_cast<uint8_t>(masks & ~(15u << shift));
  masks = static_cast<uint8_t>(masks | mask << shift);
  record = a.me | kPartial;
  return true;
}

/// Bytes that do not exist, or that nobody wrote. False: the access must not happen.
bool judge_state(const Access& a, size_t word, unsigned mask) {
  const uint8_t state = a.region->state[word];
  if ((~(state >> 4) & mask) != 0) {
    report_outside(a.address, a.bytes, a.write, a.place);
    return false;
  }
  if (!a.write && check_initialised && (~state & mask) != 0) report_unwritten(a.address, a.bytes, a.place);
  return true;
}

/// Any access, word by word.
[[gnu::noinline]] void slowly(const Access& a) {
  const size_t begin = a.address - a.region->begin, end = begin + a.bytes;
  if (end > a.region->bytes) {
    report_outside(a.address, a.bytes, a.write, a.place);
    return;
  }
  bool raced_once = false;
  for (size_t word = begin / 4; word * 4 < end; ++word) {
    const size_t low = word * 4 < begin ? begin % 4 : 0;
    const size_t high = end - word * 4 < 4 ? end - word * 4 : 4;
    const unsigned mask = (1u << high) - (1u << low);
    if (!judge_state(a, word, mask)) return;
    if (!raced_once) raced_once = !touch_word(a, word, mask);
    if (a.write) a.region->state[word] = static_cast<uint8_t>(a.region->state[word] | mask);
  }
}

/// Whole words that exist, were written where they are read, and that nobody has touched since the floor or only many
/// blocks have read.
bool quickly(const Access& a) {
  const size_t word = (a.address - a.region->begin) / 4, words = a.bytes / 4;
  for (size_t i = 0; i < words; ++i) {
    Cell& cell = a.region->words[word + i];
    uint8_t& state = a.region->state[word + i];
    if (cell.write >= a.floor) {
      // A thread that touches its own again, as sums in place do.
      if (cell.write >> kThreadShift != a.me >> kThreadShift || (cell.write & (kSplit | kPartial)) != 0) return false;
    }
    if (a.write) {
      if (state < 0xf0) return false;
      if (cell.read >= a.floor && (cell.read >> kThreadShift != a.me >> kThreadShift || (cell.read & (kSharing | kPartial)) != 0)) return false;
      cell.write = a.me;
      state = 0xff;
    } else {
      if (state != 0xff) return false;
      if (cell.read < a.floor) {
        cell.read = a.me;
      } else if ((cell.read & kPartial) != 0) {
        return false;
      } else if ((cell.read & kSharing) != kBlocks) {
        cell.read = join_read(cell.read, a.me, a.floor);
      }
    }
  }
  return true;
}

}  // namespace

bool reserve(Region& region) {
  region.state = map(region.bytes / 4 + 16);
  region.masks = map(region.bytes / 4 + 16);
  region.words = reinterpret_cast<Cell*>(map((region.bytes / 4 + 16) * sizeof(Cell)));
  region.each_byte = reinterpret_cast<Cell*>(map((region.bytes + 64) * sizeof(Cell)));
  return region.state != nullptr && region.masks != nullptr && region.words != nullptr && region.each_byte != nullptr;
}

void unreserve(const Region& region) {
  munmap(region.state, region.bytes / 4 + 16);
  munmap(region.masks, region.bytes / 4 + 16);
  munmap(region.words, (region.bytes / 4 + 16) * sizeof(Cell));
  munmap(region.each_byte, (region.bytes + 64) * sizeof(Cell));
}

void Region::exists(size_t offset, size_t count) const {
  std::memset(state + offset / 4, 0xf0, count / 4);
  if (count % 4 != 0) state[(offset + count) / 4] = static_cast<uint8_t>(((1u << count % 4) - 1) << 4);
}

void Region::gone(size_t offset, size_t count) const { std::memset(state + offset / 4, 0, (count + 3) / 4); }

void Region::written(size_t offset, size_t count) const {
  for (; count > 0 && offset % 4 != 0; ++offset, --count) state[offset / 4] |= static_cast<uint8_t>(1u << offset % 4);
  for (; count >= 4; offset += 4, count -= 4) state[offset / 4] |= 15;
  for (; count > 0; ++offset, --count) state[offset / 4] |= static_cast<uint8_t>(1u << offset % 4);
}

uint64_t place_bits(const void* place) {
  const uint64_t bits = reinterpret_cast<uintptr_t>(place) >> 2 & kPlaceMask;
  places[bits] = place;
  return bits;
}

const void* place_of(uint64_t record) { return places[record & kPlaceMask]; }

void check_access(uintptr_t address, size_t bytes, bool write, const void* place) {
  const uint64_t me = running->me | place_bits(place);
  const uintptr_t offset = address - arena_begin;
  if (offset < kArenaBytes) [[likely]] {
    const Access a{&arena, address, bytes, write, place, offset < kSharedSlot ? running->phase_floor : running->launch_floor, me};
    if (((address | bytes) & 3) != 0 || !quickly(a)) slowly(a);
    if (write && offset < kSharedSlot) note_write(address, bytes, true);
    return;
  }
  if (address - running->parameters < running->parameter_bytes && !write) return;
  if (!write && is_constant(address)) return;
  const Region* region = find_region(address);
  if (region == nullptr) {
    report_outside(address, bytes, write, place);
    return;
  }
  slowly({region, address, bytes, write, place, running->launch_floor, me});
}

void begin_copy(uintptr_t to, size_t bytes) { arena.gone(to - arena_begin, bytes); }

void arrive_copy(uintptr_t to, size_t bytes, const void* place) {
  const size_t offset = to - arena_begin;
  arena.exists(offset, bytes);
  arena.written(offset, bytes);
  for (size_t word = offset / 4; word < (offset + bytes) / 4; ++word) arena.words[word] = {running->me | place_bits(place), 0};
}

}  // namespace standin
