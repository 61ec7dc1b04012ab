// Resizing, mirrors, rotation and colours against values worked out by hand, and every instruction set against scalar.
// PIL's own results are compared in test/data.
#include "image/augment.h"
#include "image/colour.h"
#include "image/resample.h"
#include "image/turn.h"

#include <cmath>

#include "check.h"

using namespace thaw;

namespace {

Pixels noise(int64_t width, int64_t height, int64_t channels) {
  Pixels picture(width, height, channels);
  uint32_t state = 1;
  for (uint8_t& byte : picture.data) byte = static_cast<uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
  return picture;
}

void instruction_sets_agree() {
  const int64_t sizes[][4] = {{1, 1, 7, 5}, {17, 33, 8, 9}, {64, 48, 64, 20}, {100, 75, 33, 75}, {5, 40, 224, 224}};
  for (const auto& s : sizes) {
    for (const int64_t channels : {1, 3, 4}) {
      const Pixels source = noise(s[0], s[1], channels);
      for (const Filter filter : {Filter::bilinear, Filter::bicubic}) {
        const Pixels expected = resize(source.view(), s[2], s[3], filter, Isa::scalar);
        for (const Isa isa : {Isa::avx2, Isa::avx512}) {
          if (isa_usable(isa)) CHECK(resize(source.view(), s[2], s[3], filter, isa).data == expected.data);
        }
      }
    }
  }
}

void window_is_a_part_of_the_whole() {
  const Pixels source = noise(61, 83, 3);
  const Pixels whole = resize(source.view(), 40, 30, Filter::bicubic, best_isa());
  const Pixels part = resize(source.view(), 40, 30, {5, 7, 20, 11}, Filter::bicubic, best_isa());
  for (int64_t y = 0; y < 20; ++y) {
    for (int64_t i = 0; i < 33; ++i) CHECK(part.view().at(y, 0)[i] == whole.view().at(y + 5, 7)[i]);
  }
}

void halves_are_means() {
  Pixels source(4, 1, 1);
  source.data = {10, 20, 200, 100};
  // The triangle over two pixels of width: weights 1/7, 3/7, 3/7 (cut at the border) and mirrored.
  const Pixels small = resize(source.view(), 2, 1, Filter::bilinear, Isa::scalar);
  CHECK(small.data[0] == static_cast<uint8_t>((10 * 3 + 20 * 3 + 200) / 7.0 + 0.5));
  CHECK(small.data[1] == static_cast<uint8_t>((20 + 200 * 3 + 100 * 3) / 7.0 + 0.5));
}

void mirrors_and_turns() {
  Pixels picture(3, 2, 1);
  picture.data = {1, 2, 3, 4, 5, 6};
  flip_horizontal(picture);
  CHECK((picture.data == std::vector<uint8_t>{3, 2, 1, 6, 5, 4}));
  flip_vertical(picture);
  CHECK((picture.data == std::vector<uint8_t>{6, 5, 4, 3, 2, 1}));
  Pixels square = noise(9, 9, 3);
  CHECK(rotate(square.view(), 0, {0, 0, 0}).data == square.data);
  const Pixels turned = rotate(square.view(), 45, {7, 8, 9});
  CHECK(turned.view().at(0, 0)[0] == 7 && turned.view().at(0, 0)[2] == 9);
}

void colours_without_change() {
  const Pixels source = noise(16, 16, 3);
  Pixels picture = source;
  adjust_brightness(picture, 1);
  adjust_contrast(picture, 1);
  adjust_saturation(picture, 1);
  CHECK(picture.data == source.data);
  adjust_brightness(picture, 0);
  CHECK(picture.data == std::vector<uint8_t>(16 * 16 * 3, 0));
}

void draws_depend_on_their_key_alone() {
  Augment augment;
  augment.crop = true;
  int different = 0;
  for (int64_t sample = 0; sample < 200; ++sample) {
    const Window a = draw_crop(augment, 300, 400, {1, 2, sample}), b = draw_crop(augment, 300, 400, {1, 2, sample});
    CHECK(a.top == b.top && a.left == b.left && a.height == b.height && a.width == b.width);
    CHECK(a.top >= 0 && a.left >= 0 && a.top + a.height <= 300 && a.left + a.width <= 400);
    const double ratio = static_cast<double>(a.width) / static_cast<double>(a.height);
    CHECK(ratio > 0.73 && ratio < 1.36);
    CHECK(static_cast<double>(a.width * a.height) > 0.34 * 300 * 400);
    const Window other = draw_crop(augment, 300, 400, {1, 3, sample});
    different += other.top != a.top || other.left != a.left;
  }
  CHECK(different > 190);
  const Window narrow = draw_crop(augment, 1, 500, {1, 1, 1});
  CHECK(narrow.height == 1 && narrow.width >= 1 && narrow.width <= 2);
}

void options_are_checked() {
  const auto read = [](const char* text) { Preparation::read(Json::parse(text)); };
  CHECK_THROWS("ERR_OPTION", read(R"({"channels":2})"));
  CHECK_THROWS("ERR_OPTION", read(R"({"crop":0})"));
  CHECK_THROWS("ERR_OPTION", read(R"({"std":[1,0,1]})"));
  CHECK_THROWS("ERR_OPTION", read(R"({"mean":[1]})"));
  CHECK_THROWS("ERR_OPTION", read(R"({"interpolation":"nearest"})"));
  CHECK_THROWS("ERR_OPTION", read(R"({"augment":{"hue":0.6}})"));
  CHECK_THROWS("ERR_OPTION", read(R"({"augment":{"crop":{"scale":[0.5,1.5]}}})"));
}

void sizes_follow_torchvision() {
  const Preparation shorter = Preparation::read(Json::parse(R"({"resize":256})"));
  CHECK(shorter.size(375, 500).height == 256 && shorter.size(375, 500).width == 341);
  CHECK(shorter.size(500, 375).height == 341 && shorter.size(500, 375).width == 256);
  const Preparation cropped = Preparation::read(Json::parse(R"({"resize":256,"crop":[224,200]})"));
  CHECK(cropped.size(10, 2000).height == 224 && cropped.size(10, 2000).width == 200);
}

}  // namespace

int main() {
  instruction_sets_agree();
  window_is_a_part_of_the_whole();
  halves_are_means();
  mirrors_and_turns();
  colours_without_change();
  draws_depend_on_their_key_alone();
  options_are_checked();
  sizes_follow_torchvision();
  return check::result();
}
