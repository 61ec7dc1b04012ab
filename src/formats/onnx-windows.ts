/** Windows of convolutions and pools: ONNX's attributes as thaw's, and output sizes. */
import { inputSizeUnknown, paddingDepends } from './input-size.js';
import type { Call } from './onnx-import.js';
import type { Dim } from './onnx-shape.js';

export interface Window {
  kernel: number[];
  stride: number[];
  dilation: number[];
  /** top, left, bottom, right */
  padding: number[];
  ceil: boolean;
}

/** Attributes kernel_shape (or the weight's sizes), strides, dilations, pads, auto_pad, ceil_mode over a picture. */
export function windowOf(call: Call, x: readonly Dim[], kernel: number[] | undefined): Window {
  if (x.length !== 4 || kernel?.length !== 2) throw call.lacking('only pictures [N, C, H, W] are supported');
  const window: Window = {
    kernel,
    stride: call.ints('strides') ?? [1, 1],
    dilation: call.ints('dilations') ?? [1, 1],
    padding: call.ints('pads') ?? [0, 0, 0, 0],
    ceil: call.int('ceil_mode', 0) === 1,
  };
  const auto = call.string('auto_pad', 'NOTSET');
  if (auto === 'VALID') window.padding = [0, 0, 0, 0];
  else if (auto !== 'NOTSET' && auto !== '') window.padding = samePadding(call, x, window, auto);
  const sound = window.stride.length === 2 && window.dilation.length === 2 && window.padding.length === 4;
  if (!sound || window.padding.some((p) => p < 0)) throw call.lacking('padding below zero');
  return window;
}

/** TensorFlow's `same`: ceil(size / stride) windows; an odd pixel goes below and right (SAME_UPPER) or above and left. */
function samePadding(call: Call, x: readonly Dim[], { kernel, stride, dilation }: Window, auto: string): number[] {
  const sides = [0, 1].map((axis) => {
    const [size, step] = [x[axis + 2]!, stride[axis]!];
    const reach = (kernel[axis]! - 1) * dilation[axis]! + 1;
    if (typeof size !== 'number' && paddingDepends(reach, step))
      throw call.importer.open ? inputSizeUnknown(call.where) : call.lacking('auto_pad SAME for a picture of any size');
    const total = typeof size === 'number' ? (Math.ceil(size / step) - 1) * step + reach - size : reach - 1;
    const [less, more] = [Math.floor(Math.max(0, total) / 2), Math.ceil(Math.max(0, total) / 2)];
    return auto === 'SAME_LOWER' ? [more, less] : [less, more];
  });
  return [sides[0]![0]!, sides[1]![0]!, sides[0]![1]!, sides[1]![1]!];
}

/** Height and width after the window. */
export function windowSizes(call: Call, x: readonly Dim[], w: Window): Dim[] {
  return [0, 1].map((axis) => {
    const size = x[axis + 2]!;
    const reach = w.dilation[axis]! * (w.kernel[axis]! - 1) + 1;
    const around = w.padding[axis]! + w.padding[axis + 2]!;
    if (typeof size !== 'number') return w.stride[axis] === 1 && around === reach - 1 ? size : call.unknown();
    const room = (size + around - reach) / w.stride[axis]!;
    if (!w.ceil) return Math.floor(room) + 1;
    const count = Math.ceil(room) + 1;
    return (count - 1) * w.stride[axis]! >= size + w.padding[axis]! ? count - 1 : count;
  });
}
