// The command `images`: decoded pictures in, one batch out.
//   request: {items: [{width, height, channels}], channels, resize?, crop?, interpolation?, mean?, std?,
//             augment?: {crop?: {scale?, ratio?}, flip?, …}, seed?, epoch?, samples?: [one whole number an item]}
//   buffers: one an item, u8 [height][width][channels]
//   reply:   {shape: [items, channels, height, width]}, buffers[0] f32
#include "error.h"
#include "image/prepare.h"
#include "run/pool.h"
#include "session/session.h"

namespace thaw {
namespace {

PixelView view_item(const Json& item, const Bytes& bytes, size_t index) {
  const int64_t width = item.at("width").as_int(), height = item.at("height").as_int();
  const int64_t channels = item.at("channels").as_int();
  const std::string subject = "picture " + std::to_string(index);
  if (channels != 1 && channels != 3 && channels != 4) {
    fail_expected("ERR_PICTURE", "1, 3 or 4 channels", subject, std::to_string(channels));
  }
  // The second bound keeps the product below 2^63.
  if (width < 1 || height < 1 || width > INT32_MAX / 4 || height > INT32_MAX / 4) {
    fail_expected("ERR_PICTURE", "width and height of 1 to 536870911", subject,
                  std::to_string(width) + " x " + std::to_string(height));
  }
  const int64_t expected = width * height * channels;
  if (static_cast<int64_t>(bytes.size) != expected) {
    fail_expected("ERR_PICTURE", std::to_string(expected) + " bytes", subject, std::to_string(bytes.size));
  }
  return {static_cast<const uint8_t*>(bytes.data), width, height, channels, width * channels};
}

std::vector<PixelView> view_items(const Json& request, const Buffers& buffers) {
  const std::vector<Json>& items = request.at("items").items();
  if (items.empty() || items.size() != buffers.size()) {
    fail_expected("ERR_PICTURE", "one buffer a picture", "images",
                  std::to_string(items.size()) + " pictures and " + std::to_string(buffers.size()) + " buffers");
  }
  std::vector<PixelView> views;
  for (size_t i = 0; i < items.size(); ++i) views.push_back(view_item(items[i], buffers[i], i));
  return views;
}

Size common_size(const Preparation& preparation, const std::vector<PixelView>& views) {
  const Size first = preparation.size(views[0].height, views[0].width);
  for (const PixelView& view : views) {
    const Size size = preparation.size(view.height, view.width);
    if (size.height == first.height && size.width == first.width) continue;
    fail_expected("ERR_PICTURE_SIZE", "pictures of one size (or a crop, or resize: [height, width])", "a batch",
                  std::to_string(first.width) + " x " + std::to_string(first.height) + " and " +
                      std::to_string(size.width) + " x " + std::to_string(size.height));
  }
  return first;
}

std::vector<int64_t> read_samples(const Json& request, size_t items) {
  std::vector<int64_t> samples = request.get("samples", std::vector<int64_t>{});
  if (samples.empty()) {
    for (size_t i = 0; i < items; ++i) samples.push_back(static_cast<int64_t>(i));
  }
  if (samples.size() != items) {
    fail_expected("ERR_OPTION", std::to_string(items) + " whole numbers", "samples", std::to_string(samples.size()));
  }
  return samples;
}

}  // namespace

Reply command_images(Session& session, const Json& request, Buffers& buffers, JobContext& context) {
  const Preparation preparation = Preparation::read(request);
  const std::vector<PixelView> views = view_items(request, buffers);
  const Size size = common_size(preparation, views);
  const std::vector<int64_t> samples = read_samples(request, views.size());
  const uint64_t seed = static_cast<uint64_t>(request.get("seed", 0));
  const int64_t epoch = request.get("epoch", 0), count = static_cast<int64_t>(views.size());
  const int64_t floats = preparation.channels * size.height * size.width;
  Memory batch(static_cast<size_t>(count * floats) * sizeof(float), session.account);
  Pool::shared().parallel(count, 0, [&](int64_t i, void*) {
    context.check();
    const Pixels pixels = prepare(views[i], preparation, {seed, epoch, samples[i]}, best_isa());
    normalise(pixels, preparation, batch.as<float>() + i * floats);
  }, context.threads);
  Reply reply;
  reply.json.set("shape", Json(std::vector<int64_t>{count, preparation.channels, size.height, size.width}));
  reply.buffers.emplace_back(std::move(batch));
  return reply;
}

}  // namespace thaw
