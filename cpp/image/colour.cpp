#include "image/colour.h"

#include <algorithm>
#include <cmath>

namespace thaw {
namespace {

int64_t coloured(const Pixels& picture) { return std::min<int64_t>(picture.channels, 3); }

uint8_t clip(int value) { return static_cast<uint8_t>(std::clamp(value, 0, 255)); }

/// From `from` (factor 0) over `to` (1) and beyond. Fractions are cut off.
uint8_t blend(int from, int to, float factor) {
  const float value = static_cast<float>(from) + factor * static_cast<float>(to - from);
  return value <= 0 ? 0 : value >= 255 ? 255 : static_cast<uint8_t>(value);
}

/// Replaces each pixel p by blend(base(p), p).
template <class Base>
void blend_from(Pixels& picture, float factor, const Base& base) {
  const int64_t colours = coloured(picture), pixels = picture.width * picture.height;
  for (int64_t i = 0; i < pixels; ++i) {
    uint8_t* pixel = picture.data.data() + i * picture.channels;
    const int from = base(pixel);
    for (int64_t c = 0; c < colours; ++c) pixel[c] = blend(from, pixel[c], factor);
  }
}

/// Hue, saturation and value in 8 bits each; hue 0 … 255 is one turn.
struct Hsv {
  uint8_t h, s, v;
};

Hsv to_hsv(const uint8_t* rgb) {
  const int r = rgb[0], g = rgb[1], b = rgb[2];
  const int high = std::max({r, g, b}), low = std::min({r, g, b});
  if (high == low) return {0, 0, static_cast<uint8_t>(high)};
  const float range = static_cast<float>(high - low);
  const float red = static_cast<float>(high - r) / range, green = static_cast<float>(high - g) / range;
  const float blue = static_cast<float>(high - b) / range;
  float hue = r == high ? blue - green : static_cast<float>(g == high ? 2.0 + red - blue : 4.0 + green - red);
  hue = static_cast<float>(std::fmod(hue / 6.0 + 1.0, 1.0));
  const float saturation = range / static_cast<float>(high);
  return {clip(static_cast<int>(hue * 255.0)), clip(static_cast<int>(saturation * 255.0)), static_cast<uint8_t>(high)};
}

void from_hsv(Hsv in, uint8_t* rgb) {
  if (in.s == 0) {
    rgb[0] = rgb[1] = rgb[2] = in.v;
    return;
  }
  const float saturation = static_cast<float>(in.s / 255.0);
  const double sextant = static_cast<float>(in.h) * 6.0 / 255.0;
  const int i = static_cast<int>(std::floor(sextant));
  const float rest = static_cast<float>(sextant - static_cast<double>(static_cast<float>(i)));
  const auto shade = [&](double part) { return clip(static_cast<int>(std::round(in.v * (1.0 - part)))); };
  const uint8_t v = in.v, p = shade(saturation), q = shade(saturation * rest), t = shade(saturation * (1.0 - rest));
  const uint8_t table[6][3] = {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}};
  std::copy_n(table[i % 6], 3, rgb);
}

}  // namespace

void adjust_brightness(Pixels& picture, float factor) {
  blend_from(picture, factor, [](const uint8_t*) { return 0; });
}

void adjust_contrast(Pixels& picture, float factor) {
  const int64_t pixels = picture.width * picture.height;
  int64_t sum = 0;
  for (int64_t i = 0; i < pixels; ++i) {
    const uint8_t* pixel = picture.data.data() + i * picture.channels;
    sum += picture.channels == 1 ? pixel[0] : luma(pixel);
  }
  const int mean = static_cast<int>(static_cast<double>(sum) / static_cast<double>(pixels) + 0.5);
  blend_from(picture, factor, [mean](const uint8_t*) { return mean; });
}

void adjust_saturation(Pixels& picture, float factor) {
  if (picture.channels > 1) blend_from(picture, factor, [](const uint8_t* rgb) { return static_cast<int>(luma(rgb)); });
}

void adjust_hue(Pixels& picture, double turns) {
  if (picture.channels == 1) return;
  const uint8_t shift = static_cast<uint8_t>(static_cast<int>(turns * 255));
  for (size_t i = 0; i < picture.data.size(); i += static_cast<size_t>(picture.channels)) {
    Hsv hsv = to_hsv(&picture.data[i]);
    hsv.h = static_cast<uint8_t>(hsv.h + shift);
    from_hsv(hsv, &picture.data[i]);
  }
}

}  // namespace thaw
