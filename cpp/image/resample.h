#pragma once
// Antialiased resizing, equal to PIL's on 8-bit pictures: the filter is widened by the scale when a picture shrinks,
// rows first, rounded to 8 bits, then columns.
#include "image/pixels.h"
#include "kernels/resize.h"

namespace thaw {

/// bilinear: triangle of radius 1. bicubic: Keys' kernel of radius 2 with a = -0.5.
enum class Filter : uint8_t { bilinear, bicubic };

struct Window {
  int64_t top, left, height, width;
};

/// The part `window` of `source` resized to width x height; the window must lie inside.
Pixels resize(const PixelView& source, int64_t width, int64_t height, const Window& window, Filter filter, Isa isa);
inline Pixels resize(const PixelView& source, int64_t width, int64_t height, Filter filter, Isa isa) {
  return resize(source, width, height, {0, 0, height, width}, filter, isa);
}

}  // namespace thaw
