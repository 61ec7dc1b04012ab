#pragma once
// The arithmetic of convolutions that needs no tensor: shapes, grids and taps, groups as panels, and the cut into
// tasks.
#include <memory>
#include <vector>

#include "kernels/conv2d.h"
#include "ops/op.h"

namespace thaw {

/// A convolution as its attributes and shapes state it.
struct Conv2dShape {
  Shape x;       // [N, C, H, W]
  Shape weight;  // [K, C/groups, kh, kw]
  int64_t out_height = 0, out_width = 0;
  std::vector<int64_t> stride, padding, dilation;  // [y, x], [top, left, bottom, right], [y, x]
  int64_t groups = 1;

  int64_t pictures() const { return x[0]; }
  int64_t in_channels() const { return x[1]; }
  int64_t out_channels() const { return weight[0]; }
  int64_t kernel_taps() const { return weight[2] * weight[3]; }
  bool depthwise() const { return groups > 1 && groups == x[1] && groups == weight[0]; }
  Shape out() const { return {x[0], weight[0], out_height, out_width}; }
};

/// Reads and checks attributes against shapes. `complain(expected, received)` must throw.
Conv2dShape conv2d_shape(const Json& attrs, const Shape& x, const Shape& weight,
                         const std::function<void(const std::string&, const std::string&)>& complain);
/// The same for a node that has been checked before.
Conv2dShape conv2d_shape(const Json& attrs, const Shape& x, const Shape& weight);

/// One dimension of a grid: point i reads input positions i * stride + offset for each tap and stands for output
/// position start + i * step.
struct GridAxis {
  int64_t size = 0, start = 0, step = 1, stride = 1;
  struct Tap {
    int64_t offset, kernel;  // input offset, position in the kernel
  };
  std::vector<Tap> taps;  // offsets ascending
};

struct Grid {
  GridAxis y, x;
  /// Positions in the kernel, ky * kw + kx, in the order of the kernels' taps.
  std::vector<int64_t> taps(int64_t kernel_width) const;
};

Grid forward_grid(const Conv2dShape&);
/// One grid per phase of the stride (its size may be 0), covering every pixel of dx once; the input is dy.
std::vector<Grid> backward_grids(const Conv2dShape&);

/// How channels connect: `in` and `out` channels in `groups` groups.
struct Channels {
  int64_t in = 0, out = 0, groups = 1;
};

struct Panels {
  std::vector<Conv2dPanel> panels;
  int64_t floats = 0;  // of the packed weights; elements, where they are bf16
};

/// What a panel is to a kernel.
struct PanelForm {
  int64_t vectors = 1;         // blocks of outputs
  bool whole_blocks = false;   // room for all channels of a block, also where fewer exist
  int64_t block = kBlock;      // channels of a block
};

/// Groups are merged until they fill whole blocks of channels (block-diagonal weights), so any group size will do.
Panels panels_of(const Channels&, int64_t taps, const PanelForm&);

/// Arguments of the direct kernel without operands, the arrays they point to, and the launch.
struct Conv2dPlan {
  Conv2d args{};
  Panels panels;
  std::vector<int64_t> tap_offsets, row_phases, col_phases;
  int64_t tasks = 0;
  size_t scratch = 0;
};

/// A 1x1 convolution that adds to a forward grid's sums, from pictures [pictures, channels, in_height, in_width].
struct GridShortcut {
  int64_t channels = 0;  // 0: there is none
  int64_t in_height = 0, in_width = 0, stride_y = 1, stride_x = 1;
};

/// Operands of one grid: pictures [pictures, channels.in, in_height, in_width] → planes of out_height × out_width.
struct GridProblem {
  Grid grid;
  Channels channels;
  int64_t pictures = 0, in_height = 0, in_width = 0, out_height = 0, out_width = 0;
  int64_t weights_offset = 0;  // of this grid in the packed value
  GridShortcut shortcut;
};

/// What a kernel computes at a time, and how much of it is a task.
struct Conv2dTiling {
  PanelForm panel;
  int64_t tile_pixels = 1;  // most grid points of a tile
  int64_t band_bytes = 0;   // bands of a task: well within a second-level cache
  int64_t task_work = 0;    // multiplications of a task: about 0.1 ms
  int64_t tasks_of_thread = 1;
  /// Cost of a tile of so many points, in units of its own.
  double (*tile_cost)(double points, int64_t vectors) = nullptr;
  int64_t parts = 1;        // lines of a pixel in a band; more than one are made while it is copied
};
Conv2dTiling direct_tiling(const Conv2dKernels&);
extern const Conv2dTiling kBf16Tiling, kSplitTiling;

/// Sets everything but operands; scratch holds the bands alone.
std::shared_ptr<Conv2dPlan> plan_grid(const GridProblem&, const Conv2dTiling&, int threads);

inline int64_t blocks_of(int64_t channels, int64_t block = kBlock) { return (channels + block - 1) / block; }

}  // namespace thaw
