#pragma once
// From decoded pictures to what a network reads: resize, crop, augmentation, normalisation. Words and rounding are
// those of torchvision on PIL pictures.
#include <optional>

#include "graph/json.h"
#include "image/resample.h"

namespace thaw {

struct Size {
  int64_t height = 0, width = 0;
};

/// Random changes. Probabilities and ranges of zero are off.
struct Augment {
  bool crop = false;
  double scale[2] = {0.35, 1};             // part of the area
  double ratio[2] = {3.0 / 4, 4.0 / 3};    // width / height
  double flip = 0, flip_vertical = 0;      // probabilities
  double rotation = 0;                     // degrees
  double brightness = 0, contrast = 0, saturation = 0, hue = 0;
};

/// What the draws of one picture depend on.
struct DrawKey {
  uint64_t seed = 0;
  int64_t epoch = 0, sample = 0;
};

struct Preparation {
  int64_t channels = 3;
  int64_t shorter = 0;           // resize: length of the shorter side; 0: see `resized`
  std::optional<Size> resized;   // resize to this
  std::optional<Size> crop;      // cut from the middle
  Filter filter = Filter::bilinear;
  std::vector<double> mean, std;  // on values 0 … 1, one a channel
  std::optional<Augment> augment;

  /// Reads the options of the command `images`. Throws ERR_OPTION.
  static Preparation read(const Json& request);
  /// Size of what becomes of a picture.
  Size size(int64_t height, int64_t width) const;
};

/// 8-bit pixels of the size that `Preparation::size` says. Draws depend on `key` alone.
Pixels prepare(const PixelView& picture, const Preparation& preparation, const DrawKey& key, Isa isa);

/// target[c][y][x] = (pixel / 255 - mean[c]) / std[c], f32, each step rounded.
void normalise(const Pixels& picture, const Preparation& preparation, float* target);

}  // namespace thaw
