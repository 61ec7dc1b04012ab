#pragma once
// Part of the stand-in for CUDA: what is known of each byte that a kernel may touch.
//
// Each word of four bytes has a state (which of its bytes exist, which were written) and a cell: who wrote it last, who
// read it last. Where threads share a word by halves or bytes, each byte gets a cell of its own.
//
// A record of a cell is a number: | stamp 32 | thread of the block 10 | flags 3 | place 19 |. Stamps count barriers over the
// whole process: a barrier gives every thread a new one, __syncwarp the threads of a warp. So a record's stamp says
// whether it is of this launch, of this block (they run one after the other), since the last barrier, since the warp's.
#include <cstddef>
#include <cstdint>

namespace standin {

struct Cell {
  uint64_t write, read;
};

constexpr int kStampBits = 32, kThreadShift = 22, kWarpShift = kThreadShift + 5;
constexpr uint64_t kPlaceMask = (1u << 19) - 1;
constexpr uint64_t kPartial = 1u << 19;  // of the word's bytes those of the mask
constexpr uint64_t kSplit = 1u << 20;    // of a write: the word's bytes have cells of their own
constexpr uint64_t kSharing = 3u << 20;  // of a read: whose it was
constexpr uint64_t kLanes = 1u << 20, kWarps = 2u << 20, kBlocks = 3u << 20;

/// Memory with its shadow; `begin` is a multiple of 16.
struct Region {
  uintptr_t begin;
  size_t bytes;
  uint8_t* state;   // by word: low half, which bytes were written; high half, which exist
  Cell* words;
  Cell* each_byte;
  uint8_t* masks;   // by word, for kPartial: low half, bytes written; high half, bytes read

  void exists(size_t offset, size_t count) const;
  void gone(size_t offset, size_t count) const;
  void written(size_t offset, size_t count) const;
};
/// Reserves the shadow; pages of it that nobody touches take no memory. False where there is no address space.
bool reserve(Region& region);
void unreserve(const Region& region);

constexpr size_t kStackBytes = 64 << 10;
constexpr size_t kSharedBytes = 227 << 10;
/// The arena: shared memory first, then the device's.
constexpr size_t kArenaBytes = size_t{16} << 30, kSharedSlot = 256 << 10;

/// The thread that runs: what an access is judged by.
struct Running {
  uintptr_t stack;        // lowest address of the thread's own
  uint64_t me;            // its record, without flags and place
  uint64_t launch_floor;  // stamps as records: the first of the launch, of the block, since the last barrier
  uint64_t block_floor, phase_floor;
  uintptr_t parameters;   // of the kernel
  size_t parameter_bytes;
};

/// Null outside of kernels, and while the stand-in itself works.
extern thread_local Running* running __attribute__((tls_model("initial-exec"), visibility("hidden")));
extern uintptr_t arena_begin __attribute__((visibility("hidden")));
extern Region arena;
extern bool check_initialised;

/// Checks one access of the running thread, and notes it. `place` is an address of the code.
void check_access(uintptr_t address, size_t bytes, bool write, const void* place);
/// The address of code that a record names.
const void* place_of(uint64_t record);
uint64_t place_bits(const void* place);

/// From issue to arrival an asynchronous copy's goal does not exist.
void begin_copy(uintptr_t to, size_t bytes);
void arrive_copy(uintptr_t to, size_t bytes, const void* place);

/// Other memory that kernels may use.
const Region* find_region(uintptr_t address);
bool is_constant(uintptr_t address);

}  // namespace standin
