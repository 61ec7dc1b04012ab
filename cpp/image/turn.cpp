#include "image/turn.h"

#include <algorithm>
#include <cmath>

namespace thaw {
namespace {

constexpr double kPi = 3.14159265358979323846;

/// Bilinear value of one channel at (y, x), where whole numbers are the middles of pixels; borders are repeated.
uint8_t sample(const PixelView& picture, double y, double x, int64_t channel) {
  const int64_t row = static_cast<int64_t>(std::floor(y)), column = static_cast<int64_t>(std::floor(x));
  const double below = y - static_cast<double>(row), right = x - static_cast<double>(column);
  const auto inside = [](int64_t i, int64_t size) { return std::clamp<int64_t>(i, 0, size - 1); };
  const auto along = [&](int64_t r) {
    const double a = picture.at(inside(r, picture.height), inside(column, picture.width))[channel];
    const double b = picture.at(inside(r, picture.height), inside(column + 1, picture.width))[channel];
    return a + (b - a) * right;
  };
  const double upper = along(row), lower = along(row + 1);
  return static_cast<uint8_t>(upper + (lower - upper) * below);
}

}  // namespace

void flip_horizontal(Pixels& picture) {
  for (int64_t y = 0; y < picture.height; ++y) {
    for (int64_t left = 0, right = picture.width - 1; left < right; ++left, --right) {
      std::swap_ranges(picture.at(y, left), picture.at(y, left) + picture.channels, picture.at(y, right));
    }
  }
}

void flip_vertical(Pixels& picture) {
  for (int64_t top = 0, bottom = picture.height - 1; top < bottom; ++top, --bottom) {
    std::swap_ranges(picture.at(top, 0), picture.at(top, 0) + picture.width * picture.channels, picture.at(bottom, 0));
  }
}

Pixels rotate(const PixelView& picture, double degrees, const std::vector<uint8_t>& fill) {
  Pixels result(picture.width, picture.height, picture.channels);
  const double angle = degrees * kPi / 180, cosine = std::cos(angle), sine = std::sin(angle);
  const double width = static_cast<double>(picture.width), height = static_cast<double>(picture.height);
  for (int64_t y = 0; y < picture.height; ++y) {
    for (int64_t x = 0; x < picture.width; ++x) {
      const double dx = static_cast<double>(x) + 0.5 - width / 2, dy = static_cast<double>(y) + 0.5 - height / 2;
      const double from_x = cosine * dx - sine * dy + width / 2, from_y = sine * dx + cosine * dy + height / 2;
      const bool inside = from_x >= 0 && from_x < width && from_y >= 0 && from_y < height;
      uint8_t* pixel = result.at(y, x);
      for (int64_t c = 0; c < picture.channels; ++c) {
        pixel[c] = inside ? sample(picture, from_y - 0.5, from_x - 0.5, c) : fill[static_cast<size_t>(c)];
      }
    }
  }
  return result;
}

}  // namespace thaw
