// Rows by index on the GPU against the CPU's scalar kernels: the same numbers, since rows of one index are summed in order.
#include "kernels/embedding.h"

#include "compare.h"

using namespace thaw;
using gpu::Array;
using gpu::expect_close;

namespace {

/// Some repeat; where `outside`, some lie beyond the rows on either side.
template <class T>
std::vector<T> indices_of(int64_t count, int64_t rows, bool outside) {
  std::vector<T> result;
  for (int64_t i = 0; i < count; ++i) {
    T index = static_cast<T>((i * i * 7 + i / 3) % rows);
    if (outside && i % 13 == 7) index = i % 2 ? static_cast<T>(-1) : static_cast<T>(rows + i);
    result.push_back(index);
  }
  return result;
}

template <class T>
void gather(int64_t count, int64_t rows, int64_t width, bool outside) {
  const std::vector<T> indices = indices_of<T>(count, rows, outside);
  const std::vector<float> weight = gpu::floats(rows * width, 1);
  const int64_t each = 5, tasks = (count + each - 1) / each;
  std::vector<float> y(static_cast<size_t>(count * width));
  std::vector<int32_t> kept(static_cast<size_t>(count));
  std::vector<int64_t> wrong(static_cast<size_t>(tasks));
  gpu::run_tasks(scalar::embedding.gather, {{indices.data(), sizeof(T) == 8}, weight.data(), y.data(), kept.data(),
                                            wrong.data(), count, rows, width, 2, each}, tasks);
  const Array<T> on_indices(indices);
  const Array<float> on_weight(weight), on_y(y.size());
  const Array<int32_t> on_kept(kept.size());
  const Array<int64_t> on_wrong(wrong.size());
  cuda::embedding.gather({{on_indices.data(), sizeof(T) == 8}, on_weight, on_y, on_kept, on_wrong, count, rows, width, 2,
                          each}, tasks, nullptr);
  FINISH();
  CHECK(on_wrong.read() == wrong);
  if (outside) {  // the CPU leaves off where it finds one
    CHECK(*std::max_element(wrong.begin(), wrong.end()) >= 0);
    return;
  }
  expect_close(on_y.read(), y, 0, "gather");
  CHECK(on_kept.read() == kept);
}

template <class T>
void scatter(int64_t count, int64_t rows, int64_t width) {
  std::vector<T> indices = indices_of<T>(count, rows, false);
  for (size_t i = 4; i < indices.size(); i += 9) indices[i] = -1;
  const std::vector<float> source = gpu::floats(count * width, 2);
  std::vector<float> dense(static_cast<size_t>(rows * width));
  const int64_t each = 3, tasks = (rows + each - 1) / each;
  gpu::run_tasks(scalar::embedding.scatter, {{indices.data(), sizeof(T) == 8}, source.data(), dense.data(), count, rows,
                                             width, each}, tasks);
  const Array<T> on_indices(indices);
  const Array<float> on_source(source), on_dense(dense.size());
  cuda::embedding.scatter({{on_indices.data(), sizeof(T) == 8}, on_source, on_dense, count, rows, width, each}, tasks, nullptr);
  FINISH();
  expect_close(on_dense.read(), dense, 0, "scatter " + std::to_string(count) + " to " + std::to_string(rows));
}

}  // namespace

int main() {
  for (const int64_t width : {1, 30, 64, 300})
    for (const int64_t count : {1, 12, 300})
      for (const int64_t rows : {3, 20}) {
        gather<int32_t>(count, rows, width, false);
        gather<int64_t>(count, rows, width, false);
        if (count >= 12) gather<int32_t>(count, rows, width, true), gather<int64_t>(count, rows, width, true);
        scatter<int32_t>(count, rows, width);
        scatter<int64_t>(count, rows, width);
      }
  scatter<int32_t>(700, 2500, 5);  // several rows a block, several lists
  return check::result();
}
