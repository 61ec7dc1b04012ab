// What the machine and oneDNN make of a network's convolutions: `onednn_layers SHAPES BATCH fp32|bf16 THREADS`.
// Prints the measured peak of multiply-adds in registers in GFLOP/s, then a line per layer: name and the milliseconds of
// forward (with bias and relu), gradient by the data and gradient by the weights, layouts as oneDNN likes them; the best
// of several runs. Built by `npm run bench -- layers`.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <oneapi/dnnl/dnnl.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using namespace dnnl;

namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// ---- the peak -----------------------------------------------------------------------------------------------------

constexpr int kRounds = 1 << 16;

#if defined(__AMX_BF16__)
// GFLOP/s of one thread.
double tiles() {
  alignas(64) struct {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  asm volatile("ldtilecfg %0" ::"m"(config));
  alignas(64) static char zeros[1024];
  _tile_loadd(6, zeros, 64);
  _tile_loadd(7, zeros, 64);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const double begin = seconds();
  for (int i = 0; i < kRounds; ++i) {
    _tile_dpbf16ps(0, 6, 7);
    _tile_dpbf16ps(1, 6, 7);
    _tile_dpbf16ps(2, 6, 7);
    _tile_dpbf16ps(3, 6, 7);
  }
  const double time = seconds() - begin;
  _tile_release();
  return 4.0 * kRounds * 2 * 16 * 16 * 32 / time / 1e9;
}
#endif

#if defined(__AVX512F__)
using Vector = __m512;
Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
constexpr int kLanes = 16;
#else
using Vector = __m256;
Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
constexpr int kLanes = 8;
#endif

double vectors() {
  Vector sums[10] = {};
  const Vector one{};
  const double begin = seconds();
  for (int i = 0; i < kRounds; ++i)
    for (Vector& sum : sums) {
      sum = fma(one, one, sum);
      asm volatile("" : "+v"(sum));
    }
  return 10.0 * kRounds * 2 * kLanes / (seconds() - begin) / 1e9;
}

double peak(bool bf16, int threads) {
  std::vector<double> best(static_cast<size_t>(threads));
  std::vector<std::thread> all;
  for (double& result : best)
    all.emplace_back([&result, bf16] {
      for (int i = 0; i < 20; ++i) {
#if defined(__AMX_BF16__)
        result = std::max(result, bf16 ? tiles() : vectors());
#else
        (void)bf16;
        result = std::max(result, vectors());
#endif
      }
    });
  for (std::thread& thread : all) thread.join();
  double sum = 0;
  for (double result : best) sum += result;
  return sum;
}

// ---- layers ---------------------------------------------------------------------------------------------------------

struct Layer {
  std::string name;
  memory::dim c, h, w, k, kh, kw, sy, sx, top, left, bottom, right, dy, dx, groups;
};

std::vector<Layer> read(const char* file) {
  std::vector<Layer> layers;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    Layer l;
    words >> l.name >> l.c >> l.h >> l.w >> l.k >> l.kh >> l.kw >> l.sy >> l.sx >> l.top >> l.left >> l.bottom >>
        l.right >> l.dy >> l.dx >> l.groups;
    layers.push_back(l);
  }
  return layers;
}

class Bench {
 public:
  Bench(memory::dim batch, bool bf16)
      : batch_(batch), type_(bf16 ? memory::data_type::bf16 : memory::data_type::f32), engine_(engine::kind::cpu, 0),
        stream_(engine_) {}

