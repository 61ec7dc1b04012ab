// Broadcasting arithmetic on pictures in bf16, line by line.
#include "kernels/cpu/micro/bf16.h"
#include "kernels/cpu/micro/combine.h"

namespace thaw {
namespace THAW_ISA {
namespace {

struct RowBf16 {
  using Element = uint16_t;
  template <bool vary_a, bool vary_b, class F>
  static void run(const uint16_t* a, const uint16_t* b, uint16_t* y, int64_t n, F f) {
    const V16 a_low = load_bf16(a), a_high = load_bf16(a + 16), b_low = load_bf16(b), b_high = load_bf16(b + 16);
    for (int64_t i = 0; i < n * kLineLanes; i += kLineLanes) {
      const V16 low = f(vary_a ? load_bf16(a + i) : a_low, vary_b ? load_bf16(b + i) : b_low);
      const V16 high = f(vary_a ? load_bf16(a + i + 16) : a_high, vary_b ? load_bf16(b + i + 16) : b_high);
      store_line(y + i, low, high);
    }
  }
};

void sum(const CombineBf16& args, int64_t task, void*) { combine<RowBf16>(args, task, Add{}); }
void product(const CombineBf16& args, int64_t task, void*) { combine<RowBf16>(args, task, Multiply{}); }

void scale(const ScaleBf16& args, int64_t task, void*) {
  const V16 factor = broadcast(args.s == nullptr ? args.factor : args.factor * *args.s);
  const int64_t end = (task + 1) * kChunk < args.count ? (task + 1) * kChunk : args.count;
  for (int64_t i = task * kChunk; i < end; i += kLineLanes) {
    store_line(args.y + i, mul(load_bf16(args.x + i), factor), mul(load_bf16(args.x + i + 16), factor));
  }
}

}  // namespace

extern const ElementwiseBf16Kernels elementwise_bf16 = {sum, product, scale};

}  // namespace THAW_ISA
}  // namespace thaw
