// Optimizers against torch.optim, row gradients against dense ones, and the counter-based draws with dropout on them.
#include <algorithm>

#include "harness.h"
#include "optim/optimizer.h"
#include "run/random.h"

using namespace harness;

namespace {

using Numbers = std::vector<double>;
using Floats = std::vector<float>;

std::vector<Isa> usable() {
  std::vector<Isa> isas;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (isa_usable(isa)) isas.push_back(isa);
  }
  return isas;
}

/// A parameter with all the state that any optimizer wants.
struct Parameter {
  Floats weight, gradient, momentum, first, second, origin;
  std::vector<int32_t> indices;
  int64_t row_length = 0, steps = 0;
  double rate = 0.1, decay = 0;

  explicit Parameter(const Floats& start)
      : weight(start), gradient(start.size()), momentum(start.size()), first(start.size()), second(start.size()) {}
  ParameterSlot slot() {
    ParameterSlot s;
    s.name = "parameter";
    s.weight = weight.data();
    s.count = static_cast<int64_t>(weight.size());
    s.gradient = gradient.data();
    if (row_length > 0) {
      s.indices = indices.data();
      s.rows = static_cast<int64_t>(indices.size());
      s.row_length = row_length;
    }
    s.momentum = momentum.data();
    s.first = first.data();
    s.second = second.data();
    s.steps = &steps;
    s.origin = origin.empty() ? nullptr : origin.data();
    s.learning_rate = rate;
    s.weight_decay = decay;
    return s;
  }
};

Floats noise_floats(int64_t n, uint64_t seed) {
  const Numbers numbers = noise(n, seed);
  return Floats(numbers.begin(), numbers.end());
}

// ---- update formulas --------------------------------------------------------------------------------------------

struct Recipe {
  OptimizerSettings settings;
  double rate, decay;
  Numbers expected;  // torch.optim in float64
};

/// Three updates of [0.5, -1.25, 2] with gradients [0.1, -0.2, 0.3] * t + 0.05 * w, t = 1, 2, 3.
void test_formulas() {
  OptimizerSettings sgd, momentum, nesterov, adam, adamw;
  momentum.momentum = nesterov.momentum = 0.9;
  nesterov.nesterov = true;
  adam.kind = OptimizerKind::adam;
  adamw.kind = OptimizerKind::adamw;
  const std::vector<Recipe> recipes = {
      {sgd, 0.1, 0, {0.4327371875, -1.11174309375, 1.790749}},
      {momentum, 0.1, 0.01, {0.388503932, -1.01863601, 1.648768088}},
      {nesterov, 0.1, 0.01, {0.331561213988, -0.90117372959, 1.470786245192}},
      {adam, 0.01, 0.1, {0.470287074052, -1.220232464357, 1.970216830072}},
      {adamw, 0.01, 0.1, {0.469077514436, -1.216789621804, 1.964529295803}}};
  for (const Isa isa : usable()) {
    for (const Recipe& recipe : recipes) {
      Parameter p({0.5f, -1.25f, 2});
      p.rate = recipe.rate;
      p.decay = recipe.decay;
      SerialRun run;
      for (int t = 1; t <= 3; ++t) {
        const float base[] = {0.1f, -0.2f, 0.3f};
        for (size_t i = 0; i < 3; ++i) p.gradient[i] = base[i] * static_cast<float>(t) + 0.05f * p.weight[i];
        apply_update(recipe.settings, {p.slot()}, 1, isa, run);
      }
      expect_close(Numbers(p.weight.begin(), p.weight.end()), recipe.expected, 2e-7, "optimizer of torch");
      CHECK(p.steps == (recipe.settings.kind == OptimizerKind::sgd ? 0 : 3));
    }
  }
}

/// Decay towards an origin: a weight at its origin stays there without a gradient, others move towards it.
void test_origin() {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw}) {
    OptimizerSettings settings;
    settings.kind = kind;
    Parameter p({1, 1, -3});
    p.origin = {1, 3, -4};
    p.decay = 0.5;
    SerialRun run;
    for (int t = 0; t < 3; ++t) apply_update(settings, {p.slot()}, 1, Isa::scalar, run);
    CHECK(p.weight[0] == 1 && p.weight[1] > 1 && p.weight[1] < 3 && p.weight[2] < -3 && p.weight[2] > -4);
    if (kind == OptimizerKind::sgd) CHECK(std::abs(p.weight[1] - (3 - 2 * std::pow(0.95, 3))) < 1e-6);
  }
}

