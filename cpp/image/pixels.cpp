#include "image/pixels.h"

namespace thaw {

Pixels convert_channels(const PixelView& source, int64_t channels) {
  Pixels result(source.width, source.height, channels);
  for (int64_t y = 0; y < source.height; ++y) {
    for (int64_t x = 0; x < source.width; ++x) {
      const uint8_t* from = source.at(y, x);
      uint8_t* to = result.at(y, x);
      if (channels == 1) {
        to[0] = source.channels == 1 ? from[0] : luma(from);
        continue;
      }
      for (int c = 0; c < 3; ++c) to[c] = source.channels == 1 ? from[0] : from[c];
      if (channels == 4) to[3] = source.channels == 4 ? from[3] : 255;
    }
  }
  return result;
}

}  // namespace thaw
