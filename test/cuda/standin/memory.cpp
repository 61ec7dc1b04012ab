// Part of the stand-in for CUDA: the device's memory, with room between allocations that nobody may touch.
#include "memory.h"

#include <link.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "guard.h"
#include "host.h"
#include "shadow.h"
#include "standin.h"

namespace standin {

uintptr_t arena_begin = 0;
Region arena{};

namespace {

constexpr size_t kAlign = 256, kRedZone = 256;

struct Device {
  size_t memory = size_t{4} << 30, used = 0;
  int devices = 1;
  std::map<size_t, size_t> allocations;  // offset in the arena -> bytes asked for
  std::map<size_t, size_t> holes;        // offset -> bytes
  std::map<uintptr_t, size_t> pinned;
  std::map<uintptr_t, Region> registered;

  Device() {
    if (const char* text = std::getenv("THAW_STANDIN_MEMORY")) memory = std::strtoull(text, nullptr, 10);
    if (const char* text = std::getenv("THAW_STANDIN_DEVICES")) devices = std::atoi(text);
    void* p = mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return;
    arena_begin = arena.begin = reinterpret_cast<uintptr_t>(p);
    arena.bytes = kArenaBytes;
    if (!reserve(arena)) {
      arena_begin = 0;
      return;
    }
    guard_memory(p, kArenaBytes);
    holes[kSharedSlot + kRedZone] = kArenaBytes - kSharedSlot - 2 * kRedZone;
  }
};

Device& device() {
  static Device* const one = new Device;  // memory is given back after static objects have gone
  return *one;
}

size_t taken(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign + kRedZone; }

/// Pages wholly inside, given back to the system; they read as zeros.
void drop(const void* begin, size_t bytes) {
  const uintptr_t low = (reinterpret_cast<uintptr_t>(begin) + 4095) & ~uintptr_t{4095};
  const uintptr_t high = (reinterpret_cast<uintptr_t>(begin) + bytes) & ~uintptr_t{4095};
  if (low < high) madvise(reinterpret_cast<void*>(low), high - low, MADV_DONTNEED);
}

/// Do all of these bytes lie in one allocation?
bool in_allocation(const void* memory, size_t bytes) {
  const size_t offset = reinterpret_cast<uintptr_t>(memory) - arena_begin;
  auto at = device().allocations.upper_bound(offset);
  if (at == device().allocations.begin()) return false;
  --at;
  return offset + bytes <= at->first + at->second;
}

struct Segments {
  std::vector<std::pair<uintptr_t, uintptr_t>> constant;
};

int note_segments(dl_phdr_info* info, size_t, void* data) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& p = info->dlpi_phdr[i];
    const bool readonly = (p.p_type == PT_LOAD && (p.p_flags & PF_W) == 0) || p.p_type == PT_GNU_RELRO;
    const uintptr_t begin = info->dlpi_addr + p.p_vaddr;
    if (readonly) static_cast<Segments*>(data)->constant.emplace_back(begin, begin + p.p_memsz);
  }
  return 0;
}

}  // namespace

std::recursive_mutex& runtime_mutex() {
  static std::recursive_mutex* const one = new std::recursive_mutex;
  return *one;
}

bool is_constant(uintptr_t address) {
  static thread_local Segments segments;
  for (int attempt = 0; attempt < 2; ++attempt) {
    for (const auto& [begin, end] : segments.constant) {
      if (address >= begin && address < end) return true;
    }
    segments.constant.clear();
    dl_iterate_phdr(note_segments, &segments);
  }
  return false;
}

const Region* find_region(uintptr_t address) {
  auto at = device().registered.upper_bound(address);
  if (at == device().registered.begin()) return nullptr;
  --at;
  return address < at->first + at->second.bytes ? &at->second : nullptr;
}

std::string describe_address(uintptr_t address) {
  char text[32];
  std::snprintf(text, sizeof text, "%p", reinterpret_cast<void*>(address));
  const size_t offset = address - arena_begin;
  if (offset >= kArenaBytes) return std::string(text) + ", memory that the device has not";
  auto at = device().allocations.upper_bound(offset);
  if (at == device().allocations.begin()) return std::string(text) + ", before any allocation";
  --at;
  const std::string size = " of an allocation of " + std::to_string(at->second) + " bytes";
  if (offset < at->first + at->second) return "byte " + std::to_string(offset - at->first) + size;
  return std::to_string(offset - at->first - at->second) + " bytes past the end" + size;
}

bool is_pinned(const void* memory) {
  auto at = device().pinned.upper_bound(reinterpret_cast<uintptr_t>(memory));
  if (at == device().pinned.begin()) return false;
  --at;
  return reinterpret_cast<uintptr_t>(memory) < at->first + at->second;
}

