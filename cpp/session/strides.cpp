#include "session/strides.h"

#include <algorithm>
#include <cstring>

namespace thaw {

void check_strides(const Shape& shape, const std::vector<int64_t>& strides, const std::string& name) {
  const bool fits =
      strides.size() == shape.size() && std::all_of(strides.begin(), strides.end(), [](int64_t s) { return s >= 0; });
  if (!fits) {
    fail_expected("ERR_SHAPE", "one stride of 0 or more per dimension", "tensor '" + name + "'",
                  to_string(strides) + " for " + to_string(shape));
  }
}

uint64_t strided_span(const Shape& shape, const std::vector<int64_t>& strides, uint64_t element, uint64_t limit) {
  uint64_t last = 0;
  for (size_t d = 0; d < shape.size(); ++d) {
    const uint64_t steps = static_cast<uint64_t>(shape[d] - 1), stride = static_cast<uint64_t>(strides[d]);
    if (stride != 0 && steps > (limit - last) / stride) return limit + 1;
    last += steps * stride;
  }
  return last >= limit / element ? limit + 1 : (last + 1) * element;
}

// The last dimension innermost.
void gather(const Shape& shape, const std::vector<int64_t>& strides, size_t element, size_t bytes, const char* source,
            char* target) {
  std::vector<int64_t> index(shape.size(), 0);
  int64_t from = 0;
  for (size_t done = 0; done < bytes; done += element) {
    std::memcpy(target + done, source + from * static_cast<int64_t>(element), element);
    for (size_t d = shape.size(); d-- > 0;) {
      from += strides[d];
      if (++index[d] < shape[d]) break;
      from -= strides[d] * shape[d];
      index[d] = 0;
    }
  }
}

}  // namespace thaw
