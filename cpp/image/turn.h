#pragma once
// Mirrors and rotation.
#include "image/pixels.h"

namespace thaw {

void flip_horizontal(Pixels& picture);
void flip_vertical(Pixels& picture);
/// Counter-clockwise about the middle, same size, bilinear, fractions cut off (PIL's rotate). What lies outside the
/// picture becomes `fill` (one value a channel).
Pixels rotate(const PixelView& picture, double degrees, const std::vector<uint8_t>& fill);

}  // namespace thaw
