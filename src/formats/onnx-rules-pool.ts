/** Pools, reductions and dropout. */
import type { Call } from './onnx-import.js';
import type { Rule } from './onnx-rules.js';
import { axisOf } from './onnx-shape.js';
import type { Dim } from './onnx-shape.js';
import { windowOf, windowSizes } from './onnx-windows.js';

function pool(call: Call, op: 'max_pool' | 'average_pool'): void {
  const x = call.x(0);
  if (call.node.outputs[1]) throw call.lacking('indices as a second output');
  const window = windowOf(call, x.shape, call.ints('kernel_shape'));
  const { kernel, stride, padding, dilation, ceil } = window;
  const max = op === 'max_pool';
  if (!max && dilation.some((step) => step !== 1)) throw call.lacking('dilations');
  const attrs = {
    kernel,
    stride,
    padding,
    ceil_mode: ceil || undefined,
    dilation: max ? dilation : undefined,
    count_include_pad: max ? undefined : call.int('count_include_pad', 0) === 1,
  };
  call.out(call.emit(op, [x], attrs, [...x.shape.slice(0, 2), ...windowSizes(call, x.shape, window)]));
}

function globalPool(call: Call, op: 'global_average_pool' | 'global_max_pool'): void {
  const x = call.x(0);
  if (x.shape.length !== 4) throw call.lacking('only pictures [N, C, H, W] are supported');
  call.out(call.emit(op, [x], {}, [...x.shape.slice(0, 2), 1, 1]));
}

/** Axes: an attribute, or (ReduceSum since opset 13, the others since 18) an operand; none: all. */
function reduce(call: Call, kind: 'sum' | 'mean' | 'max'): void {
  const x = call.x(0);
  const rank = x.shape.length;
  const given = call.has(1) ? call.numbers(1, 'axes') : call.ints('axes');
  if (!given?.length && call.int('noop_with_empty_axes', 0)) return call.out(x);
  const axes = (given?.length ? given : x.shape.map((_, i) => i))
    .map((axis) => axisOf(axis, rank))
    .sort((a, b) => a - b);
  const keep = call.int('keepdims', 1) === 1;
  const shape = x.shape.flatMap((size, i): Dim[] => (axes.includes(i) ? (keep ? [1] : []) : [size]));
  const picture = rank === 4 && keep && axes.join() === '2,3';
  if (picture && kind !== 'sum')
    return call.out(call.emit(`global_${kind === 'mean' ? 'average' : 'max'}_pool`, [x], {}, shape));
  call.out(call.emit('reduce', [x], { kind, axes, keepdims: keep }, shape));
}

/** `ratio` is an attribute before opset 12, then an operand. A node that drops in inference too is not read. */
function dropout(call: Call): void {
  const x = call.x(0);
  const p = call.opset < 12 ? call.float('ratio', 0.5) : (call.numbers(1, 'a ratio')?.[0] ?? 0.5);
  const training = call.opset >= 12 && call.numbers(2, 'a mode')?.[0];
  if (training && p > 0) throw call.lacking('training mode: export the network for inference');
  call.out(p > 0 && p < 1 ? call.emit('dropout', [x], { p }, x.shape) : x);
}

export const poolRules: Record<string, Rule> = {
  MaxPool: (call) => pool(call, 'max_pool'),
  AveragePool: (call) => pool(call, 'average_pool'),
  GlobalAveragePool: (call) => globalPool(call, 'global_average_pool'),
  GlobalMaxPool: (call) => globalPool(call, 'global_max_pool'),
  ReduceMean: (call) => reduce(call, 'mean'),
  ReduceSum: (call) => reduce(call, 'sum'),
  ReduceMax: (call) => reduce(call, 'max'),
  Dropout: dropout,
};
