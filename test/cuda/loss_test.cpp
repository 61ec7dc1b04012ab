// Losses on the GPU against the CPU's scalar kernels: every task's share, every gradient. Exponentials and logarithms differ
// by some units of the last place; shares are sums of up to some thousand such numbers in double.
#include "kernels/loss.h"

#include "compare.h"
#include "kernels/activation.h"

using namespace thaw;
using gpu::Array;
using gpu::expect_close;

namespace {

struct Problem {
  int64_t outer, n, inner;
  TargetKind kind = TargetKind::i64;
  bool weighted = false;
  int mask = 0;  // 0: none, 1: f32 by sample, 2: bytes by position
  float smoothing = 0;
  bool wrong = false;

  int64_t positions() const { return outer * inner; }
  std::string text() const {
    return " " + std::to_string(outer) + "x" + std::to_string(n) + "x" + std::to_string(inner) + " kind " +
           std::to_string(static_cast<int>(kind)) + (weighted ? " weighted" : "") + " mask " + std::to_string(mask) +
           (wrong ? " wrong" : "");
  }
};

struct Data {
  std::vector<float> scores, probabilities, weights, factors;
  std::vector<int64_t> wide;
  std::vector<int32_t> narrow;
  std::vector<uint8_t> bytes;
};

Data data_of(const Problem& p) {
  Data d;
  d.scores = gpu::floats(p.outer * p.n * p.inner, 1, 5);
  d.probabilities = gpu::floats(p.outer * p.n * p.inner, 2);
  for (float& v : d.probabilities) v = std::abs(v);
  d.weights = gpu::floats(p.n, 3);
  for (float& v : d.weights) v = std::abs(v);
  if (p.n > 2) d.weights[1] = 0;
  d.factors = gpu::floats(p.outer, 4);
  d.factors[0] = 0;
  for (int64_t i = 0; i < p.positions(); ++i) {
    d.wide.push_back(i % 7 == 3 ? -100 : (i * 31 + i / 5) % p.n);
    if (p.wrong && i % 11 == 8) d.wide.back() = i % 2 ? -1 : p.n;
    d.narrow.push_back(static_cast<int32_t>(d.wide.back()));
    d.bytes.push_back(i % 3 != 1);
  }
  // A class that does not count, with a score that is infinite.
  if (p.weighted && p.smoothing == 0 && p.n > 2 && p.kind != TargetKind::probabilities) d.scores[static_cast<size_t>(p.inner)] = -INFINITY;
  return d;
}

/// The same arguments in either memory.
struct Place {
  const float *scores, *weights, *factors;
  const void* target;
  const uint8_t* bytes;
  float* log_sum;
  LossShare* shares;
  int64_t* wrong;
};

CrossEntropy arguments(const Problem& p, const Place& at, int64_t each) {
  Factors mask = {nullptr, false, 1, 1};
  if (p.mask == 1) mask = {at.factors, false, p.inner, p.outer};
  if (p.mask == 2) mask = {at.bytes, true, 1, p.positions()};
  return {at.scores, at.target, p.weighted ? at.weights : nullptr, mask, at.log_sum, at.shares, at.wrong,
          p.outer, p.n, p.inner, each, -100, p.smoothing, p.kind};
}

std::vector<double> numbers(const std::vector<LossShare>& shares, bool loss) {
  std::vector<double> result;
  for (const LossShare& s : shares) result.push_back(loss ? s.loss : s.weight);
  return result;
}

void verify(const Problem& p) {
  const Data d = data_of(p);
  const int64_t units = p.outer * ((p.inner + 15) / 16), each = 3, tasks = (units + each - 1) / each;
  const size_t t = static_cast<size_t>(tasks);
  std::vector<float> log_sum(static_cast<size_t>(p.positions())), dscores(d.scores.size());
  std::vector<LossShare> shares(t);
  std::vector<int64_t> wrong(t);
  const void* host_target = d.wide.data();
  if (p.kind == TargetKind::i32) host_target = d.narrow.data();
  if (p.kind == TargetKind::probabilities) host_target = d.probabilities.data();
  const CrossEntropy host = arguments(p, {d.scores.data(), d.weights.data(), d.factors.data(), host_target, d.bytes.data(),
                                          log_sum.data(), shares.data(), wrong.data()}, each);
  gpu::run_tasks(scalar::loss.cross_entropy, host, tasks);

  const Array<float> scores(d.scores), probabilities(d.probabilities), weights(d.weights), factors(d.factors);
  const Array<int64_t> wide(d.wide), on_wrong(t);
  const Array<int32_t> narrow(d.narrow);
  const Array<uint8_t> bytes(d.bytes);
  const Array<float> on_log_sum(log_sum.size()), on_dscores(dscores.size());
  const Array<LossShare> on_shares(t);
  const void* target = wide.data();
  if (p.kind == TargetKind::i32) target = narrow.data();
  if (p.kind == TargetKind::probabilities) target = probabilities.data();
  CrossEntropy device = arguments(p, {scores, weights, factors, target, bytes, on_log_sum, on_shares, on_wrong}, each);
  cuda::loss.cross_entropy(device, tasks, nullptr);
  FINISH();
  expect_close(on_log_sum.read(), log_sum, 0x1p-21, "log sum" + p.text());
  expect_close(numbers(on_shares.read(), true), numbers(shares, true), 0x1p-20, "loss" + p.text());
  expect_close(numbers(on_shares.read(), false), numbers(shares, false), 0x1p-40, "weight" + p.text());
  CHECK(on_wrong.read() == wrong);
  if (p.wrong) CHECK(*std::max_element(wrong.begin(), wrong.end()) >= 0);

  const float dloss = 1.5f, total = 7;
  const Array<float> on_dloss(std::vector<float>{dloss}), on_total(std::vector<float>{total}), same(log_sum);
  gpu::run_tasks(scalar::loss.cross_entropy_backward, {host, &dloss, &total, dscores.data()}, tasks);
  device.log_sum = same;
  cuda::loss.cross_entropy_backward({device, on_dloss, on_total, on_dscores}, tasks, nullptr);
  FINISH();
  expect_close(on_dscores.read(), dscores, 0x1p-20, "dscores" + p.text());
}

void cross_entropies() {
  const int64_t shapes[][3] = {{1, 1, 1}, {5, 3, 1}, {11, 40, 1}, {7, 1000, 1}, {2, 5, 37}, {3, 21, 16}};
  for (const auto& s : shapes)
    for (const TargetKind kind : {TargetKind::i32, TargetKind::i64, TargetKind::probabilities})
      for (const bool weighted : {false, true})
        for (const int mask : {0, 1, 2})
          for (const float smoothing : {0.0f, 0.1f}) verify({s[0], s[1], s[2], kind, weighted, mask, smoothing});
  for (const auto& s : shapes)
    if (s[0] * s[2] > 10) verify({s[0], s[1], s[2], TargetKind::i64, true, 0, 0.1f, true});
}

void verify_pointwise(int64_t count, PointwiseLoss kind, bool factors) {
  const std::string what = " " + std::to_string(count) + " kind " + std::to_string(static_cast<int>(kind));
  std::vector<float> scores = gpu::floats(count, 1, 6);
  const std::vector<float> target = gpu::floats(count, 2), weights = gpu::floats(3, 3);
  const std::vector<uint8_t> bytes = {1, 0, 1, 1, 0};
  if (factors) scores[static_cast<size_t>(count > 1)] = NAN;  // masked where there is more than one
  const size_t t = static_cast<size_t>(chunks(count));
  std::vector<LossShare> shares(t);
  std::vector<float> dscores(scores.size());
  const Factors none = {nullptr, false, 1, 1};
  const Pointwise host = {scores.data(), target.data(), factors ? Factors{weights.data(), false, 1, 3} : none,
                          factors ? Factors{bytes.data(), true, 1, 5} : none, shares.data(), count, kind};
  const float dloss = 0.5f, total = 3, zero = 0;
  gpu::run_tasks(scalar::loss.pointwise, host, chunks(count));
  gpu::run_tasks(scalar::loss.pointwise_backward, {host, &dloss, &total, dscores.data()}, chunks(count));
  const Array<float> on_scores(scores), on_target(target), on_weights(weights), on_dscores(scores.size());
  const Array<uint8_t> on_bytes(bytes);
  const Array<LossShare> on_shares(t);
  const Array<float> on_dloss(std::vector<float>{dloss}), on_total(std::vector<float>{total}), on_zero(std::vector<float>{zero});
  const Pointwise device = {on_scores, on_target, factors ? Factors{on_weights, false, 1, 3} : none,
                            factors ? Factors{on_bytes, true, 1, 5} : none, on_shares, count, kind};
  cuda::loss.pointwise(device, chunks(count), nullptr);
  cuda::loss.pointwise_backward({device, on_dloss, on_total, on_dscores}, chunks(count), nullptr);
  FINISH();
  expect_close(numbers(on_shares.read(), true), numbers(shares, true), 0x1p-20, "pointwise" + what);
  expect_close(numbers(on_shares.read(), false), numbers(shares, false), 0x1p-40, "pointwise weight" + what);
  expect_close(on_dscores.read(), dscores, 0x1p-20, "pointwise slope" + what);

  // A mean over nothing: no gradient.
  cuda::loss.pointwise_backward({device, on_dloss, on_zero, on_dscores}, chunks(count), nullptr);
  FINISH();
  const std::vector<float> none_left = on_dscores.read();
  if (!factors) CHECK(std::all_of(none_left.begin(), none_left.end(), [](float v) { return v == 0; }));
}

void verify_finish(int64_t count, bool mean, bool empty) {
  std::vector<LossShare> shares;
  for (int64_t i = 0; i < count; ++i) shares.push_back({empty ? 0 : 0.25 * static_cast<double>(i), empty ? 0 : 1.5});
  float loss = 0, total = 0;
  gpu::run_tasks(scalar::loss.finish, {shares.data(), count, mean, &loss, &total}, 1);
  const Array<LossShare> on_shares(shares);
  const Array<float> on_loss(1), on_total(1);
  cuda::loss.finish({on_shares, count, mean, on_loss, on_total}, 1, nullptr);
  FINISH();
  expect_close(on_loss.read(), {loss}, 0x1p-23, "finished loss");
  expect_close(on_total.read(), {total}, 0x1p-23, "finished total");
}

}  // namespace

int main() {
  cross_entropies();
  for (const PointwiseLoss kind : {PointwiseLoss::binary_cross_entropy, PointwiseLoss::squared_error})
    for (const bool factors : {false, true})
      for (const int64_t count : {1, 3, 1000, 16385}) verify_pointwise(count, kind, factors);
  for (const bool mean : {false, true})
    for (const bool empty : {false, true})
      for (const int64_t count : {1, 2, 300, 5000}) verify_finish(count, mean, empty);
  return check::result();
}