  void run(const Layer& l) {
    const memory::dim oh = (l.h + l.top + l.bottom - l.dy * (l.kh - 1) - 1) / l.sy + 1;
    const memory::dim ow = (l.w + l.left + l.right - l.dx * (l.kw - 1) - 1) / l.sx + 1;
    const auto any = memory::format_tag::any;
    x_ = {{batch_, l.c, l.h, l.w}, type_, any};
    y_ = {{batch_, l.k, oh, ow}, type_, any};
    w_ = l.groups > 1 ? memory::desc({l.groups, l.k / l.groups, l.c / l.groups, l.kh, l.kw}, type_, any)
                      : memory::desc({l.k, l.c, l.kh, l.kw}, type_, any);
    const memory::desc b({l.k}, memory::data_type::f32, memory::format_tag::a);
    const memory::dims stride{l.sy, l.sx}, dilation{l.dy - 1, l.dx - 1}, begin{l.top, l.left}, end{l.bottom, l.right};
    const auto how = algorithm::convolution_direct;
    primitive_attr relu;
    post_ops ops;
    ops.append_eltwise(1.0f, algorithm::eltwise_relu, 0.0f, 0.0f);
    relu.set_post_ops(ops);
    const convolution_forward::desc forward(prop_kind::forward_training, how, x_, w_, b, y_, stride, dilation, begin, end);
    const convolution_forward::primitive_desc f(forward, relu, engine_), hint(forward, engine_);
    const convolution_backward_data::primitive_desc d(
        convolution_backward_data::desc(how, x_, w_, y_, stride, dilation, begin, end), engine_, hint);
    const convolution_backward_weights::primitive_desc g(
        convolution_backward_weights::desc(how, x_, w_, y_, stride, dilation, begin, end), engine_, hint);
    const double ms[] = {
        time(convolution_forward(f), {{DNNL_ARG_SRC, f.src_desc()}, {DNNL_ARG_WEIGHTS, f.weights_desc()},
                                      {DNNL_ARG_BIAS, f.bias_desc()}, {DNNL_ARG_DST, f.dst_desc()}}),
        time(convolution_backward_data(d), {{DNNL_ARG_DIFF_SRC, d.diff_src_desc()},
                                            {DNNL_ARG_WEIGHTS, d.weights_desc()},
                                            {DNNL_ARG_DIFF_DST, d.diff_dst_desc()}}),
        time(convolution_backward_weights(g), {{DNNL_ARG_SRC, g.src_desc()},
                                               {DNNL_ARG_DIFF_WEIGHTS, g.diff_weights_desc()},
                                               {DNNL_ARG_DIFF_DST, g.diff_dst_desc()}})};
    std::printf("%s %.4f %.4f %.4f\n", l.name.c_str(), ms[0], ms[1], ms[2]);
    std::fflush(stdout);
  }

 private:
  double time(const primitive& p, const std::vector<std::pair<int, memory::desc>>& operands) {
    std::unordered_map<int, memory> arguments;
    for (const auto& [place, desc] : operands) {
      const auto at = arguments.emplace(place, memory(desc, engine_)).first;
      std::fill_n(static_cast<char*>(at->second.get_data_handle()), desc.get_size(), char{0});
    }
    double best = 1e9, spent = 0;
    for (int i = 0; i < 4 || (spent < 0.05 && i < 200); ++i) {
      const double begin = seconds();
      p.execute(stream_, arguments);
      stream_.wait();
      const double took = seconds() - begin;
      best = std::min(best, took), spent += took;
    }
    return best * 1e3;
  }

  memory::dim batch_;
  memory::data_type type_;
  engine engine_;
  stream stream_;
  memory::desc x_, y_, w_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return std::fprintf(stderr, "expected SHAPES BATCH fp32|bf16 THREADS\n"), 2;
  const bool bf16 = std::string(argv[3]) == "bf16";
#if defined(__AMX_BF16__)
  // Permission for the tiles' state (ARCH_REQ_XCOMP_PERM, XTILEDATA).
  if (bf16 && syscall(SYS_arch_prctl, 0x1023, 18) != 0) return std::fprintf(stderr, "no tiles\n"), 1;
#endif
  std::printf("peak %.1f\n", peak(bf16, std::stoi(argv[4])));
  Bench bench(std::stol(argv[2]), bf16);
  for (const Layer& layer : read(argv[1])) bench.run(layer);
}
