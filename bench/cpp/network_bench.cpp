// Runs networks from graph files without Node: a machine with a GPU may have a compiler and little else. Measures and
// compares through the same commands that the addon sends.
//
//   network_bench FILE… [--device cpu|cuda] [--library thaw.cuda.so] [--batch 16] [--precision auto] [--mode run|step]
//                 [--repeats 20] [--check]
//
// FILE is made by bench/graphs.mjs: {name, input: [C, H, W], classes, run, step}, with graphs for `run` and `step`. --check
// runs the network on the processor too, in the same precision, and prints how far outputs, loss and gradients are apart.
// One line of JSON for each file.
#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>

#include "run/random.h"
#include "session/session.h"

using namespace thaw;

namespace {

struct Options {
  std::vector<std::string> files;
  std::string device = "cpu", library = "thaw.cuda.so", precision = "auto", mode = "run";
  int64_t batch = 16, repeats = 20;
  bool check = false;
};

Options parse(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const auto next = [&] { return std::string(i + 1 < count ? words[++i] : ""); };
    if (word == "--device") options.device = next();
    else if (word == "--library") options.library = next();
    else if (word == "--precision") options.precision = next();
    else if (word == "--mode") options.mode = next();
    else if (word == "--batch") options.batch = std::atoll(next().c_str());
    else if (word == "--repeats") options.repeats = std::atoll(next().c_str());
    else if (word == "--check") options.check = true;
    else options.files.push_back(word);
  }
  return options;
}

/// One command, to its end.
Outcome ask(Session& session, const std::string& command, const Json& request, Buffers buffers = {}) {
  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;
  Outcome outcome;
  session.submit(command, request.dump(), std::move(buffers), [&](Outcome result) {
    const std::lock_guard<std::mutex> lock(mutex);
    outcome = std::move(result);
    done = true;
    ended.notify_one();
  });
  std::unique_lock<std::mutex> lock(mutex);
  ended.wait(lock, [&] { return done; });
  if (!outcome.code.empty()) throw Error(outcome.code, command + ": " + outcome.message);
  return outcome;
}

/// A network with drawn weights on a device, and a batch for it.
class Network {
 public:
  Network(const Json& file, const Options& options, const std::string& device)
      : file_(file), options_(options), session_(Session::create({})) {
    const Json& graph = file.at(options.mode);
    Json tensors = Json::array();
    for (const char* kind : {"parameters", "states"})
      for (const Json& p : graph.at(kind).items()) {
        const bool counter = p.at("dtype").as_string() == "i64";
        Json row = Json::object();
        row.set("name", p.at("name")).set("dtype", counter ? "I64" : "F32").set("shape", p.at("shape")).set("init", p.at("init"));
        tensors.push(std::move(row));
        if (kind[0] == 'p') trainable_.push(p.at("name"));
      }
    ask(*session_, "initialise", Json::object().append("tensors", std::move(tensors)).append("seed", 7));
    if (device == "cpu") return;
    const int number = device == "cuda" ? 0 : std::atoi(device.c_str() + 5);
    ask(*session_, "device",
        Json::object().append("device", number).append("library", options.library).append("version", THAW_VERSION));
  }

  void compile() {
    const std::vector<int64_t> input = file_.at("input").as_ints();
    Json inputs = Json::object(), modes = Json::object();
    inputs.set("image", std::vector<int64_t>{options_.batch, input[0], input[1], input[2]});
    Json request = Json::object();
    request.set("graph", file_.at(options_.mode)).set("mode", options_.mode).set("precision", options_.precision);
    if (options_.mode == "step") {
      inputs.set("target", std::vector<int64_t>{options_.batch});
      for (const Json& node : file_.at("step").at("nodes").items())
        if (node.at("op").as_string() == "batch_norm") modes.set(node.at("name").as_string(), "train");
      request.set("trainable", trainable_).set("batchNorm", std::move(modes));
    } else {
      request.set("trainable", Json::array());
    }
    const Json reply = Json::parse(ask(*session_, "compile", request.set("inputs", std::move(inputs))).reply);
    plan_ = reply.at("plan").as_int();
    precision_ = reply.at("precision").as_string();
  }

