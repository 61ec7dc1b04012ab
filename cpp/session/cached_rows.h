#pragma once
// Rows of the cut's values on their way from a plan to a feature cache and back.
#include <vector>

#include "run/plan.h"
#include "session/session.h"

namespace thaw {

/// One memory for each value of the plan's cut. What `values` has of that size stays: new pages would cost more time than
/// what is written to them.
void make_room(const Session& session, const Plan& plan, std::vector<Memory>& values);

/// Gathers the cut's values of the rows that `request` {cache, keys} names. Throws ERR_CACHE_MISS.
void read_cache(Session& session, const Plan& plan, const Json& request, std::vector<Memory>& values);

/// Keeps the rows of the cut's values that a plan in mode embed has computed; says how many there was room for.
int64_t write_cache(Session& session, const Plan& plan, const Json& request);

}  // namespace thaw
