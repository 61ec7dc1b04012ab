// Operators that move elements: every layout, aligned and unaligned channels, all element sizes.
#include "harness.h"

using namespace harness;

namespace {

using Numbers = std::vector<double>;
using Inputs = std::vector<Numbers>;

Json json(const char* text) { return Json::parse(text); }

Shape strides_of(const Shape& s) {
  Shape strides(s.size(), 1);
  for (size_t d = s.size(); d-- > 1;) strides[d - 1] = strides[d] * s[d];
  return strides;
}

/// y of shape `to`, where body(index of y, index of x) says whether there is a source and which.
template <class Body>
Numbers mapped(const Numbers& x, const Shape& from, const Shape& to, double fill, const Body& body) {
  const Shape in = strides_of(from), out = strides_of(to);
  Numbers y(static_cast<size_t>(count(to)), fill);
  for (int64_t e = 0; e < count(to); ++e) {
    Shape index(to.size()), source(from.size());
    for (size_t d = 0; d < to.size(); ++d) index[d] = e / out[d] % to[d];
    if (!body(index, source)) continue;
    int64_t at = 0;
    for (size_t d = 0; d < from.size(); ++d) at += source[d] * in[d];
    y[static_cast<size_t>(e)] = x[static_cast<size_t>(at)];
  }
  return y;
}

void test_slice(const Shape& x, int64_t axis, int64_t start, int64_t end, int64_t step) {
  const Json attrs = Json::object().set("axis", axis).set("start", start).set("end", end).set("step", step);
  const size_t a = static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(x.size()) : axis);
  const int64_t from = start < 0 ? start + x[a] : start, to = std::min(end < 0 ? end + x[a] : end, x[a]);
  Shape y = x;
  y[a] = (to - from + step - 1) / step;
  VERIFY({"slice", {{x, {}}}, attrs, [=](const Inputs& in) {
    return mapped(in[0], x, y, 0, [&](const Shape& i, Shape& s) {
      s = i;
      s[a] = from + i[a] * step;
      return true;
    });
  }, 0});
}

void test_slices() {
  for (const int64_t c : {3, 16, 24, 58, 116}) {
    test_slice({2, c, 3, 2}, 1, 1, c, 1);
    test_slice({2, c, 3, 2}, 1, 0, c, 2);
    test_slice({1, c, 2, 3}, 1, c / 2, 1000000, 1);
  }
  test_slice({2, 48, 2, 3}, 1, 16, 40, 1);
  test_slice({3, 20, 5, 4}, 0, 1, 3, 1);
  test_slice({2, 20, 5, 4}, 2, -4, -1, 2);
  test_slice({2, 20, 5, 7}, -1, 1, 7, 3);
  test_slice({7}, 0, 2, 6, 1);
  test_slice({3, 4, 5}, 1, 1, 4, 2);
  test_slice({2, 3, 2, 3, 4}, 3, 1, 3, 1);
}

void test_pad(const Shape& x, const std::vector<int64_t>& pads, double value) {
  Shape y = x;
  for (size_t d = 0; d < x.size(); ++d) y[d] += pads[d] + pads[d + x.size()];
  VERIFY({"pad", {{x, {}}}, Json::object().set("pads", pads).set("value", value), [=](const Inputs& in) {
    return mapped(in[0], x, y, value, [&](const Shape& i, Shape& s) {
      for (size_t d = 0; d < x.size(); ++d) {
        s[d] = i[d] - pads[d];
        if (s[d] < 0 || s[d] >= x[d]) return false;
      }
      return true;
    });
  }, 0});
}

void test_pads() {
  test_pad({2, 3, 4, 5}, {0, 0, 1, 2, 0, 0, 3, 0}, 0.5);
  test_pad({1, 24, 3, 3}, {0, 0, 1, 1, 0, 0, 1, 1}, 0);
  test_pad({2, 16, 2, 3}, {0, 3, 0, 0, 0, 5, 0, 0}, -2);
  test_pad({1, 58, 1, 2}, {0, 0, 0, 0, 0, 58, 0, 0}, 1);
  test_pad({2, 5, 2, 2}, {1, 2, 0, 1, 0, 0, 1, 0}, 3);
  test_pad({1, 20, 5, 6}, {0, 0, -1, -2, 0, 0, -1, 1}, 0);
  test_pad({1, 20, 3, 3}, {0, -3, 0, 0, 0, 1, 0, 0}, 0);
  test_pad({4, 3}, {1, 0, 2, 1}, 9);
  test_pad({5}, {2, 1}, 0);
}

void test_concat(const std::vector<Shape>& xs, int64_t axis) {
  std::vector<Operand> operands;
  const size_t a = static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(xs[0].size()) : axis);
  Shape y = xs[0];
  y[a] = 0;
  for (const Shape& x : xs) {
    operands.push_back({x, {}});
    y[a] += x[a];
  }
  VERIFY({"concat", operands, Json::object().set("axis", axis), [=](const Inputs& in) {
    Numbers all(static_cast<size_t>(count(y)));
    int64_t begin = 0;
    for (size_t k = 0; k < xs.size(); ++k) {
      const Numbers part = mapped(in[k], xs[k], y, 0, [&](const Shape& i, Shape& s) {
        s = i;
        s[a] -= begin;
        return s[a] >= 0 && s[a] < xs[k][a];
      });
      for (size_t e = 0; e < all.size(); ++e) all[e] += part[e];
      begin += xs[k][a];
    }
    return all;
  }, 0});
}