  /// `learn`: with an update. Otherwise a step answers all gradients.
  Outcome run(bool learn) {
    fill();
    Json request = Json::object(), names = Json::array();
    names.push("image");
    Buffers buffers;
    buffers.emplace_back(image_.data(), image_.size() * sizeof(float), nullptr);
    if (options_.mode == "step") {
      names.push("target");
      buffers.emplace_back(target_.data(), target_.size() * sizeof(int32_t), nullptr);
      if (learn) {
        Json update = Json::object();
        request.set("update", update.set("optimizer", "sgd").set("learningRate", 1e-3).set("momentum", 0.9));
      } else {
        request.set("gradients", true);
      }
      request.set("discardOutputs", learn);
    }
    return ask(*session_, "run", request.set("plan", plan_).set("inputs", std::move(names)), std::move(buffers));
  }

  const std::string& precision() const { return precision_; }

 private:
  void fill() {
    if (!image_.empty()) return;
    const std::vector<int64_t> input = file_.at("input").as_ints();
    image_.resize(static_cast<size_t>(options_.batch * input[0] * input[1] * input[2]));
    const PhiloxKey key = stream_key(3, 5);
    for (size_t i = 0; i < image_.size(); ++i)
      image_[i] = static_cast<float>(2 * open_uniform(philox(sample_counter(0, 0, i / 4), key).word[i % 4]) - 1);
    for (int64_t i = 0; i < options_.batch; ++i)
      target_.push_back(static_cast<int32_t>(i * 37 % file_.at("classes").as_int()));
  }

  const Json& file_;
  const Options& options_;
  std::shared_ptr<Session> session_;
  Json trainable_ = Json::array();
  std::vector<float> image_;
  std::vector<int32_t> target_;
  int64_t plan_ = 0;
  std::string precision_;
};

/// |a - b| / |b| over all floats of a buffer.
double distance(const Bytes& a, const Bytes& b) {
  const auto *x = static_cast<const float*>(a.data), *y = static_cast<const float*>(b.data);
  double apart = 0, size = 0;
  for (size_t i = 0; i < b.size / sizeof(float); ++i) {
    const double d = static_cast<double>(x[i]) - y[i];
    apart += d * d, size += static_cast<double>(y[i]) * y[i];
  }
  return std::isfinite(apart) ? std::sqrt(apart / std::max(size, 1e-30)) : INFINITY;
}

/// The first buffer is the network's output, the others gradients.
void compare(const Json& file, const Options& options, Network& network, Json& line) {
  Options other = options;
  other.precision = network.precision();
  Network reference(file, other, "cpu");
  reference.compile();
  const Outcome got = network.run(false), want = reference.run(false);
  double worst = 0;
  for (size_t i = 1; i < want.buffers.size(); ++i) worst = std::max(worst, distance(got.buffers[i], want.buffers[i]));
  line.set("output", distance(got.buffers[0], want.buffers[0]));
  if (want.buffers.size() > 1) line.set("worstGradient", worst).set("gradients", static_cast<int64_t>(want.buffers.size() - 1));
}

void measure(const Options& options, Network& network, Json& line) {
  std::vector<double> times;
  for (int64_t i = 0; i < options.repeats + 3; ++i) {
    const auto reply = Json::parse(network.run(true).reply);
    if (i >= 3) times.push_back(reply.at("ms").as_number());
  }
  if (times.empty()) return;
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  line.set("ms", median).set("fastestMs", times[0]).set("picturesPerSecond", 1000.0 * static_cast<double>(options.batch) / median);
}

void bench(const std::string& path, const Options& options) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  const Json file = Json::parse(text.str());
  Json line = Json::object();
  line.set("network", file.at("name")).set("device", options.device).set("mode", options.mode).set("batch", options.batch);
  try {
    Network network(file, options, options.device);
    network.compile();
    line.set("precision", network.precision());
    if (options.check) compare(file, options, network, line);
    measure(options, network, line);
  } catch (const Error& error) {
    line.set("error", error.code() + ": " + error.what());
  }
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** words) {
  const Options options = parse(count, words);
  for (const std::string& file : options.files) bench(file, options);
  return options.files.empty() ? 1 : 0;
}
