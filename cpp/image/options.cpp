// The options of the command `images`, checked.
#include <cmath>

#include "error.h"
#include "image/prepare.h"

namespace thaw {
namespace {

constexpr int64_t kLargestSide = 16384;  // pixels of what a network reads

double number_in(const Json& request, const char* name, double otherwise, double low, double high) {
  const double value = request.get(name, otherwise);
  if (value >= low && value <= high) return value;
  fail_expected("ERR_OPTION", "a number from " + std::to_string(low) + " to " + std::to_string(high), name,
                std::to_string(value));
}

int64_t side(const Json& value, const char* name) {
  const int64_t length = value.as_int();
  if (length >= 1 && length <= kLargestSide) return length;
  fail_expected("ERR_OPTION", "1 to " + std::to_string(kLargestSide) + " pixels", name, std::to_string(length));
}

Size pair(const Json& value, const char* name) {
  if (value.items().size() == 2) return {side(value.items()[0], name), side(value.items()[1], name)};
  fail_expected("ERR_OPTION", "[height, width]", name, std::to_string(value.items().size()) + " numbers");
}

void read_range(const Json& crop, const char* name, double low, double high, double* range) {
  const Json* value = crop.find(name);
  if (!value) return;
  const std::vector<double> numbers = value->as_numbers();
  if (numbers.size() != 2 || !(numbers[0] >= low) || !(numbers[1] >= numbers[0]) || !(numbers[1] <= high)) {
    fail_expected("ERR_OPTION", "[smallest, largest] within " + std::to_string(low) + " and " + std::to_string(high),
                  std::string("augment.crop.") + name, value->dump());
  }
  range[0] = numbers[0];
  range[1] = numbers[1];
}

Augment read_augment(const Json& request) {
  Augment augment;
  if (const Json* crop = request.find("crop")) {
    augment.crop = true;
    read_range(*crop, "scale", 1e-4, 1, augment.scale);
    read_range(*crop, "ratio", 1e-2, 100, augment.ratio);
  }
  augment.flip = number_in(request, "flip", 0, 0, 1);
  augment.flip_vertical = number_in(request, "flipVertical", 0, 0, 1);
  augment.rotation = number_in(request, "rotation", 0, 0, 180);
  augment.brightness = number_in(request, "brightness", 0, 0, 100);
  augment.contrast = number_in(request, "contrast", 0, 0, 100);
  augment.saturation = number_in(request, "saturation", 0, 0, 100);
  augment.hue = number_in(request, "hue", 0, 0, 0.5);
  return augment;
}

std::vector<double> per_channel(const Json& request, const char* name, double otherwise, int64_t channels) {
  const Json* value = request.find(name);
  if (!value) return std::vector<double>(static_cast<size_t>(channels), otherwise);
  std::vector<double> numbers = value->as_numbers();
  if (static_cast<int64_t>(numbers.size()) != channels) {
    fail_expected("ERR_OPTION", std::to_string(channels) + " numbers", name, value->dump());
  }
  return numbers;
}

}  // namespace

Preparation Preparation::read(const Json& request) {
  Preparation result;
  result.channels = request.get("channels", 3);
  if (result.channels != 1 && result.channels != 3 && result.channels != 4) {
    fail_expected("ERR_OPTION", "1, 3 or 4", "channels", std::to_string(result.channels));
  }
  if (const Json* resize = request.find("resize")) {
    if (resize->kind() == Json::Kind::array) result.resized = pair(*resize, "resize");
    else result.shorter = side(*resize, "resize");
  }
  if (const Json* crop = request.find("crop")) {
    if (crop->kind() == Json::Kind::array) result.crop = pair(*crop, "crop");
    else result.crop = Size{side(*crop, "crop"), side(*crop, "crop")};
  }
  const std::string filter = request.get("interpolation", "bilinear");
  if (filter != "bilinear" && filter != "bicubic") {
    fail_expected("ERR_OPTION", "'bilinear' or 'bicubic'", "interpolation", "'" + filter + "'");
  }
  result.filter = filter == "bicubic" ? Filter::bicubic : Filter::bilinear;
  result.mean = per_channel(request, "mean", 0, result.channels);
  result.std = per_channel(request, "std", 1, result.channels);
  for (const double std : result.std) {
    if (!(std > 0)) fail_expected("ERR_OPTION", "numbers above 0", "std", std::to_string(std));
  }
  if (const Json* augment = request.find("augment")) result.augment = read_augment(*augment);
  return result;
}

}  // namespace thaw
