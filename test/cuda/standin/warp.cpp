// Part of the stand-in for CUDA: what the lanes of a warp do together, and asynchronous copies.
// Layouts of fragments: PTX ISA, "Matrix Fragments for mma.m16n8k16" and "ldmatrix".
#include <algorithm>
#include <cstring>

#include "block.h"
#include "report.h"

namespace standin {

namespace {

struct Shuffled {
  uint64_t bits, result;
  Exchange kind;
  int lane, width;
};
struct Voted {
  bool vote;
  unsigned result;
};
struct Product {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};
struct Matrices {
  uint32_t* r;
  uintptr_t row;
  bool transposed;
};

template <class T>
T& of(Thread& lane) {
  return *static_cast<T*>(lane.data);
}

/// Which lane's number a lane gets (CUDA C++ Programming Guide, "Warp Shuffle Functions").
int source(const Shuffled& s, int lane) {
  const int first = lane & ~(s.width - 1), last = first + s.width - 1;
  switch (s.kind) {
    case Exchange::index: return first + (s.lane & (s.width - 1));
    case Exchange::up: return lane - s.lane < first ? lane : lane - s.lane;
    case Exchange::down: return lane + s.lane > last ? lane : lane + s.lane;
    case Exchange::exclusive_or: return (lane ^ s.lane) > last ? lane : lane ^ s.lane;
  }
  return lane;
}

void shuffle_all(unsigned mask, Thread* warp) {
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    Shuffled& s = of<Shuffled>(warp[lane]);
    const int from = source(s, lane);
    if (from < 0 || from > 31 || (mask >> from & 1) == 0) {
      report("shuffle: thread " + std::to_string(warp[lane].number) + " reads from lane " + std::to_string(from) +
                 ", which takes no part",
             warp[lane].where);
      s.result = ~uint64_t{0};
    } else {
      s.result = of<Shuffled>(warp[from]).bits;
    }
  }
}

void vote_all(unsigned mask, Thread* warp) {
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) != 0 && of<Voted>(warp[lane]).vote) bits |= 1u << lane;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) != 0) of<Voted>(warp[lane]).result = bits;
  }
}

float low(uint32_t pair) { return __uint_as_float(pair << 16); }
float high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

/// d[16][8] += a[16][16] b[16][8], k ascending.
void multiply_all(Thread* warp) {
  float a[16][16], b[16][8], d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Product& p = of<Product>(warp[lane]);
    const int row = lane / 4, column = lane % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      float* to = &a[row + i % 2 * 8][column + i / 2 * 8];
      to[0] = low(p.a[i]);
      to[1] = high(p.a[i]);
      d[row + i / 2 * 8][column + i % 2] = p.d[i];
    }
    for (int i = 0; i < 2; ++i) {
      b[column + i * 8][row] = low(p.b[i]);
      b[column + i * 8 + 1][row] = high(p.b[i]);
    }
  }
  for (int m = 0; m < 16; ++m) {
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < 8; ++n) d[m][n] += a[m][k] * b[k][n];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) of<Product>(warp[lane]).d[i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
  }
}

void load_all(Thread* warp) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t m[8][8];
    for (int row = 0; row < 8; ++row)
      std::memcpy(m[row], reinterpret_cast<const void*>(of<Matrices>(warp[matrix * 8 + row]).row), 16);
    for (int lane = 0; lane < 32; ++lane) {
      const int i = lane / 4, j = lane % 4 * 2;
      const Matrices& to = of<Matrices>(warp[lane]);
      const uint32_t first = to.transposed ? m[j][i] : m[i][j], second = to.transposed ? m[j + 1][i] : m[i][j + 1];
      to.r[matrix] = first | second << 16;
    }
  }
}

bool in_shared(uintptr_t address) { return address - arena_begin < kSharedSlot; }

/// For instructions that demand shared memory at a multiple of 16. Ends the block where it is not.
void demand_shared(uintptr_t address, const char* what, Where where) {
  if (in_shared(address) && address % 16 == 0) return;
  report(std::string(what) + (in_shared(address) ? ": the address in shared memory is no multiple of 16" : ": the address is not in shared memory"), where);
  end_block();
}

}  // namespace

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::sync: return "__syncwarp";
    case Kind::shuffle: return "shuffle";
    case Kind::ballot: return "ballot";
    case Kind::mma: return "mma";
    case Kind::matrices: return "ldmatrix";
    case Kind::warpgroup: return "wgmma";
  }
  return "";
}

void perform(Kind kind, unsigned mask, Thread* warp) {
  switch (kind) {
    case Kind::sync: return;
    case Kind::shuffle: return shuffle_all(mask, warp);
    case Kind::ballot: return vote_all(mask, warp);
    case Kind::mma: return multiply_all(warp);
    case Kind::matrices: return load_all(warp);
    case Kind::warpgroup: return compare_all(warp);
  }
}

void exchange(Kind kind, unsigned mask, void* data, Where where) {
  Thread& t = *block->current;
  if ((mask >> t.number % 32 & 1) == 0) {
    report(std::string(kind_name(kind)) + ": thread " + std::to_string(t.number) + " is not in its own mask", where);
    end_block();
  }
  t.kind = kind;
  t.mask = mask;
  t.data = data;
  wait_for(Wait::exchange, where);
}

uint64_t shuffle(unsigned mask, uint64_t bits, Exchange kind, int lane, int width, Where where) {
  Shuffled s{bits, 0, kind, lane, width};
  exchange(Kind::shuffle, mask, &s, where);
  return s.result;
}

unsigned ballot(unsigned mask, bool vote, Where where) {
  Voted v{vote, 0};
  exchange(Kind::ballot, mask, &v, where);
  return v.result;
}

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where) {
  Product p{d, a, b};
  exchange(Kind::mma, 0xffffffffu, &p, where);
}

void load_matrices(uint32_t (&r)[4], const void* row, bool transposed, Where where) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(row);
  demand_shared(address, "ldmatrix", where);
  check_access(address, 16, false, __builtin_return_address(0));
  Matrices m{r, address, transposed};
  exchange(Kind::matrices, 0xffffffffu, &m, where);
}

void copy_later(void* to, const void* from, bool valid, Where where) {
  const uintptr_t target = reinterpret_cast<uintptr_t>(to), source = reinterpret_cast<uintptr_t>(from);
  const void* place = __builtin_return_address(0);
  demand_shared(target, "asynchronous copy", where);
  if (source % 16 != 0) {
    report("asynchronous copy: the source is no multiple of 16", where);
    end_block();
  }
  if (valid) check_access(source, 16, false, place);
  check_access(target, 16, true, place);
  begin_copy(target, 16);
  Thread& t = *block->current;
  t.copies.push_back({target, source, !valid, t.group, place});
}

void end_copies() { ++block->current->group; }

void wait_copies(int left) {
  Thread& t = *block->current;
  size_t done = 0;
  for (; done < t.copies.size() && t.copies[done].group < t.group - left; ++done) {
    const Copy& c = t.copies[done];
    if (c.zeros) {
      std::memset(reinterpret_cast<void*>(c.to), 0, 16);
    } else {
      std::memcpy(reinterpret_cast<void*>(c.to), reinterpret_cast<const void*>(c.from), 16);
    }
    arrive_copy(c.to, 16, c.place);
    note_write(c.to, 16, true);
  }
  t.copies.erase(t.copies.begin(), t.copies.begin() + static_cast<std::ptrdiff_t>(done));
}

}  // namespace standin

void __syncwarp(unsigned mask, standin::Where where) { standin::exchange(standin::Kind::sync, mask, nullptr, where); }
