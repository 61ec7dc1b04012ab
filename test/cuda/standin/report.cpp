// Part of the stand-in for CUDA: puts violations into words.
#include "report.h"

#include <dlfcn.h>

#include <cstdio>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "block.h"
#include "memory.h"
#include "standin.h"

namespace standin {

namespace {

constexpr size_t kKept = 32;

std::mutex mutex;
std::vector<std::string> kept;
std::set<std::string> places_known;  // kind and place
std::string last = "an assertion failed in a kernel";
uint64_t count = 0;

std::string number(uint64_t n) { return std::to_string(n); }

std::string where_in_launch() {
  if (block == nullptr) return "";
  const uint3 b = block->index;
  return ", block (" + number(b.x) + "," + number(b.y) + "," + number(b.z) + "), kernel launch " + number(block->launch->number);
}

/// Keeps the sentence if its kind at its place is new.
void keep(const std::string& kind, const std::string& place, const std::string& sentence) {
  const std::lock_guard lock(mutex);
  ++count;
  if (!places_known.insert(kind + "|" + place).second || kept.size() >= kKept) return;
  last = sentence + where_in_launch() + ", at " + place;
  kept.push_back(last);
}

/// The stand-in's own work is not looked at.
struct Pause {
  Running* const before = running;
  Pause() { running = nullptr; }
  ~Pause() { running = before; }
};

/// "bytes 128 to 131 of shared memory".
std::string bytes_of(uintptr_t address, size_t bytes) {
  const uintptr_t offset = address - arena_begin;
  if (offset < kSharedSlot) return "bytes " + number(offset) + " to " + number(offset + bytes - 1) + " of shared memory";
  return number(bytes) + " bytes at " + describe_address(address);
}

/// The line, by addr2line where it is installed.
std::string look_up(const void* place) {
  Dl_info info{};
  if (place == nullptr || dladdr(place, &info) == 0 || info.dli_fname == nullptr) return "an unknown place";
  const uintptr_t offset = reinterpret_cast<uintptr_t>(place) - reinterpret_cast<uintptr_t>(info.dli_fbase);
  char address[32];
  std::snprintf(address, sizeof address, "0x%zx", static_cast<size_t>(offset));
  std::string line;
  const std::string command = std::string("addr2line -e '") + info.dli_fname + "' " + address + " 2>/dev/null";
  if (FILE* pipe = popen(command.c_str(), "r")) {
    char text[1024];
    if (std::fgets(text, sizeof text, pipe) != nullptr) line = text;
    pclose(pipe);
  }
  line = line.substr(0, line.find_first_of(" \n"));
  return line.empty() || line[0] == '?' ? std::string(info.dli_fname) + "+" + address : line;
}

std::string who() { return "thread " + number(block->current->number); }

}  // namespace

std::string name_place(const void* place) {
  static std::map<const void*, std::string> known;
  const std::lock_guard lock(mutex);
  const auto at = known.find(place);
  return at != known.end() ? at->second : known[place] = look_up(place);
}

std::string name_place(const std::source_location& where) { return std::string(where.file_name()) + ":" + number(where.line()); }

void report_race(uintptr_t address, size_t bytes, bool write, const void* place, uint64_t other, bool other_read) {
  const Pause pause;
  const bool shared = address - arena_begin < kSharedSlot;
  const uint64_t sharing = other_read ? other & kSharing : 0;
  const bool blocks = other < block->running.block_floor || sharing == kBlocks;
  const std::string them = blocks ? "another block" : sharing != 0 ? "several threads" : "thread " + number(other >> kThreadShift & 1023);
  const std::string at = name_place(place);
  keep(std::string("race ") + (write ? "w" : "r") + (other_read ? "r" : "w"), at,
       std::string("race in ") + (shared ? "shared" : "device") + " memory: " + them + (other_read ? " read" : " wrote") + " (at " +
           name_place(place_of(other)) + "), " + who() + (write ? " wrote, " : " read, ") + bytes_of(address, bytes));
}

void report_outside(uintptr_t address, size_t bytes, bool write, const void* place) {
  const Pause pause;
  const uintptr_t offset = address - arena_begin;
  const std::string at = name_place(place);
  const std::string verb = who() + (write ? " wrote " : " read ");
  if (offset < block->launch->shared) {
    keep("copy", at, "unfinished copy: " + verb + bytes_of(address, bytes) + " while an asynchronous copy to it was under way");
  } else if (offset < kSharedSlot) {
    keep("outside", at, "out of bounds: " + verb + bytes_of(address, bytes) + ", of which the block has " + number(block->launch->shared));
  } else {
    keep("outside", at, "out of bounds: " + verb + number(bytes) + " bytes at " + describe_address(address));
  }
  end_block();
}

void report_unwritten(uintptr_t address, size_t bytes, const void* place) {
  const Pause pause;
  keep("unwritten", name_place(place), "uninitialised: " + who() + " read " + bytes_of(address, bytes) + ", which nobody has written");
}

void report_misaligned(uintptr_t address, size_t alignment, const char* type, const char* file, unsigned line) {
  const Pause pause;
  keep("misaligned", std::string(file) + ":" + number(line),
       "misaligned: " + who() + " uses a " + type + " at " + describe_address(address) + ", no multiple of " + number(alignment));
  end_block();
}

void report(const std::string& what, const std::source_location& where) {
  const Pause pause;
  keep(what.substr(0, what.find(':')), name_place(where), what);
}

const char* last_violation() { return last.c_str(); }
uint64_t violation_count() { return count; }

std::vector<std::string> violations() {
  const std::lock_guard lock(mutex);
  return kept;
}

void forget_violations() {
  const std::lock_guard lock(mutex);
  kept.clear();
  places_known.clear();
}

}  // namespace standin
