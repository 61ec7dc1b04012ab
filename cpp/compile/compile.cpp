// The passes in their order.
#include "compile/compile.h"

namespace thaw {

namespace {

/// Bytes from which recomputing is worth it: of a group of pictures its share, so that it decides as its batch does.
size_t recompute_least(int64_t pictures, int64_t batch) {
  constexpr size_t least = size_t{64} << 20;
  return batch > 0 ? least / static_cast<size_t>(batch) * static_cast<size_t>(pictures) : least;
}

}  // namespace

int64_t pictures_of(const Request& request) {
  int64_t pictures = 0;
  for (const auto& [name, shape] : request.shapes.members()) {
    const Shape ints = shape.as_ints();
    if (ints.empty() || (pictures > 0 && ints[0] != pictures)) return 0;
    pictures = ints[0];
  }
  return pictures;
}

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
  const int64_t pictures = pictures_of(request);
  if (is_training(request.mode)) recompute(program, recompute_least(pictures, request.batch));
  select(program);
  choose_layouts(program);
  join_expansions(program);
  join_shortcuts(program);
  if (is_training(request.mode) && request.batch > 0) split_by_picture(program, pictures, request.batch);
  find_prepared(program);
  if (!is_training(request.mode)) write_in_place(program);
  return program;
}

}  // namespace thaw
