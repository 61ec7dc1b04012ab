// Reductions, norms, embeddings and losses: values against double references, gradients against their central
// differences, on every instruction set and in both layouts.
#include <algorithm>

#include "harness.h"
#include "ops/broadcast.h"

using namespace harness;

namespace {

using Data = std::vector<std::vector<double>>;

Json json(const char* text) { return Json::parse(text); }

std::vector<double> integers(int64_t n, int64_t below, uint64_t seed) {
  std::vector<double> result = noise(n, seed);
  for (double& v : result) v = static_cast<double>(static_cast<int64_t>(std::abs(v) * 1000) % below);
  return result;
}

// ---- reductions -------------------------------------------------------------------------------------------------

enum class Kind { sum, mean, max };

/// Reduces the dimensions marked in `reduced`.
std::vector<double> reduced_values(const std::vector<double>& x, const Shape& shape, const std::vector<bool>& reduced,
                                   Kind kind) {
  Shape kept = shape;
  for (size_t d = 0; d < shape.size(); ++d) kept[d] = reduced[d] ? 1 : shape[d];
  const Shape strides = broadcast_strides(kept, shape);
  std::vector<double> y(static_cast<size_t>(count(kept)), kind == Kind::max ? -INFINITY : 0.0);
  for (int64_t i = 0; i < count(shape); ++i) {
    int64_t rest = i, at = 0;
    for (size_t d = shape.size(); d-- > 0; rest /= shape[d]) at += rest % shape[d] * strides[d];
    y[at] = kind == Kind::max ? std::max(y[at], x[i]) : y[at] + x[i];
  }
  if (kind == Kind::mean) {
    for (double& v : y) v *= static_cast<double>(y.size()) / static_cast<double>(x.size());
  }
  return y;
}

void reductions() {
  const std::pair<Shape, std::vector<int64_t>> all[] = {
      {{33}, {0}},          {{3, 5}, {1}},          {{5, 70}, {0}},         {{2, 3, 4}, {0, 2}},
      {{2, 3, 4, 5}, {1, -1}},
      {{2, 3, 4, 5}, {-2}}, {{2, 17, 3, 3}, {2, 3}}, {{2, 3, 4}, {0, 1, 2}}, {{1, 4}, {0}},           {{3, 4}, {}}};
  for (const auto& [shape, axes] : all) {
    std::vector<bool> reduced(shape.size(), false);
    for (int64_t a : axes) reduced[a < 0 ? a + shape.size() : a] = true;
    for (const bool keep : {false, true}) {
      for (const auto& [name, kind] : {std::pair{"sum", Kind::sum}, {"mean", Kind::mean}, {"max", Kind::max}}) {
        const Shape x = shape;
        const Kind k = kind;
        Case c{"reduce", {{x}}};
        c.attrs.set("kind", name).set("axes", axes).set("keepdims", keep);
        c.reference = [=](const Data& d) { return reduced_values(d[0], x, reduced, k); };
        VERIFY(c);
      }
    }
  }
}

void sums_to_shapes() {
  const std::tuple<Shape, Shape, bool> all[] = {
      {{5, 33}, {33}, false},           {{5, 33}, {5, 1}, false},          {{2, 3, 4}, {3, 1}, false},
      {{2, 3, 4}, {}, false},           {{3, 24, 5, 7}, {24}, true},       {{3, 24, 5, 7}, {1, 24, 1, 1}, false},
      {{3, 24, 5, 7}, {3, 24, 1, 1}, false}, {{3, 24, 5, 7}, {1, 24, 5, 7}, false}, {{2, 5, 3, 3}, {2, 1, 3, 3}, false},
      {{2, 16, 3, 3}, {16, 1, 1}, false}, {{1, 17, 3, 3}, {17}, true},     {{4, 6}, {6}, true},
      {{1, 3, 1, 1}, {3}, true},        {{3, 1}, {3, 1}, false}};
  for (const auto& [shape, target, channels] : all) {
    std::vector<bool> reduced(shape.size(), false);
    for (size_t d = 0; d < shape.size(); ++d) {
      const size_t ahead = shape.size() - target.size();
      reduced[d] = channels ? d != 1 : d < ahead || (target[d - ahead] == 1 && shape[d] != 1);
    }
    const Shape x = shape;
    Case c{"sum_to", {{x}}};
    c.attrs.set("shape", target).set("channels", channels);
    c.reference = [=](const Data& d) { return reduced_values(d[0], x, reduced, Kind::sum); };
    VERIFY(c);
  }
  // Long sums are cut into parts.
  for (const auto& [shape, target] : {std::pair{Shape{70000}, Shape{}}, {Shape{5000, 20}, Shape{20}},
                                      {Shape{2, 3, 300, 300}, Shape{3, 1, 1}}}) {
    const Shape x = shape;
    std::vector<bool> reduced(x.size(), true);
    if (x.size() > 1) reduced[1] = false;
    Case c{"sum_to", {{x}}};
    c.attrs.set("shape", target);
    c.reference = [=](const Data& d) { return reduced_values(d[0], x, reduced, Kind::sum); };
    c.gradients = false;
    VERIFY(c);
  }
}

void softmax() {
  for (const auto& [shape, axis] : {std::pair{Shape{3, 5}, -1}, {Shape{2, 17}, 1}, {Shape{4, 33}, 0},
                                    {Shape{2, 3, 20}, 1},
                                    {Shape{2, 5, 3, 3}, 1}, {Shape{1}, 0}}) {
    int64_t outer = 1, n = shape[axis < 0 ? axis + shape.size() : axis], inner = 1;
    for (size_t d = 0; d < shape.size(); ++d) {
      const size_t at = axis < 0 ? axis + shape.size() : axis;
      if (d != at) (d < at ? outer : inner) *= shape[d];
    }
    Case c{"softmax", {{shape}}};
    c.attrs.set("axis", axis);
    c.reference = [=](const Data& d) {
      std::vector<double> y(d[0].size());
      for (int64_t o = 0; o < outer; ++o) {
        for (int64_t i = 0; i < inner; ++i) {
          double sum = 0;
          for (int64_t k = 0; k < n; ++k) sum += std::exp(d[0][(o * n + k) * inner + i]);
          for (int64_t k = 0; k < n; ++k) y[(o * n + k) * inner + i] = std::exp(d[0][(o * n + k) * inner + i]) / sum;
        }
      }
      return y;
    };
    VERIFY(c);
  }
}

void layer_norm() {
  for (const auto& [shape, trailing] : {std::pair{Shape{3, 5}, Shape{5}}, {Shape{2, 3, 33}, Shape{33}},
                                        {Shape{70, 17}, Shape{17}},
                                        {Shape{2, 3, 4}, Shape{3, 4}}}) {
    const int64_t n = count(trailing), rows = count(shape) / n;
    for (const bool affine : {true, false}) {
      Case c{"layer_norm", {{shape}, {trailing}, {trailing}}};
      c.operands[1].absent = c.operands[2].absent = !affine;
      c.attrs.set("normalized_shape", trailing);
      c.reference = [=](const Data& d) {
        std::vector<double> y;
        for (int64_t r = 0; r < rows; ++r) {
          double mean = 0, variance = 0;
          for (int64_t i = 0; i < n; ++i) mean += d[0][r * n + i] / n;
          for (int64_t i = 0; i < n; ++i) variance += std::pow(d[0][r * n + i] - mean, 2) / n;
          for (int64_t i = 0; i < n; ++i) {
            const double v = (d[0][r * n + i] - mean) / std::sqrt(variance + 1e-5);
            y.push_back(affine ? v * d[1][i] + d[2][i] : v);
          }
        }
        return y;
      };
      VERIFY(c);
    }
  }
}

// ---- rows and losses --------------------------------------------------------------------------------------------

void embedding() {
  for (const DType dtype : {DType::i32, DType::i64}) {
    for (const int64_t width : {1, 17}) {
      Case c{"embedding", {{{3, 4}, integers(12, 5, 9), dtype}, {{5, width}}}, json(R"({"padding_index": 2})")};
      c.reference = [=](const Data& d) {
        std::vector<double> y;
        auto row = [&](double i) { return d[1].begin() + static_cast<int64_t>(i) * width; };
        for (double i : d[0]) y.insert(y.end(), row(i), row(i + 1));
        return y;
      };
      c.gradients = false;
      VERIFY(c);
      // The padding row gets no gradient; the others the sum of theirs.
      const Builder build = one("embedding", c.attrs);
      const Result got = run_graph(c.operands, build, {best_isa(), false, true, false, false});
      const std::vector<double> weight = noise(12 * width, 77);
      std::vector<double> want(static_cast<size_t>(5 * width), 0.0);
      for (int64_t i = 0; i < 12 * width; ++i) {
        const int64_t row = static_cast<int64_t>(c.operands[0].data[i / width]);
        if (row != 2) want[row * width + i % width] += weight[i];
      }
      expect_close(got.gradients[1], want, 1e-6, "embedding gradient");
    }
  }
  Case s{"scatter_rows", {{{4}, {1, -1, 0, 1}, DType::i32}, {{4, 19}}}, json(R"({"rows_total": 3})")};
  s.reference = [](const Data& d) {
    std::vector<double> y(57, 0.0);
    for (int64_t r = 0; r < 4; ++r)
      for (int64_t c = 0; c < 19 && d[0][r] >= 0; ++c) y[static_cast<int64_t>(d[0][r]) * 19 + c] += d[1][r * 19 + c];
    return y;
  };
  s.gradients = false;
  VERIFY(s);
}

struct LossShape {
  Shape scores;
  double smoothing;
  bool weights, mask, probabilities;
  const char* reduction;
};

/// PyTorch's definition, written down position by position.
std::vector<double> cross_entropy_reference(const Data& d, const LossShape& s) {
  const int64_t classes = s.scores[1], inner = count(s.scores) / s.scores[0] / classes;
  double loss = 0, total = 0;
  for (int64_t p = 0; p < s.scores[0] * inner; ++p) {
    const int64_t base = p / inner * classes * inner + p % inner;
    const double mask = s.mask ? d[3][p] : 1;
    if (!s.probabilities && d[1][p] == -100) continue;
    double sum = 0;
    for (int64_t k = 0; k < classes; ++k) sum += std::exp(d[0][base + k * inner]);
    for (int64_t k = 0; k < classes; ++k) {
      const double w = s.weights ? d[2][k] : 1;
      const double target = s.probabilities ? d[1][base + k * inner] : d[1][p] == k;
      const double q = w * (target * (1 - s.smoothing) + s.smoothing / classes);
      loss += mask * q * (std::log(sum) - d[0][base + k * inner]);
      if (!s.probabilities && d[1][p] == k) total += mask * w;
    }
    if (s.probabilities) total += mask;
  }
  const bool mean = std::string(s.reduction) == "mean";
  return {mean ? (total == 0 ? 0 : loss / total) : loss};
}

void cross_entropy() {
  const LossShape all[] = {{{5, 3}, 0, false, false, false, "mean"},      {{5, 33}, 0.1, false, false, false, "mean"},
                           {{5, 17}, 0.1, true, true, false, "mean"},     {{4, 3, 5}, 0, true, true, false, "mean"},
                           {{2, 3, 4, 5}, 0.2, true, false, false, "sum"}, {{5, 17}, 0.1, true, false, true, "mean"},
                           {{3, 4, 5}, 0, false, true, true, "mean"},     {{70, 2}, 0, false, false, false, "mean"},
                           {{3, 1}, 0, false, false, false, "mean"}};
  for (const LossShape& s : all) {
    Shape positions = s.scores;
    positions.erase(positions.begin() + 1);
    const int64_t n = count(positions);
    Case c{"cross_entropy",
           {{s.scores}, {positions, integers(n, s.scores[1], 4), DType::i64}, {{s.scores[1]}}, {positions}}};
    c.operands[1].data[0] = -100;
    if (s.probabilities) c.operands[1] = {s.scores};
    c.operands[2].data = noise(s.scores[1], 8);
    for (double& w : c.operands[2].data) w = std::abs(w) + 0.1;
    c.operands[3].data = integers(n, 2, 6);
    c.operands[3].dtype = DType::boolean;
    c.operands[2].absent = !s.weights;
    c.operands[3].absent = !s.mask;
    c.attrs.set("label_smoothing", s.smoothing).set("reduction", s.reduction);
    c.reference = [=](const Data& d) { return cross_entropy_reference(d, s); };
    c.frozen = {false, true, true, true};
    VERIFY(c);
  }
}

void cross_entropy_corners() {
  const Builder build = one("cross_entropy");
  for (const Isa isa : harness::isas(false)) {
    const Setup setup{isa, false, true, false, false};
    // Everything ignored: nothing, not NaN.
    const Result none = run_graph({{{2, 3}}, {{2}, {-100, -100}, DType::i32}}, build, setup);
    CHECK(none.output[0] == 0 && largest(none.gradients[0]) < 1e-20);
    const std::string text = CHECK_THROWS("ERR_TARGET", run_graph({{{2, 3}}, {{2}, {0, 3}, DType::i32}}, build, setup));
    CHECK(text == "expected class indices from 0 to 2 for the target of 'cross_entropy', received 3 at position 1");
    // Scores far apart neither overflow nor lose the loss.
    const Result far = run_graph({{{1, 2}, {300, -300}}, {{1}, {1}, DType::i64}}, build, setup);
    CHECK(std::abs(far.output[0] - 600) < 1e-3);
  }
  const Builder embed = one("embedding");
  const std::vector<Operand> outside = {{{2}, {0, 5}, DType::i64}, {{5, 3}}};
  CHECK_THROWS("ERR_INDEX", run_graph(outside, embed, {Isa::scalar, false, true, false, false}));
}

void losses_by_element() {
  for (const Shape& shape : {Shape{5}, Shape{3, 17}, Shape{2, 3, 4}}) {
    for (const bool extra : {false, true}) {
      const int64_t n = count(shape), last = shape.back(), lead = n / shape[0];
      std::vector<double> target = noise(n, 21), mask = integers(shape[0], 2, 23);
      for (double& t : target) t = static_cast<float>(1 / (1 + std::exp(-t)));
      mask[0] = 1;
      Case c{"binary_cross_entropy", {{shape}, {shape, target}, {{last}}, {{shape[0]}, mask, DType::boolean}}};
      c.operands[2].absent = c.operands[3].absent = !extra;
      c.frozen = {false, true, true, true};
      c.reference = [=](const Data& d) {
        double loss = 0, total = 0;
        for (int64_t i = 0; i < n; ++i) {
          const double m = extra ? d[3][i / lead] : 1, w = extra ? d[2][i % last] : 1;
          loss += m * w * (std::log1p(std::exp(d[0][i])) - d[0][i] * d[1][i]);
          total += m;
        }
        return std::vector<double>{loss / total};
      };
      VERIFY(c);
      Case e{"mean_squared_error", {{shape}, {shape, target}, {{shape[0]}, mask, DType::boolean}}};
      e.operands[2].absent = !extra;
      e.reference = [=](const Data& d) {
        double loss = 0, total = 0;
        for (int64_t i = 0; i < n; ++i) {
          const double m = extra ? d[2][i / lead] : 1;
          loss += m * (d[0][i] - d[1][i]) * (d[0][i] - d[1][i]);
          total += m;
        }
        return std::vector<double>{loss / total};
      };
      VERIFY(e);
    }
  }
}

void small_losses_keep_their_digits() {
  const Builder build = one("binary_cross_entropy");
  const Result got = run_graph({{{1}, {12}}, {{1}, {1}}}, build, {best_isa(), false, false, false, false});
  const double want = std::log1p(std::exp(-12.0));
  CHECK(std::abs(got.output[0] - want) < 1e-6 * want);
}

}  // namespace

int main() {
  reductions();
  sums_to_shapes();
  softmax();
  layer_norm();
  embedding();
  cross_entropy();
  cross_entropy_corners();
  losses_by_element();
  small_losses_keep_their_digits();
  return check::result();
}
