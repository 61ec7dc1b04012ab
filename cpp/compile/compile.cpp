// The passes in their order.
#include "compile/compile.h"

namespace thaw {

Program compile(const Request& request) {
  Program program = partition(request);
  fold(program);
  if (is_training(request.mode)) {
    differentiate(program);
    std::vector<ValueId> gradients;
    for (const ParameterGradient& g : program.gradients) {
      gradients.push_back(g.value);
      if (g.indices != kNone) gradients.push_back(g.indices);
    }
    prune(program.graph, gradients);
  }
  fuse(program);
  if (is_training(request.mode)) recompute(program);
  select(program);
  choose_layouts(program);
  join_expansions(program);
  join_shortcuts(program);
  find_prepared(program);
  if (!is_training(request.mode)) write_in_place(program);
  return program;
}

}  // namespace thaw
