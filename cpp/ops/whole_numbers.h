#pragma once
// Whole numbers among the operands that have to lie in a range: kernels leave, for each task, the position of the first that
// does not, and a run that left one fails.
#include "ops/op.h"

namespace thaw {

/// What is said of such a number.
struct WrongNumber {
  const char* code;
  std::string expected, subject;
};

/// Looks at `wrong`, [tasks] positions in `numbers` or -1, when the launches have run. `wide`: the numbers are i64, not i32.
void check_numbers(Lower& lower, Buffer numbers, bool wide, Buffer wrong, int64_t tasks, WrongNumber said);

}  // namespace thaw