int device_count() { return arena_begin != 0 || device().memory != 0 ? device().devices : 0; }
size_t device_memory() { return device().memory; }

bool copy_bytes(void* to, const void* from, size_t bytes, bool to_device, bool from_device) {
  if (bytes == 0) return true;
  if ((to_device && !in_allocation(to, bytes)) || (from_device && !in_allocation(from, bytes))) return false;
  const Opened opened;
  std::memmove(to, from, bytes);
  if (!to_device) return true;
  const size_t goal = reinterpret_cast<uintptr_t>(to) - arena_begin, source = reinterpret_cast<uintptr_t>(from) - arena_begin;
  if (from_device && (goal | source | bytes) % 4 == 0) {
    std::memmove(arena.state + goal / 4, arena.state + source / 4, bytes / 4);
  } else {
    arena.written(goal, bytes);
  }
  return true;
}

bool set_bytes(void* to, int value, size_t bytes) {
  if (bytes == 0) return true;
  if (!in_allocation(to, bytes)) return false;
  const Opened opened;
  std::memset(to, value, bytes);
  arena.written(reinterpret_cast<uintptr_t>(to) - arena_begin, bytes);
  return true;
}

void forget_records() {
  drop(arena.words, kArenaBytes / 4 * sizeof(Cell));
  drop(arena.each_byte, kArenaBytes * sizeof(Cell));
  for (const auto& [begin, region] : device().registered) {
    std::memset(region.words, 0, region.bytes / 4 * sizeof(Cell));
    std::memset(region.each_byte, 0, region.bytes * sizeof(Cell));
  }
}

void set_memory(size_t bytes) { device().memory = bytes; }
void set_devices(int devices) { device().devices = devices; }
void set_check_initialised(bool check) { check_initialised = check; }

Registered::Registered(void* memory, size_t bytes) : memory_(memory) {
  const std::lock_guard lock(runtime_mutex());
  Region region{};
  region.begin = reinterpret_cast<uintptr_t>(memory);
  region.bytes = bytes;
  if (region.begin % 16 != 0 || !reserve(region)) std::abort();
  region.exists(0, bytes);
  region.written(0, bytes);
  device().registered[region.begin] = region;
}

Registered::~Registered() {
  const std::lock_guard lock(runtime_mutex());
  auto at = device().registered.find(reinterpret_cast<uintptr_t>(memory_));
  unreserve(at->second);
  device().registered.erase(at);
}

cudaError_t allocate(void** memory, size_t bytes) {
  Device& d = device();
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (bytes > kArenaBytes || d.used + bytes > d.memory) return cudaErrorMemoryAllocation;
  const size_t want = taken(bytes);
  for (auto hole = d.holes.begin(); hole != d.holes.end(); ++hole) {
    if (hole->second < want) continue;
    const auto [offset, size] = *hole;
    d.holes.erase(hole);
    if (size > want) d.holes[offset + want] = size - want;
    d.allocations[offset] = bytes;
    d.used += bytes;
    arena.exists(offset, bytes);
    *memory = reinterpret_cast<void*>(arena_begin + offset);
    return cudaSuccess;
  }
  return cudaErrorMemoryAllocation;
}

cudaError_t release(void* memory) {
  Device& d = device();
  const size_t offset = reinterpret_cast<uintptr_t>(memory) - arena_begin;
  const auto at = d.allocations.find(offset);
  if (at == d.allocations.end()) return cudaErrorInvalidValue;
  const size_t bytes = at->second;
  d.allocations.erase(at);
  d.used -= bytes;
  arena.gone(offset, bytes);
  drop(memory, bytes);
  drop(arena.state + offset / 4, bytes / 4);
  drop(arena.words + offset / 4, bytes / 4 * sizeof(Cell));
  drop(arena.each_byte + offset, bytes * sizeof(Cell));
  size_t begin = offset, size = taken(bytes);
  const auto after = d.holes.find(begin + size);
  if (after != d.holes.end()) {
    size += after->second;
    d.holes.erase(after);
  }
  auto before = d.holes.lower_bound(begin);
  if (before != d.holes.begin() && (--before)->first + before->second == begin) {
    before->second += size;
  } else {
    d.holes[begin] = size;
  }
  return cudaSuccess;
}

cudaError_t pin(void** memory, size_t bytes) {
  *memory = std::aligned_alloc(4096, bytes / 4096 * 4096 + 4096);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  device().pinned[reinterpret_cast<uintptr_t>(*memory)] = bytes;
  return cudaSuccess;
}

cudaError_t unpin(void* memory) {
  if (device().pinned.erase(reinterpret_cast<uintptr_t>(memory)) == 0) return cudaErrorInvalidValue;
  std::free(memory);
  return cudaSuccess;
}

size_t memory_used() { return device().used; }

}  // namespace standin
