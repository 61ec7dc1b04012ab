#pragma once
// Rows of the cut's values on their way from a plan to a feature cache and back.
#include <vector>

#include "run/plan.h"
#include "session/session.h"

namespace thaw {

/// Gathers the cut's values of the rows that `request` {cache, keys} names; one memory for each value of the cut. Throws
/// ERR_CACHE_MISS.
std::vector<Memory> read_cache(Session& session, const Plan& plan, const Json& request);

/// Keeps the rows of the cut's values that a plan in mode embed has computed; says how many there was room for.
int64_t write_cache(Session& session, const Plan& plan, const Json& request);

}  // namespace thaw
