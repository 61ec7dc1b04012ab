#pragma once
// Finds a table by its name.
#include <cstring>

#include "kernels/activation.h"

namespace thaw {
namespace cuda {

#define TABLE(Type, name) extern const Type name;
#include "kernels/cuda/tables.def"
#undef TABLE

inline const void* table(const char* wanted) {
#define TABLE(Type, name) \
  if (!std::strcmp(wanted, #name)) return &name;
#include "kernels/cuda/tables.def"
#undef TABLE
  return nullptr;
}

}  // namespace cuda
}  // namespace thaw
