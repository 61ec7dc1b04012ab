#pragma once
// 8-bit pictures: [height][width][channels], rows from the top.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace thaw {

/// Pixels that belong to someone else.
struct PixelView {
  const uint8_t* data = nullptr;
  int64_t width = 0, height = 0, channels = 0;
  int64_t stride = 0;  // bytes between rows

  const uint8_t* at(int64_t y, int64_t x) const { return data + y * stride + x * channels; }
  PixelView part(int64_t top, int64_t left, int64_t rows, int64_t columns) const {
    return {at(top, left), columns, rows, channels, stride};
  }
};

/// Pixels of one's own, rows without gaps.
struct Pixels {
  int64_t width = 0, height = 0, channels = 0;
  std::vector<uint8_t> data;

  Pixels() = default;
  /// All zero.
  Pixels(int64_t width, int64_t height, int64_t channels)
      : width(width), height(height), channels(channels), data(static_cast<size_t>(width * height * channels)) {}
  uint8_t* at(int64_t y, int64_t x) { return data.data() + (y * width + x) * channels; }
  PixelView view() const { return {data.data(), width, height, channels, width * channels}; }
};

/// ITU-R 601 luma in 16-bit fixed point, the weights of PIL's convert('L').
inline uint8_t luma(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

/// The picture with 1 (luma), 3 (grey repeated, alpha dropped) or 4 channels (alpha 255 where there was none).
Pixels convert_channels(const PixelView& source, int64_t channels);

}  // namespace thaw
