#pragma once
// The random half of preparing a picture. Every draw has its own place in the stream "augment" of (seed, epoch,
// sample), so switching one change on leaves the draws of the others as they were.
#include "image/prepare.h"

namespace thaw {

/// Random resized crop, torchvision's rule: ten tries, then the largest part from the middle with an allowed ratio.
Window draw_crop(const Augment& augment, int64_t height, int64_t width, const DrawKey& key);

/// Mirrors, rotates and changes the colours (in a drawn order) of a picture of the final size.
Pixels vary(Pixels picture, const Preparation& preparation, const DrawKey& key);

}  // namespace thaw
