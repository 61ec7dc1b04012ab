// relu, relu6, leaky_relu(alpha 0.01), hard_swish, hard_sigmoid, silu, sigmoid, tanh, gelu(approximate "none"|"tanh"):
// y = f(x), any shape. activation_backward(dy, x_or_y; kind, alpha): dx = dy f'(x).
#include "kernels/activation.h"
#include "ops/product.h"

namespace thaw {

namespace {

struct Row {
  const char* name;
  Activation kind;
  bool reads_output;  // the derivative follows from y, so that x need not be kept
};
constexpr Row kRows[] = {{"none", Activation::none, true},
                         {"relu", Activation::relu, true},
                         {"relu6", Activation::relu6, true},
                         {"leaky_relu", Activation::leaky_relu, true},
                         {"hard_swish", Activation::hard_swish, false},
                         {"hard_sigmoid", Activation::hard_sigmoid, true},
                         {"silu", Activation::silu, false},
                         {"sigmoid", Activation::sigmoid, true},
                         {"tanh", Activation::tanh, true},
                         {"gelu", Activation::gelu, false},
                         {"gelu_tanh", Activation::gelu_tanh, false}};

const Row& row_of(const std::string& name) {
  for (const Row& row : kRows) {
    if (name == row.name) return row;
  }
  fail_expected("ERR_ATTRIBUTE", "the name of an activation", "activation", "'" + name + "'");
}

/// `name`, or gelu_tanh where it is gelu and approximate says so.
std::string kind_of(const std::string& name, const Json& attrs) {
  const std::string approximate = attrs.get("approximate", "none");
  if (approximate != "none" && approximate != "tanh") {
    fail_expected("ERR_ATTRIBUTE", "'none' or 'tanh'", "approximate of " + name, "'" + approximate + "'");
  }
  return name == "gelu" && approximate == "tanh" ? "gelu_tanh" : name;
}

std::string kind_of(const Node& node) { return kind_of(node.op->name, node.attrs); }

float alpha_of(const Json& attrs) { return static_cast<float>(attrs.get("alpha", 0.01)); }

void infer(Infer& infer) {
  infer.expect_f32(0);
  kind_of(infer.node);
  // A negative slope would fold two inputs onto one output, and the gradient reads the output.
  const double alpha = infer.attrs().get("alpha", 0.01);
  if (!(alpha >= 0)) infer.fail("an alpha of at least 0", std::to_string(alpha));
  infer.output(DType::f32, infer.shape(0));
}

void differentiate(Gradient& g) {
  if (!g.needs(0)) return;
  const std::string kind = kind_of(g.node());
  const ValueId of = row_of(kind).reads_output ? g.output(0) : g.input(0);
  Json attrs = Json::object().set("kind", kind).set("alpha", g.attrs().get("alpha", 0.01));
  g.add(0, g.emit1("activation_backward", {g.grad(0), of}, attrs));
}

bool in_bf16(const Lower& lower) { return lower.out(0).layout == Layout::blocked_bf16; }

template <class T>
void lower_as(Lower& lower, const ActivationKernelsOf<T>& kernels) {
  const Buffer x = lower.input(0), y = lower.output(0);
  const int64_t n = physical_count(lower.out(0));
  const Activation kind = row_of(kind_of(lower.node())).kind;
  const float alpha = alpha_of(lower.attrs());
  lower.launch(kernels.forward, chunks(n), 0, [=](Run& run) {
    return ActivateOf<T>{static_cast<const T*>(run.at(x)), static_cast<T*>(run.at(y)), n, kind, alpha};
  });
}

void lower(Lower& lower) {
  if (in_bf16(lower)) return lower_as(lower, activation_bf16_kernels(lower.isa()));
  lower_as(lower, activation_kernels(lower.isa()));
}

void infer_backward(Infer& infer) {
  infer.expect_f32(0);
  infer.expect_f32(1);
  infer.expect_shape(1, infer.shape(0));
  row_of(infer.attrs().at("kind").as_string());
  infer.output(DType::f32, infer.shape(0));
}

template <class T>
void lower_backward_as(Lower& lower, const ActivationKernelsOf<T>& kernels) {
  const Buffer dy = lower.input(0), of = lower.input(1), dx = lower.output(0);
  const int64_t n = physical_count(lower.out(0));
  const Activation kind = row_of(lower.attrs().at("kind").as_string()).kind;
  const float alpha = alpha_of(lower.attrs());
  lower.launch(kernels.backward, chunks(n), 0, [=](Run& run) {
    return ActivateBackwardOf<T>{static_cast<const T*>(run.at(dy)), static_cast<const T*>(run.at(of)),
                                 static_cast<T*>(run.at(dx)), n, kind, alpha};
  });
}

void lower_backward(Lower& lower) {
  if (in_bf16(lower)) return lower_backward_as(lower, activation_bf16_kernels(lower.isa()));
  lower_backward_as(lower, activation_kernels(lower.isa()));
}

OpDef define(const char* name) {
  return {.name = name, .infer = infer, .gradient = differentiate, .layout = layout_follow, .lower = lower,
          .bf16 = true, .per_picture = true, .rows = same_row};
}

}  // namespace

Activation fused_activation(const Json& attrs) {
  return row_of(kind_of(attrs.get("activation", "none"), attrs)).kind;
}

#define ACTIVATION(name)                        \
  const OpDef& op_##name() {                    \
    static const OpDef def = define(#name);     \
    return def;                                 \
  }
ACTIVATION(relu)
ACTIVATION(relu6)
ACTIVATION(leaky_relu)
ACTIVATION(hard_swish)
ACTIVATION(hard_sigmoid)
ACTIVATION(silu)
ACTIVATION(sigmoid)
ACTIVATION(tanh)
ACTIVATION(gelu)
#undef ACTIVATION

const OpDef& op_activation_backward() {
  static const OpDef def{.name = "activation_backward", .infer = infer_backward, .layout = layout_follow,
                         .lower = lower_backward, .bf16 = true, .per_picture = true};
  return def;
}

}  // namespace thaw