void test_concats() {
  for (const int64_t c : {1, 3, 16, 24, 58, 116}) {
    test_concat({{2, c, 2, 3}, {2, c, 2, 3}}, 1);
    test_concat({{1, c, 3, 1}, {1, 1, 3, 1}, {1, 17, 3, 1}, {1, 32, 3, 1}}, 1);
  }
  test_concat({{2, 1, 2, 2}, {2, 1, 2, 2}, {2, 1, 2, 2}, {2, 30, 2, 2}}, 1);
  test_concat({{2, 20, 2, 3}, {1, 20, 2, 3}}, 0);
  test_concat({{2, 20, 2, 3}, {2, 20, 1, 3}}, 2);
  test_concat({{2, 20, 2, 3}, {2, 20, 2, 2}, {2, 20, 2, 1}}, -1);
  test_concat({{2, 3}, {2, 5}}, 1);
  test_concat({{4}, {1}}, 0);
  test_concat({{2, 3, 2}, {2, 1, 2}}, 1);
}

void test_transpose(const Shape& x, const std::vector<int64_t>& perm) {
  Shape y;
  for (const int64_t d : perm) y.push_back(x[static_cast<size_t>(d)]);
  VERIFY({"transpose", {{x, {}}}, Json::object().set("perm", perm), [=](const Inputs& in) {
    return mapped(in[0], x, y, 0, [&](const Shape& i, Shape& s) {
      for (size_t d = 0; d < perm.size(); ++d) s[static_cast<size_t>(perm[d])] = i[d];
      return true;
    });
  }, 0});
}

void test_reshapes() {
  const auto same = [](const Inputs& in) { return in[0]; };
  VERIFY({"flatten", {{{2, 20, 3, 2}, {}}}, Json::object(), same, 0});
  VERIFY({"flatten", {{{2, 3, 4}, {}}}, json(R"({"start":-2})"), same, 0});
  VERIFY({"reshape", {{{2, 20, 3, 2}, {}}}, json(R"({"shape":[0,-1,3]})"), same, 0});
  VERIFY({"reshape", {{{6, 4}, {}}}, json(R"({"shape":[1,24,1,1]})"), same, 0});
  VERIFY({"reshape", {{{}, {2.5}}}, json(R"({"shape":[1]})"), same, 0});
  test_transpose({2, 3, 4, 5}, {0, 2, 3, 1});
  test_transpose({3, 7}, {1, 0});
  test_transpose({2, 3, 4}, {2, 0, 1});
  test_transpose({2, 2, 3, 1, 2}, {4, 1, 0, 3, 2});
}

Numbers of_type(const char* op, const std::vector<Operand>& operands, const Json& attrs) {
  return run_graph(operands, [&](Graph& g, const std::vector<ValueId>& ids) {
    return g.nodes[g.append(op, "node", ids, attrs)].outputs[0];
  }, {.gradients = false}).output;
}

void test_other_types() {
  for (const DType dtype : {DType::i32, DType::i64}) {
    const Operand x{{2, 3}, {1, 2, 3, 4, 5, 6}, dtype, false};
    CHECK((of_type("slice", {x}, json(R"({"axis":1,"start":1})")) == Numbers{2, 3, 5, 6}));
    CHECK((of_type("concat", {x, x}, json(R"({"axis":0})")) == Numbers{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}));
    CHECK((of_type("transpose", {x}, json(R"({"perm":[1,0]})")) == Numbers{1, 4, 2, 5, 3, 6}));
    CHECK((of_type("pad", {x}, json(R"({"pads":[0,1,0,0]})")) == Numbers{0, 1, 2, 3, 0, 4, 5, 6}));
    CHECK((of_type("flatten", {x}, json(R"({"start":0})")) == Numbers{1, 2, 3, 4, 5, 6}));
  }
}

void test_errors() {
  Graph graph;
  Value v;
  v.name = "x";
  v.shape = {2, 3, 4};
  const ValueId x = graph.add_value(v);
  const auto append = [&](const char* op, const char* attrs) { graph.append(op, "node", {x}, json(attrs)); };
  CHECK_THROWS("ERR_SHAPE", append("flatten", R"({"start":3})"));
  CHECK_THROWS("ERR_SHAPE", append("reshape", R"({"shape":[5,-1]})"));
  CHECK_THROWS("ERR_SHAPE", append("reshape", R"({"shape":[-1,-1]})"));
  CHECK_THROWS("ERR_SHAPE", append("reshape", R"({"shape":[2,3]})"));
  CHECK_THROWS("ERR_SHAPE", append("transpose", R"({"perm":[0,0,1]})"));
  CHECK_THROWS("ERR_SHAPE", append("slice", R"({"axis":1,"start":2,"end":2})"));
  CHECK_THROWS("ERR_SHAPE", append("slice", R"({"axis":1,"step":0})"));
  CHECK_THROWS("ERR_SHAPE", append("slice", R"({"axis":3})"));
  CHECK_THROWS("ERR_SHAPE", append("pad", R"({"pads":[0,0]})"));
  CHECK_THROWS("ERR_SHAPE", append("pad", R"({"pads":[-2,0,0,0,0,0]})"));
  v.name = "y";
  v.shape = {2, 3, 5};
  const ValueId y = graph.add_value(v);
  CHECK_THROWS("ERR_SHAPE", graph.append("concat", "node", {x, y}, json(R"({"axis":1})")));
}

}  // namespace

int main() {
  test_slices();
  test_pads();
  test_concats();
  test_reshapes();
  test_other_types();
  test_errors();
  return check::result();
}
