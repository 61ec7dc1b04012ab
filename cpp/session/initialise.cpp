// The command initialise: new tensors, drawn by (seed, name, index of the element), so that neither the number of
// threads nor the order of the tensors matters.
//
// Kaiming: K. He et al., "Delving deep into rectifiers", 2015. Normal numbers: G. Box, M. Muller, 1958.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "run/pool.h"
#include "run/random.h"
#include "session/session.h"

namespace thaw {
namespace {

constexpr int64_t kChunk = 16384;  // elements of a task, a multiple of 4
constexpr double kPi = 3.14159265358979323846;
// A truncated draw is repeated until it lies within; after so many times it is cut (a chance below 1e-20 for std <= 2).
constexpr int kAttempts = 128;
constexpr double kTruncation = 2;  // PyTorch's trunc_normal_: absolute bounds -2 and 2, whatever the std

enum class Distribution { constant, uniform, normal, truncated };

struct Draw {
  Distribution distribution = Distribution::constant;
  double scale = 0;  // the constant, the bound or the standard deviation
  PhiloxKey key = {};
};

struct Pair {
  double first, second;
};

Pair normal_pair(uint32_t a, uint32_t b) {
  const double radius = std::sqrt(-2 * std::log(open_uniform(a))), angle = 2 * kPi * open_uniform(b);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

void normal_quad(const PhiloxKey& key, int64_t attempt, uint64_t quad, double out[4]) {
  const PhiloxBlock block = philox(sample_counter(0, attempt, quad), key);
  const Pair low = normal_pair(block.word[0], block.word[1]), high = normal_pair(block.word[2], block.word[3]);
  out[0] = low.first, out[1] = low.second, out[2] = high.first, out[3] = high.second;
}

void truncated_quad(const Draw& draw, uint64_t quad, double out[4]) {
  normal_quad(draw.key, 0, quad, out);
  const auto outside = [&](double value) { return std::fabs(value * draw.scale) > kTruncation; };
  for (int attempt = 1; attempt < kAttempts && std::any_of(out, out + 4, outside); ++attempt) {
    double again[4];
    normal_quad(draw.key, attempt, quad, again);
    for (int i = 0; i < 4; ++i) out[i] = outside(out[i]) ? again[i] : out[i];
  }
  const double most = kTruncation / draw.scale;
  for (int i = 0; i < 4; ++i) out[i] = std::clamp(out[i], -most, most);
}

// Elements 4*quad … 4*quad+3 of a tensor.
void draw_quad(const Draw& draw, uint64_t quad, float out[4]) {
  double unit[4];
  if (draw.distribution == Distribution::uniform) {
    const PhiloxBlock block = philox(sample_counter(0, 0, quad), draw.key);
    for (int i = 0; i < 4; ++i) unit[i] = 2 * open_uniform(block.word[i]) - 1;
  } else if (draw.distribution == Distribution::normal) {
    normal_quad(draw.key, 0, quad, unit);
  } else {
    truncated_quad(draw, quad, unit);
  }
  for (int i = 0; i < 4; ++i) out[i] = static_cast<float>(unit[i] * draw.scale);
}

void fill_random(const Draw& draw, float* target, int64_t count, const JobContext& context) {
  const int64_t tasks = (count + kChunk - 1) / kChunk;
  Pool::shared().parallel(tasks, 0, [&](int64_t task, void*) {
    if (context.stopped()) return;
    const int64_t end = std::min(count, (task + 1) * kChunk);
    for (int64_t at = task * kChunk; at < end; at += 4) {
      float quad[4];
      draw_quad(draw, static_cast<uint64_t>(at) / 4, quad);
      std::memcpy(target + at, quad, sizeof(float) * static_cast<size_t>(std::min<int64_t>(4, end - at)));
    }
  }, context.threads);
  context.check();
}

template <class T>
void fill_constant(T* target, int64_t count, double value) {
  std::fill_n(target, count, static_cast<T>(value));
}

// Inputs or outputs of a layer whose weight is [out, in, kernel…].
double fan_of(const Shape& shape, const std::string& fan, const std::string& name) {
  const std::string subject = "the fan of '" + name + "'";
  if (shape.size() < 2) fail_expected("ERR_SHAPE", "two dimensions or more", subject, to_string(shape));
  if (fan != "in" && fan != "out") fail_expected("ERR_INITIALISER", "'in' or 'out'", subject, "'" + fan + "'");
  const int64_t field = count(Shape(shape.begin() + 2, shape.end()));
  return static_cast<double>(std::max<int64_t>(1, shape[fan == "in" ? 1 : 0] * field));
}

double positive(const Json& init, const char* member, const std::string& name) {
  const double value = init.at(member).as_number();
  if (!(value >= 0 && std::isfinite(value))) {
    fail_expected("ERR_INITIALISER", "a number of 0 or more", "'" + std::string(member) + "' of '" + name + "'",
                  init.at(member).dump());
  }
  return value;
}

Draw parse_init(const Json& init, const Shape& shape, const std::string& name) {
  const std::string& kind = init.at("kind").as_string();
  const auto kaiming = [&] {
    return positive(init, "gain", name) / std::sqrt(fan_of(shape, init.at("fan").as_string(), name));
  };
  if (kind == "zeros") return {Distribution::constant, 0, {}};
  if (kind == "ones") return {Distribution::constant, 1, {}};
  if (kind == "constant") return {Distribution::constant, init.at("value").as_number(), {}};
  if (kind == "uniform") return {Distribution::uniform, positive(init, "bound", name), {}};
  if (kind == "normal") return {Distribution::normal, positive(init, "std", name), {}};
  if (kind == "truncatedNormal") return {Distribution::truncated, positive(init, "std", name), {}};
  if (kind == "kaimingNormal") return {Distribution::normal, kaiming(), {}};
  if (kind == "kaimingUniform") return {Distribution::uniform, std::sqrt(3.0) * kaiming(), {}};
  fail_expected("ERR_INITIALISER", "a kind of initialiser", "'" + name + "'", "'" + kind + "'");
}

void fill(const Draw& draw, const Tensor& tensor, const JobContext& context) {
  const Memory& memory = tensor.loaded;
  if (draw.distribution != Distribution::constant && draw.scale != 0) {
    if (tensor.dtype == Storage::f32) return fill_random(draw, memory.as<float>(), tensor.count(), context);
  } else if (draw.scale == 0) {
    return;  // created as zeros
  } else {
    switch (tensor.dtype) {
      case Storage::f64: return fill_constant(memory.as<double>(), tensor.count(), draw.scale);
      case Storage::f32: return fill_constant(memory.as<float>(), tensor.count(), draw.scale);
      case Storage::i64: return fill_constant(memory.as<int64_t>(), tensor.count(), draw.scale);
      case Storage::i32: return fill_constant(memory.as<int32_t>(), tensor.count(), draw.scale);
      case Storage::u8: return fill_constant(memory.as<uint8_t>(), tensor.count(), draw.scale);
      case Storage::boolean: return fill_constant(memory.as<uint8_t>(), tensor.count(), 1);
      default: break;
    }
  }
  fail_expected("ERR_INITIALISER", "dtype F32", "the initialiser of '" + tensor.name + "'", storage_name(tensor.dtype));
}

}  // namespace

/// Makes tensors (replacing) by their initialisers.
Reply command_initialise(Session& session, const Json& request, Buffers&, JobContext& context) {
  const uint64_t seed = static_cast<uint64_t>(request.get("seed", 0));
  for (const Json& json : request.at("tensors").items()) {
    context.check();
    const std::string& name = json.at("name").as_string();
    const Storage dtype = storage_from(json.at("dtype").as_string());
    const Shape shape = json.at("shape").as_ints();
    Draw draw = parse_init(json.at("init"), shape, name);
    draw.key = stream_key(seed, name_hash(name.data(), name.size()));
    fill(draw, session.store.create(name, dtype, shape), context);
  }
  return {};
}

}  // namespace thaw
