#pragma once
// A network from a graph file (bench/graphs.mjs) with drawn weights on a device, run by the commands that the addon sends.
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "run/random.h"
#include "session/session.h"

namespace thaw {

struct NetworkOptions {
  std::string device = "cpu", library = "thaw.cuda.so", precision = "auto", mode = "run";
  int64_t batch = 16;
};

/// One command, to its end. Throws Error.
inline Outcome ask(Session& session, const std::string& command, const Json& request, Buffers buffers = {}) {
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

/// Modes: `run` (inference), `step` (everything trains), `head` (a step of the classifier on features that are kept).
class Network {
 public:
  Network(const Json& file, const NetworkOptions& options) : file_(file), options_(options), session_(Session::create({})) {
    Json tensors = Json::array();
    for (const char* kind : {"parameters", "states"})
      for (const Json& p : graph().at(kind).items()) {
        const bool counter = p.at("dtype").as_string() == "i64";
        Json row = Json::object();
        row.set("name", p.at("name")).set("dtype", counter ? "I64" : "F32").set("shape", p.at("shape")).set("init", p.at("init"));
        tensors.push(std::move(row));
        if (kind[0] == 'p') trainable_.push(p.at("name"));
      }
    if (options.mode == "run") trainable_ = Json::array();
    if (options.mode == "head") trainable_ = file.at("head");
    ask(*session_, "initialise", Json::object().append("tensors", std::move(tensors)).append("seed", 7));
    draw_batch();
    if (options.device == "cpu") return;
    const int number = options.device == "cuda" ? 0 : std::atoi(options.device.c_str() + 5);
    ask(*session_, "device",
        Json::object().append("device", number).append("library", options.library).append("version", THAW_VERSION));
  }

  void compile() {
    if (options_.mode == "head") keep_features();
    const Json reply = compile(options_.mode == "head" ? "step" : options_.mode);
    plan_ = reply.at("plan").as_int();
    precision_ = reply.at("precision").as_string();
  }

  /// One run that answers outputs and, in `step`, all gradients.
  Outcome answers() { return ask(*session_, "run", request(true), buffers()); }

  /// One run as in training: with an update, and without outputs. `ahead`: the batch after it travels to a GPU meanwhile, as in
  /// `fit`. The reply.
  Json train(bool ahead, bool profile = false) {
    Json json = request(false);
    Buffers all = buffers();
    json.set("profile", profile);
    if (staged_) json.set("staged", staged_);
    staged_ = ahead ? ++last_ticket_ : 0;
    if (ahead) {
      const Json names = json.at("inputs");
      const Json* rows = json.find("cacheRead");
      Json next = Json::object();
      next.set("ticket", staged_).set("inputs", names);
      if (rows) next.set("cacheRead", *rows);
      json.set("next", std::move(next));
      for (const Bytes& bytes : buffers()) all.push_back(bytes);
    }
    return Json::parse(ask(*session_, "run", json, std::move(all)).reply);
  }

  /// Every value of the graph: [{name, dtype, shape, node}].
  Json values() {
    Json json = Json::object();
    json.set("graph", graph()).set("mode", "infer").set("inputs", shapes());
    return Json::parse(ask(*session_, "compile", json).reply).at("values");
  }

  Outcome tensor(const std::string& name) {
    return ask(*session_, "get", Json::object().append("names", Json::array().push(name)).append("as", "f32"));
  }
  const Json& graph() const { return file_.at(options_.mode == "run" ? "run" : "step"); }
  const std::string& precision() const { return precision_; }
  const std::vector<float>& image() const { return image_; }
  const std::vector<int32_t>& target() const { return target_; }
  std::vector<int64_t> image_shape() const {
    std::vector<int64_t> shape = file_.at("input").as_ints();
    shape.insert(shape.begin(), options_.batch);
    return shape;
  }

 private:
  bool trains() const { return options_.mode != "run"; }

  Json shapes() const {
    Json inputs = Json::object();
    inputs.set("image", image_shape());
    if (trains()) inputs.set("target", std::vector<int64_t>{options_.batch});
    return inputs;
  }

  Json compile(const std::string& mode) {
    Json modes = Json::object(), json = Json::object();
    json.set("graph", graph()).set("mode", mode).set("precision", options_.precision).set("trainable", trainable_);
    for (const Json& node : graph().at("nodes").items())
      if (options_.mode == "step" && node.at("op").as_string() == "batch_norm") modes.set(node.at("name").as_string(), "train");
    json.set("batchNorm", std::move(modes)).set("inputs", shapes());
    return Json::parse(ask(*session_, "compile", json).reply);
  }

  void keep_features() {
    const Json made = Json::parse(ask(*session_, "cache", Json::object().append("action", "create")).reply);
    rows_.set("cache", made.at("cache"));
    Json keys = Json::array();
    for (int64_t i = 0; i < options_.batch; ++i) keys.push(std::to_string(i));
    rows_.set("keys", std::move(keys));
    Json json = Json::object(), names = Json::array();
    json.set("plan", compile("embed").at("plan")).set("inputs", names.push("image")).set("cacheWrite", rows_);
    Buffers image;
    image.push_back(buffers()[0]);
    ask(*session_, "run", json.set("discardOutputs", true), std::move(image));
    kept_ = true;
  }

  Json request(bool answers) const {
    Json json = Json::object(), names = Json::array();
    if (kept_) json.set("cacheRead", rows_);
    else names.push("image");
    if (trains()) names.push("target");
    json.set("plan", plan_).set("inputs", std::move(names)).set("discardOutputs", trains() && !answers);
    if (trains() && answers) json.set("gradients", true);
    if (trains() && !answers) {
      Json update = Json::object();
      json.set("update", update.set("optimizer", "sgd").set("learningRate", 1e-6).set("momentum", 0.9));
    }
    return json;
  }

  Buffers buffers() {
    Buffers all;
    if (!kept_) all.emplace_back(image_.data(), image_.size() * sizeof(float), nullptr);
    if (trains()) all.emplace_back(target_.data(), target_.size() * sizeof(int32_t), nullptr);
    return all;
  }

  void draw_batch() {
    int64_t numbers = 1;
    for (int64_t size : image_shape()) numbers *= size;
    image_.resize(static_cast<size_t>(numbers));
    const PhiloxKey key = stream_key(3, 5);
    for (size_t i = 0; i < image_.size(); ++i)
      image_[i] = static_cast<float>(2 * open_uniform(philox(sample_counter(0, 0, i / 4), key).word[i % 4]) - 1);
    for (int64_t i = 0; i < options_.batch; ++i)
      target_.push_back(static_cast<int32_t>(i * 37 % file_.at("classes").as_int()));
  }

  const Json& file_;
  const NetworkOptions options_;
  std::shared_ptr<Session> session_;
  Json trainable_ = Json::array(), rows_ = Json::object();
  std::vector<float> image_;
  std::vector<int32_t> target_;
  bool kept_ = false;
  int64_t plan_ = 0, staged_ = 0, last_ticket_ = 0;
  std::string precision_;
};

}  // namespace thaw
