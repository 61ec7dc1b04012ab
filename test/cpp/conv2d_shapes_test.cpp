// The convolutions of real networks (bench/shapes), each kind once, on small pictures: every kernel that a network takes, on
// every instruction set, in f32 and bf16, against loops in double.
#include <fstream>
#include <set>
#include <sstream>

#include "conv2d_reference.h"

using namespace conv2d_reference;

namespace {

// Loops in double are slow: wider layers differ from narrower ones in how often a kernel turns, not in what it does.
constexpr int64_t kMostWeights = 150'000;
constexpr int64_t kMostProducts = 6'000'000;

/// Reads one line; false for what is no layer.
bool read_layer(const std::string& line, Conv& c) {
  if (line.empty() || line[0] == '#') return false;
  std::istringstream words(line);
  std::string name;
  words >> name >> c.c >> c.h >> c.w >> c.k >> c.kh >> c.kw >> c.stride[0] >> c.stride[1];
  for (int64_t& side : c.padding) words >> side;
  words >> c.dilation[0] >> c.dilation[1] >> c.groups;
  CHECK(!words.fail());
  return !words.fail();
}

/// As few rows and columns as leave some output, all borders among it; odd, so that tiles are not full.
void shrink(Conv& c) {
  const auto least = [](int64_t size, int64_t kernel, int64_t stride, int64_t dilation) {
    return std::min(size, dilation * (kernel - 1) + 1 + 4 * stride);
  };
  c.h = least(c.h, c.kh, c.stride[0], c.dilation[0]);
  c.w = least(c.w, c.kw, c.stride[1], c.dilation[1]);
}

std::set<std::string> seen;

void layers_of(const char* network) {
  std::ifstream file(std::string(THAW_SHAPES) + "/" + network + ".txt");
  int layers = 0;
  for (std::string line; std::getline(file, line);) {
    Conv c{1, 0, 0, 0, 0, 0, 0};
    if (!read_layer(line, c)) continue;
    ++layers;
    shrink(c);
    if (count(c.weight()) > kMostWeights || count(c.weight()) * c.oh() * c.ow() > kMostProducts) continue;
    if (!seen.insert(c.text()).second) continue;
    verify(c);
    verify_bf16(c);
  }
  CHECK(layers > 0);
}

}  // namespace

int main() {
  for (const char* network :
       {"alexnet", "vgg16", "resnet50", "resnext50_32x4d", "squeezenet1_1", "googlenet", "inception_v3", "mobilenet_v2",
        "mobilenet_v3_large", "shufflenet_v2_x1_0", "efficientnet_b0", "regnet_y_400mf", "convnext_tiny",
        "cifar_resnet20"})
    layers_of(network);
  CHECK(seen.size() > 100);
  return check::result();
}
