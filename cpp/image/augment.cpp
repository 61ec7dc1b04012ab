#include "image/augment.h"

#include <algorithm>
#include <cmath>

#include "image/colour.h"
#include "image/turn.h"
#include "run/random.h"

namespace thaw {
namespace {

/// Places in the stream; the tries for a crop begin at kCrop, four draws each.
enum Place : uint64_t {
  kFlip, kFlipVertical, kRotation, kBrightness, kContrast, kSaturation, kHue, kOrder, kCrop = 16
};

class Draws {
 public:
  explicit Draws(const DrawKey& key) : key_(key), stream_(stream_key(key.seed, name_hash("augment", 7))) {}

  /// In (0, 1).
  double at(uint64_t place) const {
    return open_uniform(philox(sample_counter(key_.epoch, key_.sample, place / 4), stream_).word[place % 4]);
  }
  double between(uint64_t place, double low, double high) const { return low + (high - low) * at(place); }
  /// 0 … count - 1
  int64_t index(uint64_t place, int64_t count) const {
    return std::min(static_cast<int64_t>(at(place) * static_cast<double>(count)), count - 1);
  }

 private:
  DrawKey key_;
  PhiloxKey stream_;
};

Window middle_crop(const Augment& augment, int64_t height, int64_t width) {
  const double ratio = static_cast<double>(width) / static_cast<double>(height);
  int64_t rows = height, columns = width;
  if (ratio < augment.ratio[0]) rows = std::llround(static_cast<double>(width) / augment.ratio[0]);
  if (ratio > augment.ratio[1]) columns = std::llround(static_cast<double>(height) * augment.ratio[1]);
  rows = std::clamp<int64_t>(rows, 1, height);
  columns = std::clamp<int64_t>(columns, 1, width);
  return {(height - rows) / 2, (width - columns) / 2, rows, columns};
}

void jitter(Pixels& picture, const Augment& augment, const Draws& draws) {
  const auto factor = [&](Place place, double range) {
    return static_cast<float>(draws.between(place, std::max(0.0, 1 - range), 1 + range));
  };
  int order[4] = {0, 1, 2, 3};
  int64_t left = draws.index(kOrder, 24);
  for (int i = 3; i > 0; --i) {
    std::swap(order[i], order[left % (i + 1)]);
    left /= i + 1;
  }
  for (const int change : order) {
    if (change == 0 && augment.brightness > 0) adjust_brightness(picture, factor(kBrightness, augment.brightness));
    if (change == 1 && augment.contrast > 0) adjust_contrast(picture, factor(kContrast, augment.contrast));
    if (change == 2 && augment.saturation > 0) adjust_saturation(picture, factor(kSaturation, augment.saturation));
    if (change == 3 && augment.hue > 0) adjust_hue(picture, draws.between(kHue, -augment.hue, augment.hue));
  }
}

}  // namespace

Window draw_crop(const Augment& augment, int64_t height, int64_t width, const DrawKey& key) {
  const Draws draws(key);
  const double area = static_cast<double>(height) * static_cast<double>(width);
  for (uint64_t attempt = 0; attempt < 10; ++attempt) {
    const uint64_t place = kCrop + attempt * 4;
    const double part = area * draws.between(place, augment.scale[0], augment.scale[1]);
    const double ratio = std::exp(draws.between(place + 1, std::log(augment.ratio[0]), std::log(augment.ratio[1])));
    const int64_t columns = std::llround(std::sqrt(part * ratio)), rows = std::llround(std::sqrt(part / ratio));
    if (columns < 1 || columns > width || rows < 1 || rows > height) continue;
    return {draws.index(place + 2, height - rows + 1), draws.index(place + 3, width - columns + 1), rows, columns};
  }
  return middle_crop(augment, height, width);
}

Pixels vary(Pixels picture, const Preparation& preparation, const DrawKey& key) {
  const Augment& augment = *preparation.augment;
  const Draws draws(key);
  if (draws.at(kFlip) < augment.flip) flip_horizontal(picture);
  if (draws.at(kFlipVertical) < augment.flip_vertical) flip_vertical(picture);
  if (augment.rotation > 0) {
    std::vector<uint8_t> fill;
    for (const double mean : preparation.mean) {
      fill.push_back(static_cast<uint8_t>(std::clamp(mean * 255 + 0.5, 0.0, 255.0)));
    }
    picture = rotate(picture.view(), draws.between(kRotation, -augment.rotation, augment.rotation), fill);
  }
  jitter(picture, augment, draws);
  return picture;
}

}  // namespace thaw
