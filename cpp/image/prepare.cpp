#include "image/prepare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "image/augment.h"

namespace thaw {
namespace {

Size resized_size(const Preparation& preparation, int64_t height, int64_t width) {
  if (preparation.resized) return *preparation.resized;
  if (preparation.shorter == 0) return {height, width};
  const int64_t shorter = std::min(height, width), longer = std::max(height, width);
  const double exact = static_cast<double>(preparation.shorter * longer) / static_cast<double>(shorter);
  const int64_t length = static_cast<int64_t>(exact);
  return width <= height ? Size{length, preparation.shorter} : Size{preparation.shorter, length};
}

/// Where along one axis the crop begins: in the source, and in the target when the source is smaller (black borders).
struct Placing {
  int64_t from, to, length;
};

Placing place(int64_t source, int64_t target) {
  if (source < target) return {0, (target - source) / 2, source};
  // Halves go to the even neighbour, as Python's round does.
  return {static_cast<int64_t>(std::nearbyint(static_cast<double>(source - target) / 2)), 0, target};
}

Pixels resize_and_crop(const PixelView& picture, const Preparation& preparation, Isa isa) {
  const Size size = resized_size(preparation, picture.height, picture.width);
  if (!preparation.crop) return resize(picture, size.width, size.height, preparation.filter, isa);
  const Size crop = *preparation.crop;
  const Placing y = place(size.height, crop.height), x = place(size.width, crop.width);
  Pixels part = resize(picture, size.width, size.height, {y.from, x.from, y.length, x.length}, preparation.filter, isa);
  if (part.width == crop.width && part.height == crop.height) return part;
  Pixels padded(crop.width, crop.height, picture.channels);
  for (int64_t row = 0; row < y.length; ++row) {
    std::memcpy(padded.at(y.to + row, x.to), part.at(row, 0), static_cast<size_t>(x.length * picture.channels));
  }
  return padded;
}

}  // namespace

Size Preparation::size(int64_t height, int64_t width) const {
  if (crop) return *crop;
  if (augment && augment->crop && shorter > 0) return {shorter, shorter};
  return resized_size(*this, height, width);
}

Pixels prepare(const PixelView& picture, const Preparation& preparation, const DrawKey& key, Isa isa) {
  if (picture.channels != preparation.channels) {
    const Pixels converted = convert_channels(picture, preparation.channels);
    return prepare(converted.view(), preparation, key, isa);
  }
  if (!preparation.augment) return resize_and_crop(picture, preparation, isa);
  const Augment& augment = *preparation.augment;
  if (!augment.crop) return vary(resize_and_crop(picture, preparation, isa), preparation, key);
  const Window window = draw_crop(augment, picture.height, picture.width, key);
  const Size size = preparation.size(picture.height, picture.width);
  const PixelView part = picture.part(window.top, window.left, window.height, window.width);
  return vary(resize(part, size.width, size.height, preparation.filter, isa), preparation, key);
}

void normalise(const Pixels& picture, const Preparation& preparation, float* target) {
  const int64_t pixels = picture.width * picture.height;
  for (int64_t c = 0; c < picture.channels; ++c) {
    const float mean = static_cast<float>(preparation.mean[c]), std = static_cast<float>(preparation.std[c]);
    std::array<float, 256> values;
    for (int i = 0; i < 256; ++i) values[i] = (static_cast<float>(i) / 255.0f - mean) / std;
    const uint8_t* source = picture.data.data() + c;
    for (int64_t i = 0; i < pixels; ++i) target[c * pixels + i] = values[source[i * picture.channels]];
  }
}

}  // namespace thaw
