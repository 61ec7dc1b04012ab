#pragma once
// Changes of colour in place, with PIL's rounding (ImageEnhance, and HSV in 8 bits for the hue). Alpha is left alone.
#include "image/pixels.h"

namespace thaw {

/// factor 0: black, 1: unchanged.
void adjust_brightness(Pixels& picture, float factor);
/// factor 0: the mean luma everywhere.
void adjust_contrast(Pixels& picture, float factor);
/// factor 0: grey. Nothing happens to grey pictures.
void adjust_saturation(Pixels& picture, float factor);
/// Turns the hue by `turns`, -0.5 … 0.5. Nothing happens to grey pictures.
void adjust_hue(Pixels& picture, double turns);

}  // namespace thaw
