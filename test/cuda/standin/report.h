#pragma once
// Part of the stand-in for CUDA: violations, as sentences.
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

namespace standin {

// Of accesses. A race is noted and the launch goes on; an access outside of memory ends it, and these do not return.
void report_race(uintptr_t address, size_t bytes, bool write, const void* place, uint64_t other, bool other_read);
void report_outside(uintptr_t address, size_t bytes, bool write, const void* place);
void report_unwritten(uintptr_t address, size_t bytes, const void* place);
void report_misaligned(uintptr_t address, size_t alignment, const char* type, const char* file, unsigned line);

/// A violation at a place of the source; the running thread's launch is named.
void report(const std::string& what, const std::source_location& where);
/// "file:line" of an address of the code, as far as addr2line is there and knows; else the address in its binary.
std::string name_place(const void* place);
std::string name_place(const std::source_location& where);

/// The sentence of the last violation.
const char* last_violation();
/// How many there were so far, whether or not they were kept.
uint64_t violation_count();

}  // namespace standin
