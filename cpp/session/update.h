#pragma once
// The end of a training step: gradients to the caller, or into the weights.
#include "run/plan.h"
#include "session/session.h"

namespace thaw {

/// Appends gradients to a reply: `wanted` is true (all) or a list of parameters. Rows come dense.
void reply_gradients(Reply& reply, const Plan& plan, const Json& wanted);

/// Updates the trained parameters from the gradients of the plan's last run, as `update` says (see `Update` in src/native.ts).
/// State lives in the store as `optimizer/<kind>/<parameter>`, sums of accumulated gradients as `gradient/<parameter>`.
/// Returns the norm of all gradients where clipping asked for it, else null.
Json update_parameters(Session& session, const Plan& plan, const Json& update, const JobContext& context);

}  // namespace thaw
