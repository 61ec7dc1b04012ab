#include "ops/conv2d_geometry.h"

#include <algorithm>
#include <numeric>

namespace thaw {

namespace {

bool all_at_least(const std::vector<int64_t>& values, int64_t least) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v >= least; });
}

using Complain = std::function<void(const std::string&, const std::string&)>;

constexpr const char* kPadding = "padding [top, left, bottom, right] of at least 0";

void check_attributes(const Conv2dShape& c, const Complain& complain) {
  if (c.stride.size() != 2 || !all_at_least(c.stride, 1))
    complain("stride of two positive integers", to_string(c.stride));
  if (c.dilation.size() != 2 || !all_at_least(c.dilation, 1))
    complain("dilation of two positive integers", to_string(c.dilation));
  if (c.padding.size() != 4) complain(kPadding, to_string(c.padding));
  if (c.groups < 1) complain("at least one group", std::to_string(c.groups));
}

int64_t out_size(int64_t in, int64_t kernel, int64_t stride, int64_t before, int64_t after, int64_t dilation) {
  const int64_t free = in + before + after - dilation * (kernel - 1) - 1;
  return free < 0 ? 0 : free / stride + 1;
}

// Negative padding leaves rows or columns out: bands of rows have it (run/bands.h).
Conv2dShape any_shape(const Json& attrs, const Shape& x, const Shape& weight, const Complain& complain) {
  Conv2dShape c;
  c.x = x;
  c.weight = weight;
  c.stride = attrs.get("stride", std::vector<int64_t>{1, 1});
  c.padding = attrs.get("padding", std::vector<int64_t>{0, 0, 0, 0});
  c.dilation = attrs.get("dilation", std::vector<int64_t>{1, 1});
  c.groups = attrs.get("groups", 1);
  check_attributes(c, complain);
  if (x.size() != 4) complain("pictures of shape [N, C, H, W]", to_string(x));
  if (weight.size() != 4 || !all_at_least(weight, 1))
    complain("a weight of shape [K, C/groups, kh, kw]", to_string(weight));
  if (x[1] != weight[1] * c.groups) {
    complain(std::to_string(weight[1] * c.groups) + " input channels (weight " + to_string(weight) + " in " +
                 std::to_string(c.groups) + " groups)",
             to_string(x));
  }
  if (weight[0] % c.groups)
    complain("output channels that " + std::to_string(c.groups) + " groups divide", to_string(weight));
  c.out_height = out_size(x[2], weight[2], c.stride[0], c.padding[0], c.padding[2], c.dilation[0]);
  c.out_width = out_size(x[3], weight[3], c.stride[1], c.padding[1], c.padding[3], c.dilation[1]);
  if (c.out_height < 1 || c.out_width < 1)
    complain("pictures at least as large as the kernel " + to_string(weight), to_string(x));
  return c;
}

}  // namespace

Conv2dShape conv2d_shape(const Json& attrs, const Shape& x, const Shape& weight, const Complain& complain) {
  const std::vector<int64_t> padding = attrs.get("padding", std::vector<int64_t>{});
  if (!all_at_least(padding, 0)) complain(kPadding, to_string(padding));
  return any_shape(attrs, x, weight, complain);
}

Conv2dShape conv2d_shape(const Json& attrs, const Shape& x, const Shape& weight) {
  return any_shape(attrs, x, weight, [](const std::string& expected, const std::string& received) {
    fail_expected("ERR_SHAPE", expected, "conv2d", received);
  });
}

std::vector<int64_t> Grid::taps(int64_t kernel_width) const {
  std::vector<int64_t> result;
  for (const GridAxis::Tap& ty : y.taps)
    for (const GridAxis::Tap& tx : x.taps) result.push_back(ty.kernel * kernel_width + tx.kernel);
  return result;
}

Grid forward_grid(const Conv2dShape& c) {
  const auto axis = [&](int d, int64_t size) {
    GridAxis a{size, 0, 1, c.stride[d], {}};
    for (int64_t k = 0; k < c.weight[2 + d]; ++k) a.taps.push_back({k * c.dilation[d] - c.padding[d], k});
    return a;
  };
  return {axis(0, c.out_height), axis(1, c.out_width)};
}

// dx[i] = sum over k of w[k] * dy[(i + padding - k * dilation) / stride], where the division leaves no rest.
std::vector<Grid> backward_grids(const Conv2dShape& c) {
  const auto axes = [&](int d) {
    std::vector<GridAxis> result;
    const int64_t size = c.x[2 + d], s = c.stride[d];
    for (int64_t phase = 0; phase < s; ++phase) {
      GridAxis a{(size - phase + s - 1) / s, phase, s, 1, {}};
      for (int64_t k = c.weight[2 + d] - 1; k >= 0; --k) {
        const int64_t at = phase + c.padding[d] - k * c.dilation[d];
        if (at % s == 0) a.taps.push_back({at / s, k});
      }
      result.push_back(a);
    }
    return result;
  };
  std::vector<Grid> grids;
  for (const GridAxis& y : axes(0))
    for (const GridAxis& x : axes(1)) grids.push_back({y, x});
  return grids;
}

Panels panels_of(const Channels& c, int64_t taps, const PanelForm& form) {
  const int64_t in = c.in / c.groups, out = c.out / c.groups, block = form.block;
  // The least number of groups whose channels fill whole blocks on both sides.
  const int64_t merge = std::min(c.groups, std::lcm(block / std::gcd(in, block), block / std::gcd(out, block)));
  Panels result;
  for (int64_t g = 0; g < c.groups; g += merge) {
    const int64_t groups = std::min(merge, c.groups - g);
    const int64_t in_blocks = blocks_of(groups * in, block), out_blocks = blocks_of(groups * out, block);
    const int64_t tail = groups * in - (in_blocks - 1) * block;
    const int64_t channels = form.whole_blocks ? in_blocks * block : groups * in;
    for (int64_t b = 0; b < out_blocks; b += form.vectors) {
      const int64_t wide = std::min(form.vectors, out_blocks - b);
      result.panels.push_back({result.floats, static_cast<int32_t>(g * out / block + b), static_cast<int32_t>(wide),
                               static_cast<int32_t>(g * in / block), static_cast<int32_t>(in_blocks),
                               static_cast<int32_t>(tail)});
      result.floats += channels * taps * wide * block;
    }
  }
  return result;
}

}  // namespace thaw