void test_names() {
  CHECK(optimizer_from("adamw") == OptimizerKind::adamw);
  CHECK_THROWS("ERR_REQUEST", optimizer_from("lion"));
}

// ---- sums over parameters ---------------------------------------------------------------------------------------

void test_norm_and_accumulation() {
  for (const Isa isa : usable()) {
    Parameter a(Floats(20001)), b(Floats(7));
    a.gradient = noise_floats(20001, 3);
    b.gradient = noise_floats(7, 4);
    double squares = 0;
    for (const float g : a.gradient) squares += static_cast<double>(g) * g;
    for (const float g : b.gradient) squares += static_cast<double>(g) * g;
    SerialRun run;
    const std::vector<ParameterSlot> slots = {a.slot(), b.slot()};
    CHECK(std::abs(gradient_norm(slots, isa, run) / std::sqrt(squares) - 1) < 1e-12);
    CHECK(clip_factor(5, 2) == 2 / (5 + 1e-6) && clip_factor(1, 2) == 1 && clip_factor(9, 0) == 1);

    Floats sum_a(20001, NAN), sum_b(7, NAN);
    accumulate_gradients(slots, {sum_a.data(), sum_b.data()}, true, isa, run);
    accumulate_gradients(slots, {sum_a.data(), sum_b.data()}, false, isa, run);
    bool doubled = true;
    for (size_t i = 0; i < sum_a.size(); ++i) doubled = doubled && sum_a[i] == 2 * a.gradient[i];
    for (size_t i = 0; i < sum_b.size(); ++i) doubled = doubled && sum_b[i] == 2 * b.gradient[i];
    CHECK(doubled);
  }
}

/// Rows and indices give the bits of the dense gradient they stand for: repeated, absent and ignored rows.
void test_rows() {
  constexpr int64_t kRows = 600, kLength = 37;
  const std::vector<int32_t> indices = {5, 599, 5, -1, 0, 17, 5, 300, 599, 221};
  const Floats start = noise_floats(kRows * kLength, 1);
  const Floats rows = noise_floats(static_cast<int64_t>(indices.size()) * kLength, 2);
  for (const Isa isa : usable()) {
    for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw}) {
      OptimizerSettings settings;
      settings.kind = kind;
      settings.momentum = 0.9;
      Parameter dense(start), sparse(start);
      sparse.gradient = rows;
      sparse.indices = indices;
      sparse.row_length = kLength;
      for (size_t r = 0; r < indices.size(); ++r)
        for (size_t c = 0; indices[r] >= 0 && c < kLength; ++c)
          dense.gradient[static_cast<size_t>(indices[r]) * kLength + c] += rows[r * kLength + c];
      dense.decay = sparse.decay = 0.01;
      SerialRun run;
      CHECK(gradient_norm({dense.slot()}, isa, run) == gradient_norm({sparse.slot()}, isa, run));
      for (int t = 0; t < 3; ++t) {
        apply_update(settings, {dense.slot()}, 0.7, isa, run);
        run.backwards = true;
        apply_update(settings, {sparse.slot()}, 0.7, isa, run);
      }
      CHECK(dense.weight == sparse.weight && dense.momentum == sparse.momentum);
      CHECK(dense.first == sparse.first && dense.second == sparse.second);
      Floats sums(start.size());
      accumulate_gradients({sparse.slot()}, {sums.data()}, true, isa, run);
      CHECK(sums == dense.gradient);
    }
  }
}

// ---- draws ------------------------------------------------------------------------------------------------------

