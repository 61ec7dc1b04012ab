// conv2d_pack(weight [K, C/groups, kh, kw]) → [count]: the weights in the order in which a kernel reads them. A linear
// layer's [N, K] is packed as a kernel of one tap.
// Attributes: form "direct" | "split" | "depthwise" | "depthwise_bf16" | "winograd" | "bf16" | "narrow_bf16" | "gemm" |
// "gemm_bf16",
// backward (false; true: for conv2d_backward_data), groups, vectors (blocks of 16 outputs a panel has), and for backward
// stride, padding, dilation: one packed grid per phase, one behind the other.
#include "ops/conv2d_winograd.h"

#include <memory>

#include "kernels/conv2d_bf16.h"
#include "kernels/conv2d_split.h"
#include "kernels/conv2d_winograd.h"

namespace thaw {

namespace {

/// What the attributes say, at an input size that does not matter to the weights.
Conv2dShape shape_of(const Json& attrs, const Shape& weight) {
  Conv2dShape c;
  c.weight = weight;
  c.weight.resize(4, 1);
  c.groups = attrs.get("groups", 1);
  c.stride = attrs.get("stride", std::vector<int64_t>{1, 1});
  c.padding = attrs.get("padding", std::vector<int64_t>{0, 0, 0, 0});
  c.dilation = attrs.get("dilation", std::vector<int64_t>{1, 1});
  c.x = {1, weight[1] * c.groups, c.stride[0], c.stride[1]};
  return c;
}

std::vector<Grid> grids_of(const Json& attrs, const Conv2dShape& c) {
  if (attrs.get("backward", false)) return backward_grids(c);
  return {forward_grid(c)};
}

struct PackPlan {
  Panels panels;
  std::vector<int64_t> taps;
};

PanelForm panel_form(const Json& attrs) {
  if (attrs.at("form").as_string() == "bf16") return kBf16Tiling.panel;
  if (attrs.at("form").as_string() == "split") return kSplitTiling.panel;
  return {attrs.get("vectors", 1)};
}

/// Of the packed product: exchanged for conv2d_backward_data.
Channels channels_of(const Json& attrs, const Conv2dShape& c) {
  if (attrs.get("backward", false)) return {c.out_channels(), c.in_channels(), c.groups};
  return {c.in_channels(), c.out_channels(), c.groups};
}

void lower_direct(Lower& lower, const Conv2dShape& c, const Grid& grid, int64_t offset) {
  const bool backward = lower.attrs().get("backward", false);
  auto plan = std::make_shared<PackPlan>();
  plan->taps = grid.taps(c.weight[3]);
  const Channels channels = channels_of(lower.attrs(), c);
  plan->panels = panels_of(channels, static_cast<int64_t>(plan->taps.size()), panel_form(lower.attrs()));
  const int64_t count = static_cast<int64_t>(plan->panels.panels.size());
  const Buffer weight = lower.input(0), packed = lower.output(0);
  const int64_t kernel_taps = c.kernel_taps();
  const std::string& form = lower.attrs().at("form").as_string();
  const auto kernel = form == "bf16"    ? conv2d_bf16_kernels(lower.isa()).pack
                      : form == "split" ? conv2d_split_bf16_kernels(lower.isa()).pack
                                        : conv2d_kernels(lower.isa()).pack;
  lower.launch(kernel, count, 0, [=](Run& run) {
    return Conv2dPack{run.f32(weight),
                      run.f32(packed) + offset,
                      plan->panels.panels.data(),
                      count,
                      channels.in,
                      channels.out,
                      channels.groups,
                      backward,
                      kernel_taps,
                      static_cast<int64_t>(plan->taps.size()),
                      plan->taps.data()};
  });
}

void lower_depthwise(Lower& lower, const Conv2dShape& c, const Grid& grid, int64_t offset) {
  const std::vector<int64_t> taps = grid.taps(c.weight[3]);
  const Buffer weight = lower.input(0), packed = lower.output(0), table = lower.table(taps);
  const int64_t channels = c.weight[0], kernel_taps = c.kernel_taps(), count = static_cast<int64_t>(taps.size());
  const DepthwiseForm form = depthwise_form(lower.attrs().at("form").as_string(), lower.isa());
  lower.launch(form.kernels.pack, blocks_of(channels, form.block), 0, [=](Run& run) {
    return DepthwisePack{run.f32(weight), run.f32(packed) + offset, channels, kernel_taps, count,
                         static_cast<const int64_t*>(run.at(table))};
  });
}

int64_t grid_floats(const Json& attrs, const Conv2dShape& c, const Grid& grid) {
  const std::string& form = attrs.at("form").as_string();
  if (form == "narrow_bf16") return narrow_words(c);
  const int64_t taps =
      form == "winograd" ? kWinogradProducts : static_cast<int64_t>(grid.y.taps.size() * grid.x.taps.size());
  if (is_depthwise(form)) {
    const int64_t block = depthwise_form(form, Isa::scalar).block;
    return blocks_of(c.weight[0], block) * taps * block;
  }
  const Channels channels = channels_of(attrs, c);
  if (is_gemm(form)) return gemm_floats(form, channels, taps);
  const int64_t elements = panels_of(channels, taps, panel_form(attrs)).floats;
  if (form == "split") return elements / 2 * kSplitParts;
  return form == "bf16" ? elements / 2 : elements;
}

void infer(Infer& infer) {
  infer.expect_f32(0);
  if (infer.shape(0).size() != 2) infer.expect_f32(0, 4);
  infer.output(DType::f32, {packed_offsets(infer.attrs(), infer.shape(0)).back()});
}

void lower(Lower& lower) {
  const Shape& weight = lower.in(0).shape;
  const Conv2dShape c = shape_of(lower.attrs(), weight);
  const std::vector<int64_t> offsets = packed_offsets(lower.attrs(), weight);
  const std::string& form = lower.attrs().at("form").as_string();
  if (form == "narrow_bf16") return lower_narrow_pack(lower, c);
  const std::vector<Grid> grids = grids_of(lower.attrs(), c);
  for (size_t i = 0; i < grids.size(); ++i) {
    if (offsets[i] == offsets[i + 1]) continue;
    if (is_depthwise(form)) lower_depthwise(lower, c, grids[i], offsets[i]);
    else if (is_gemm(form)) lower_gemm_pack(lower, channels_of(lower.attrs(), c), grids[i], c.weight, offsets[i]);
    else if (form == "winograd") lower_winograd_pack(lower, c);
    else lower_direct(lower, c, grids[i], offsets[i]);
  }
}

}  // namespace

std::vector<int64_t> packed_offsets(const Json& attrs, const Shape& weight) {
  const Conv2dShape c = shape_of(attrs, weight);
  std::vector<int64_t> offsets{0};
  for (const Grid& grid : grids_of(attrs, c)) offsets.push_back(offsets.back() + grid_floats(attrs, c, grid));
  return offsets;
}

bool is_depthwise(const std::string& form) { return form.starts_with("depthwise"); }

std::string depthwise_name(Select& select) { return select.bf16() ? "depthwise_bf16" : "depthwise"; }

DepthwiseForm depthwise_form(const std::string& form, Isa isa) {
  if (form == "depthwise_bf16") return {depthwise_bf16_kernels(isa), kBlockBf16};
  return {depthwise_kernels(isa), kBlock};
}

std::string conv2d_form(Select& select, const Conv2dShape& c, bool backward) {
  if (c.depthwise()) return depthwise_name(select);
  select.declined("depthwise", "expected as many groups as input and output channels, received " +
                                   std::to_string(c.groups) + " groups for a weight of shape " + to_string(c.weight));
  if (select.isa() == Isa::cuda) {
    if (!select.bf16()) return "gemm";
    return !backward && fits_gpu_narrow(c) ? "narrow_bf16" : "gemm_bf16";
  }
  if (!select.bf16()) return "direct";
  return !backward && fits_narrow(c) ? "narrow_bf16" : "bf16";
}

/// The same among all that read packed weights.
static std::string packed_form(Select& select, const Conv2dShape& c, bool backward) {
  const std::string form = conv2d_form(select, c, backward);
  if (form != "direct") return form;
  if (!backward && takes_narrow(select, c)) return "narrow";
  const bool split = takes_split(select, c, false);
  if (takes_winograd(select, c, backward))
    return split && pays_winograd_split(select, c, backward) ? "winograd_split" : "winograd";
  return split ? "split" : form;
}

void select_packed(Select& select, bool backward) {
  Node& node = select.node();
  const Shape weight = select.graph().values[node.inputs[1]].shape;
  const Shape x = backward ? node.attrs.at("input_shape").as_ints() : select.graph().values[node.inputs[0]].shape;
  const Conv2dShape c = conv2d_shape(node.attrs, x, weight);
  const std::string form = packed_form(select, c, backward);
  const bool packed_direct =
      form == "narrow" || form == "winograd_split" || (form == "winograd" && !winograd_prepares(weight));
  const std::string pack = packed_direct ? "direct" : form;
  Json attrs = Json::object().set("form", pack).set("groups", c.groups);
  if (form == "winograd_split") attrs.set("vectors", kBlockBf16 / kBlock);
  else if (pack == "direct" || pack == "winograd") attrs.set("vectors", conv2d_kernels(select.isa()).panel_vectors);
  if (backward) {
    attrs.set("backward", true);
    for (const char* name : {"stride", "padding", "dilation"})
      if (const Json* value = node.attrs.find(name)) attrs.set(name, *value);
  }
  node.attrs.set("weight_shape", weight).set("pack", attrs);
  const ValueId packed = select.before("conv2d_pack", {node.inputs[1]}, attrs);
  select.node().inputs[1] = packed;
  select.choose(form);
}

const OpDef& op_conv2d_pack() {
  static const OpDef def{.name = "conv2d_pack", .infer = infer, .lower = lower};
  return def;
}

}  // namespace thaw
