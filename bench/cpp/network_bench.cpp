// Runs networks from graph files without Node: a machine with a GPU may have a compiler and little else. Measures and
// compares through the same commands that the addon sends. One line of JSON for each row.
//
//   network_bench FILE… [--device cpu|cuda|cuda:1] [--library thaw.cuda.so] [--batch 16] [--precision auto|fp32|bf16]
//                 [--mode run|step|head] [--repeats 20] [--check] [--layers] [--dump FOLDER]
//
// FILE is made by bench/graphs.mjs: {name, input: [C, H, W], classes, run, step, head}, with graphs for `run` and `step`.
//
//   --check   runs the network on the processor too, in the same precision, and says how far outputs and gradients are
//             apart; status 1 where that is further than rounding explains
//   --layers  times each launch by itself, with the operations of convolutions and products
//   --dump    writes weights, batch, outputs and gradients of one run as <name>.<mode>.safetensors
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "network.h"

using namespace thaw;

namespace {

struct Options : NetworkOptions {
  std::vector<std::string> files;
  int64_t repeats = 20;
  bool check = false, layers = false;
  std::string dump;
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
    else if (word == "--layers") options.layers = true;
    else if (word == "--dump") options.dump = next();
    else if (word.starts_with("--")) fail_expected("ERR_ARGUMENT", "an option of network_bench", "the command line", "'" + word + "'");
    else options.files.push_back(word);
  }
  return options;
}

struct Apart {
  double difference = 0, norm = 0;
};

Apart apart(const Bytes& a, const Bytes& b) {
  const auto *x = static_cast<const float*>(a.data), *y = static_cast<const float*>(b.data);
  Apart sum;
  for (size_t i = 0; i < b.size / sizeof(float); ++i) {
    const double d = static_cast<double>(x[i]) - y[i];
    sum.difference += d * d, sum.norm += static_cast<double>(y[i]) * y[i];
  }
  sum.difference = std::isfinite(sum.difference) ? std::sqrt(sum.difference) : INFINITY;
  sum.norm = std::sqrt(sum.norm);
  return sum;
}

double share(double part, double whole) { return part / std::max(whole, 1e-30); }

/// A gradient below this share of the largest is rounding and little else: biases before a norm have none at all. It is
/// compared beside that share.
constexpr double kNoise = 1e-3;

/// How far results may be apart: sums in another order through up to two hundred layers, in bf16 with values that round to
/// the other side now and then. In gradients one value beside the kink of a ReLU that comes to lie on its other side shows in
/// all layers before it: 1 in 200 where maps are small.
bool far(double output, double gradient, const std::string& precision) {
  return precision == "bf16" ? output > 0.05 || gradient > 0.4 : output > 1e-4 || gradient > 0.03;
}

/// The first buffer is the network's output, the others gradients. Says whether they agree.
bool compare(const Json& file, const Options& options, Network& network, Json& line) {
  NetworkOptions other = options;
  other.precision = network.precision();
  other.device = "cpu";
  Network reference(file, other);
  reference.compile();
  const Outcome got = network.answers(), want = reference.answers();
  const Apart outputs = apart(got.buffers[0], want.buffers[0]);
  std::vector<Apart> gradients;
  double largest = 0;
  for (size_t i = 1; i < want.buffers.size(); ++i) {
    gradients.push_back(apart(got.buffers[i], want.buffers[i]));
    largest = std::max(largest, gradients.back().norm);
  }
  double worst = 0;
  size_t at = 0, below = 0;
  for (size_t i = 0; i < gradients.size(); ++i) {
    const double error = share(gradients[i].difference, std::max(gradients[i].norm, kNoise * largest));
    below += gradients[i].norm < kNoise * largest;
    if (error > worst) worst = error, at = i;
  }
  const double output = share(outputs.difference, outputs.norm);
  line.set("output", output).set("outputNorm", outputs.norm);
  if (!gradients.empty()) {
    line.set("worstGradient", worst).set("of", Json::parse(want.reply).at("gradients").items()[at].at("name"));
    line.set("itsShareOfLargest", share(gradients[at].norm, largest));
    line.set("gradients", static_cast<int64_t>(gradients.size())).set("small", static_cast<int64_t>(below));
  }
  const bool agrees = !far(output, worst, network.precision());
  line.set("agrees", agrees);
  return agrees;
}

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

/// `ms`: batches travel while the one before is computed; `aloneMs`: each run copies its own.
void measure(const Options& options, Network& network, Json& line) {
  if (options.repeats < 1) return;
  for (const bool ahead : {true, false}) {
    std::vector<double> times;
    for (int64_t i = 0; i < options.repeats + 4; ++i) {
      const double ms = network.train(ahead).at("ms").as_number();
      if (i >= 4) times.push_back(ms);  // recorded by then
    }
    line.set(ahead ? "ms" : "aloneMs", median(times));
    if (!ahead) break;
    line.set("fastestMs", *std::min_element(times.begin(), times.end()));
    line.set("picturesPerSecond", 1000.0 * static_cast<double>(options.batch) / median(times));
    if (options.device == "cpu") break;
  }
}

struct Work {
  double gflop = 0;
  Json weight, out;
};