/// Known answers of the reference implementation (Random123, kat_vectors).
void test_philox() {
  const auto same = [](PhiloxBlock a, PhiloxBlock b) { return std::equal(a.word, a.word + 4, b.word); };
  CHECK(same(philox({{0, 0, 0, 0}}, {{0, 0}}), {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
  CHECK(same(philox({{~0u, ~0u, ~0u, ~0u}}, {{~0u, ~0u}}), {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
  CHECK(same(philox({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, {{0xa4093822, 0x299f31d0}}),
             {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));
  CHECK(name_hash("a", 1) == 0xaf63dc4c8601ec8cull);
  CHECK(uniform01(~0u) < 1 && uniform01(0) == 0 && open_uniform(0) > 0 && open_uniform(~0u) < 1);
}

struct DropoutCase {
  Shape shape;
  RandomState random = {};
  double p = 0.5;
  std::string stream = "dropout";
  Layout layout = Layout::plain;
  Isa isa = Isa::scalar;
};

/// Dropout of ones, and of a gradient of ones.
std::pair<Numbers, Numbers> dropped(const DropoutCase& c) {
  Program program;
  program.isa = c.isa;
  Graph& graph = program.graph;
  Value value;
  value.name = "x";
  value.shape = c.shape;
  value.role = Role::input;
  value.layout = c.layout;
  const ValueId x = graph.add_value(value);
  const Json attrs = Json::object().set("p", c.p).set("stream", c.stream);
  for (const char* op : {"dropout", "dropout_backward"})
    graph.outputs.push_back(graph.nodes[graph.append(op, op, {x}, attrs)].outputs[0]);
  choose_layouts(program);
  SerialRun run;
  run.gpu = c.isa == Isa::cuda;
  run.state = c.random;
  const Numbers ones(static_cast<size_t>(count(c.shape)), 1);
  execute(program, run, [&] {
    write(run.buffer(x), c.layout == Layout::blocked_bf16 ? DType::bf16 : DType::f32,
          c.layout == Layout::plain ? ones : in_blocks(value, ones));
  });
  return {read(run.buffer(graph.outputs[0]), graph.values[graph.outputs[0]]),
          read(run.buffer(graph.outputs[1]), graph.values[graph.outputs[1]])};
}

void test_dropout_bits() {
  for (const Shape& shape : {Shape{3, 24, 9, 17}, Shape{2, 3, 1, 1}, Shape{2, 58, 3, 5}}) {
    const DropoutCase plain{shape, {7, 2, {}}};
    const auto [forward, backward] = dropped(plain);
    CHECK(forward == backward);
    for (const Isa isa : usable()) {
      for (const Layout layout : {Layout::plain, Layout::blocked, Layout::blocked_bf16}) {
        DropoutCase other = plain;
        other.isa = isa;
        other.layout = layout;
        const auto [y, dx] = dropped(other);
        CHECK(y == forward && dx == forward);
      }
    }
  }
}

void test_dropout_keys() {
  const DropoutCase base{{2, 301}, {7, 2, {40, 41}}};
  const Numbers mask = dropped(base).first;
  DropoutCase swapped = base, seed = base, epoch = base, stream = base;
  swapped.random.samples = {41, 40};
  const Numbers other = dropped(swapped).first;
  CHECK(std::equal(mask.begin(), mask.begin() + 301, other.begin() + 301));
  CHECK(std::equal(mask.begin() + 301, mask.end(), other.begin()));
  CHECK(!std::equal(mask.begin(), mask.begin() + 301, mask.begin() + 301));
  seed.random.seed = 8;
  epoch.random.epoch = 3;
  stream.stream = "dropout2";
  for (const DropoutCase& changed : {seed, epoch, stream}) CHECK(dropped(changed).first != mask);
  CHECK(dropped(base).first == mask);
}

void test_dropout_rate() {
  for (const double p : {0.0, 0.2, 0.5, 0.9, 1.0}) {
    const Numbers y = dropped({{4, 25000}, {1, 1, {}}, p}).first;
    const double kept = static_cast<double>(std::count_if(y.begin(), y.end(), [](double v) { return v != 0; })) / 1e5;
    CHECK(std::abs(kept - (1 - p)) < 0.006);
    if (p == 0 || p == 1) CHECK(kept == 1 - p);
    CHECK(std::all_of(y.begin(), y.end(), [&](double v) { return v == 0 || std::abs(v * (1 - p) - 1) < 1e-6; }));
  }
}

}  // namespace

int main() {
  test_formulas();
  test_origin();
  test_names();
  test_norm_and_accumulation();
  test_rows();
  test_philox();
  test_dropout_bits();
  test_dropout_keys();
  test_dropout_rate();
  return check::result();
}
