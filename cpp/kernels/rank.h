#pragma once

namespace thaw {

/// The most dimensions that a kernel walks.
constexpr int kMaxRank = 8;

}  // namespace thaw