/// Multiplications and additions of each convolution and linear layer, by node.
std::map<std::string, Work> operations(Network& network) {
  std::map<std::string, Json> weights, outputs;
  for (const Json& p : network.graph().at("parameters").items()) weights[p.at("name").as_string()] = p.at("shape");
  const Json values = network.values();
  for (const Json& value : values.items())
    if (value.find("node")) outputs[value.at("node").as_string()] = value.at("shape");
  std::map<std::string, Work> found;
  for (const Json& node : network.graph().at("nodes").items()) {
    const std::string op = node.at("op").as_string(), name = node.at("name").as_string();
    if (op != "conv2d" && op != "linear") continue;
    const Json& weight = node.at("inputs").items()[1];
    if (weight.kind() != Json::Kind::string || !weights.count(weight.as_string()) || !outputs.count(name)) continue;
    Work work;
    work.weight = weights[weight.as_string()], work.out = outputs[name];
    work.gflop = 2e-9;
    for (int64_t size : work.out.as_ints()) work.gflop *= static_cast<double>(size);
    const std::vector<int64_t> shape = work.weight.as_ints();
    for (size_t i = 1; i < shape.size(); ++i) work.gflop *= static_cast<double>(shape[i]);
    found[name] = work;
  }
  return found;
}

bool computes(const std::string& op) {
  return op == "conv2d" || op == "conv2d_backward_data" || op == "conv2d_backward_weights" || op == "matmul" ||
         (op.starts_with("linear") && !op.ends_with("_pack"));
}

/// Each launch at the least of its times.
void print_layers(const Options& options, Network& network, const Json& line) {
  std::vector<Json> launches;
  std::vector<double> least;
  for (int64_t i = 0; i < std::max<int64_t>(options.repeats, 1) + 1; ++i) {
    launches = network.train(false, true).at("launches").items();
    least.resize(launches.size(), INFINITY);
    // The first run packs the weights.
    for (size_t k = 0; i > 0 && k < launches.size(); ++k) least[k] = std::min(least[k], launches[k].at("ms").as_number());
  }
  const std::map<std::string, Work> work = operations(network);
  for (size_t k = 0; k < launches.size(); ++k) {
    if (launches[k].at("prepared").as_bool()) continue;
    const std::string node = launches[k].at("node").as_string(), op = launches[k].at("op").as_string();
    Json row = line;
    row.set("node", node).set("op", op).set("kernel", launches[k].at("kernel")).set("launchMs", least[k]);
    // Gradient nodes are named <node>/<operator>.
    const auto of = work.find(node.substr(0, node.find('/')));
    if (of != work.end() && computes(op))
      row.set("gflop", of->second.gflop).set("weight", of->second.weight).set("out", of->second.out);
    std::printf("%s\n", row.dump().c_str());
  }
}

/// A file of safetensors, one tensor after the other.
class Writer {
 public:
  void add(const std::string& name, const char* dtype, const Json& shape, const void* data, size_t bytes) {
    Json row = Json::object();
    row.set("dtype", dtype).set("shape", shape);
    row.set("data_offsets", std::vector<int64_t>{static_cast<int64_t>(data_.size()), static_cast<int64_t>(data_.size() + bytes)});
    header_.append(name, std::move(row));
    data_.append(static_cast<const char*>(data), bytes);
  }
  void write(const std::string& path) const {
    const std::string header = header_.dump();
    const uint64_t length = header.size();
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), sizeof(length));
    file << header << data_;
    if (!file.flush()) fail_expected("ERR_FILE", "room", "'" + path + "'", "a failed write");
  }

 private:
  Json header_ = Json::object();
  std::string data_;
};

void dump(const Json& file, const Options& options, Network& network) {
  Writer writer;
  for (const char* kind : {"parameters", "states"})
    for (const Json& p : network.graph().at(kind).items()) {
      const Outcome tensor = network.tensor(p.at("name").as_string());
      writer.add(p.at("name").as_string(), "F32", p.at("shape"), tensor.buffers[0].data, tensor.buffers[0].size);
    }
  writer.add("io/image", "F32", network.image_shape(), network.image().data(), network.image().size() * sizeof(float));
  writer.add("io/target", "I32", std::vector<int64_t>{options.batch}, network.target().data(),
             network.target().size() * sizeof(int32_t));
  const Outcome found = network.answers();
  const Json reply = Json::parse(found.reply);
  size_t i = 0;
  const auto add = [&](const std::string& name, const Json& of) {
    writer.add(name, "F32", of.at("shape"), found.buffers[i].data, found.buffers[i].size);
    ++i;
  };
  for (const Json& output : reply.at("outputs").items()) add("io/output", output);
  if (const Json* gradients = reply.find("gradients"))
    for (const Json& g : gradients->items()) add("gradient/" + g.at("name").as_string(), g);
  writer.write(options.dump + "/" + file.at("name").as_string() + "." + options.mode + ".safetensors");
}

/// Says whether all went as it should.
bool bench(const std::string& path, const Options& options) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  const Json file = Json::parse(text.str());
  Json line = Json::object();
  line.set("network", file.at("name")).set("device", options.device).set("mode", options.mode).set("batch", options.batch);
  bool good = true;
  try {
    Network network(file, options);
    network.compile();
    line.set("precision", network.precision());
    if (options.layers) return print_layers(options, network, line), true;
    if (!options.dump.empty()) dump(file, options, network);
    if (options.check) good = compare(file, options, network, line);
    measure(options, network, line);
  } catch (const Error& error) {
    line.set("error", error.code() + ": " + error.what());
    good = false;
  }
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
  return good;
}

}  // namespace

int main(int count, char** words) {
  try {
    const Options options = parse(count, words);
    bool good = !options.files.empty();
    for (const std::string& file : options.files) good &= bench(file, options);
    return good ? 0 : 1;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", error.code().c_str(), error.what());
    return 1;
  }
}
