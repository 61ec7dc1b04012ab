/** How each operator of thaw's is said in layers of Keras that TensorFlow.js has. */
import type { NodeDescription } from '../graph/types.js';
import type { TfjsWriter } from './tfjs-writer.js';

type TfjsRule = (w: TfjsWriter, node: NodeDescription) => void;

const ints = (node: NodeDescription, name: string, usual: number[]): number[] =>
  (node.attrs?.[name] as number[] | undefined) ?? usual;
const number = (node: NodeDescription, name: string, usual: number): number =>
  (node.attrs?.[name] as number | undefined) ?? usual;
const isPicture = (w: TfjsWriter, value: string | null | undefined): boolean => w.shape(value).length === 4;

/** Zeros around a picture: [top, left, bottom, right]. */
function padded(w: TfjsWriter, node: NodeDescription, input: string, [top, left, bottom, right]: number[]): string {
  if (!top && !left && !bottom && !right) return input;
  const padding = [
    [top, bottom],
    [left, right],
  ];
  return w.layer(node, 'ZeroPadding2D', [input], { padding, data_format: 'channels_last' }, 'pad');
}

function conv2d(w: TfjsWriter, node: NodeDescription): void {
  const [out, , ...kernel] = w.shape(node.inputs[1]) as [number, number, number, number];
  const inputs = w.shape(node.inputs[0])[1]!;
  const groups = number(node, 'groups', 1);
  if (groups !== 1 && groups !== inputs) throw w.lacking(node, `a convolution of ${groups} groups`);
  const stride = ints(node, 'stride', [1, 1]);
  const dilation = ints(node, 'dilation', [1, 1]);
  if (dilation.some((d) => d > 1) && stride.some((s) => s > 1)) throw w.lacking(node, 'strides and dilations at once');
  const x = padded(w, node, w.operand(node), ints(node, 'padding', [0, 0, 0, 0]));
  const depthwise = groups === inputs && groups > 1;
  const use_bias = Boolean(node.inputs[2]);
  const sizes = depthwise ? { depth_multiplier: out / inputs } : { filters: out };
  const layer = w.layer(node, depthwise ? 'DepthwiseConv2D' : 'Conv2D', [x], {
    ...sizes,
    kernel_size: kernel,
    strides: stride,
    dilation_rate: dilation,
    padding: 'valid',
    data_format: 'channels_last',
    activation: 'linear',
    use_bias,
  });
  if (depthwise) w.weight(layer, 'depthwise_kernel', node, 1, [2, 3, 0, 1], [inputs, out / inputs, ...kernel]);
  else w.weight(layer, 'kernel', node, 1, [2, 3, 1, 0]);
  if (use_bias) w.weight(layer, 'bias', node, 2, [0]);
  w.is(node, layer);
}

function linear(w: TfjsWriter, node: NodeDescription): void {
  const use_bias = Boolean(node.inputs[2]);
  if (w.shape(node.inputs[0]).length !== 2) throw w.lacking(node, 'a linear layer on more than one dimension');
  const units = w.shape(node.inputs[1])[0]!;
  const layer = w.layer(node, 'Dense', [w.operand(node)], { units, activation: 'linear', use_bias });
  w.weight(layer, 'kernel', node, 1, [1, 0]);
  if (use_bias) w.weight(layer, 'bias', node, 2, [0]);
  w.is(node, layer);
}

function batchNorm(w: TfjsWriter, node: NodeDescription): void {
  const [scale, center] = [Boolean(node.inputs[1]), Boolean(node.inputs[2])];
  const config = { axis: -1, epsilon: number(node, 'eps', 1e-5), scale, center };
  const layer = w.layer(node, 'BatchNormalization', [w.operand(node)], config);
  if (scale) w.weight(layer, 'gamma', node, 1, [0]);
  if (center) w.weight(layer, 'beta', node, 2, [0]);
  w.weight(layer, 'moving_mean', node, 3, [0]);
  w.weight(layer, 'moving_variance', node, 4, [0]);
  w.is(node, layer);
}

/** A layer of its own for one operator. */
const plain =
  (kind: string, config: (node: NodeDescription) => Record<string, unknown> = () => ({}), positive = false): TfjsRule =>
  (w, node) =>
    w.is(node, w.layer(node, kind, [w.operand(node)], config(node)), positive);

const activation = (name: string, positive = false): TfjsRule =>
  plain('Activation', () => ({ activation: name }), positive);

/** min(max(x + 3, 0), 6) / 6. Keras' hard sigmoid has another slope. */
function hardSigmoidOf(w: TfjsWriter, node: NodeDescription, step: string): string {
  const channels = w.shape(node.inputs[0])[1]!;
  const above = w.affine(node, w.operand(node), channels, 1, 3, 'above');
  const clipped = w.layer(node, 'ReLU', [above], { max_value: 6 }, 'clip');
  return w.affine(node, clipped, channels, 1 / 6, 0, step);
}

function hardSwish(w: TfjsWriter, node: NodeDescription): void {
  w.is(node, w.layer(node, 'Multiply', [w.operand(node), hardSigmoidOf(w, node, 'gate')]));
}

function silu(w: TfjsWriter, node: NodeDescription): void {
  const gate = w.layer(node, 'Activation', [w.operand(node)], { activation: 'sigmoid' }, 'gate');
  w.is(node, w.layer(node, 'Multiply', [w.operand(node), gate]));
}

function scale(w: TfjsWriter, node: NodeDescription): void {
  if (node.inputs[1]) throw w.lacking(node, 'a factor that is computed');
  w.is(node, w.affine(node, w.operand(node), w.shape(node.inputs[0])[1]!, number(node, 'factor', 1), 0));
}

/** Of two values: Keras broadcasts a map of one pixel over a picture. */
const merge =
  (kind: string): TfjsRule =>
  (w, node) => {
    const layers = node.inputs.map((_, i) => w.operand(node, i));
    const positive = node.inputs.every((value) => w.isPositive(value));
    w.is(node, w.layer(node, kind, layers), positive);
  };

function concat(w: TfjsWriter, node: NodeDescription): void {
  if (number(node, 'axis', 1) !== 1) throw w.lacking(node, `concat along axis ${number(node, 'axis', 1)}`);
  const layers = node.inputs.map((_, i) => w.operand(node, i));
  const positive = node.inputs.every((value) => w.isPositive(value));
  w.is(node, w.layer(node, 'Concatenate', layers, { axis: -1 }), positive);
}

/** What a window with ceil_mode reaches beyond the padding, below and to the right. */
function beyond(w: TfjsWriter, node: NodeDescription, kernel: number[], stride: number[], padding: number[]): number[] {
  const [from, to] = [w.shape(node.inputs[0]).slice(2), w.shape(node.name).slice(2)];
  const more = [0, 1].map((axis) => {
    const used = (to[axis]! - 1) * stride[axis]! + kernel[axis]!;
    return Math.max(0, used - from[axis]! - padding[axis]! - padding[axis + 2]!);
  });
  if (more.some((size) => size > 0)) w.fixedSize = true;
  return more;
}

function pool(w: TfjsWriter, node: NodeDescription): void {
  const max = node.op === 'max_pool';
  const kernel = ints(node, 'kernel', []);
  const stride = ints(node, 'stride', kernel);
  const padding = ints(node, 'padding', [0, 0, 0, 0]);
  if (ints(node, 'dilation', [1, 1]).some((step) => step !== 1)) throw w.lacking(node, 'a dilated pool');
  const [below, right] = beyond(w, node, kernel, stride, padding) as [number, number];
  const around = [padding[0]!, padding[1]!, padding[2]! + below, padding[3]! + right];
  const bare = around.every((size) => size === 0);
  // Keras pads with zeros, thaw with minus infinity: the same where nothing is below zero.
  if (max && !bare && !w.isPositive(node.inputs[0]))
    throw w.lacking(node, 'a maximum with padding over numbers that may be below zero');
  if (!max && (below > 0 || right > 0 || (!bare && node.attrs?.['count_include_pad'] === false)))
    throw w.lacking(node, 'a mean over windows of unequal size');
  const x = padded(w, node, w.operand(node), around);
  const config = { pool_size: kernel, strides: stride, padding: 'valid', data_format: 'channels_last' };
  const layer = w.layer(node, max ? 'MaxPooling2D' : 'AveragePooling2D', [x], config);
  w.is(node, layer, w.isPositive(node.inputs[0]));
}

/** [N, C, H, W] → [N, C, 1, 1], in Keras [N, 1, 1, C]. */
const globalPool =
  (kind: string): TfjsRule =>
  (w, node) => {
    const pooled = w.layer(node, kind, [w.operand(node)], { data_format: 'channels_last' }, 'pooled');
    const target_shape = [1, 1, w.shape(node.inputs[0])[1]!];
    w.is(node, w.layer(node, 'Reshape', [pooled], { target_shape }), w.isPositive(node.inputs[0]));
  };

function adaptiveAveragePool(w: TfjsWriter, node: NodeDescription): void {
  const size = ints(node, 'output_size', []);
  if (size.every((side) => side === 1)) return globalPool('GlobalAveragePooling2D')(w, node);
  const from = w.shape(node.inputs[0]).slice(2);
  const kernel = from.map((side, i) => side / size[i]!);
  if (!kernel.every(Number.isInteger)) throw w.lacking(node, `an adaptive pool from [${from}] to [${size}]`);
  w.fixedSize = true;
  const config = { pool_size: kernel, strides: kernel, padding: 'valid', data_format: 'channels_last' };
  w.is(node, w.layer(node, 'AveragePooling2D', [w.operand(node)], config));
}

/** The mean over the picture is a global pool; nothing else has a layer. */
function reduce(w: TfjsWriter, node: NodeDescription): void {
  const kind = { mean: 'GlobalAveragePooling2D', max: 'GlobalMaxPooling2D' }[node.attrs?.['kind'] as string];
  const overPicture = isPicture(w, node.inputs[0]) && String(ints(node, 'axes', [])) === '2,3';
  if (!kind || !overPicture) throw w.lacking(node, `${node.attrs?.['kind']} over axes [${ints(node, 'axes', [])}]`);
  if (node.attrs?.['keepdims'] === true) return globalPool(kind)(w, node);
  w.is(node, w.layer(node, kind, [w.operand(node)], { data_format: 'channels_last' }));
}

/** Numbers in thaw's order, a channel after the other: a picture of more than one pixel is turned first. */
function flatten(w: TfjsWriter, node: NodeDescription): void {
  const shape = w.shape(node.inputs[0]);
  if (number(node, 'start', 1) !== 1) throw w.lacking(node, `flatten from dimension ${number(node, 'start', 1)} on`);
  let x = w.operand(node);
  if (isPicture(w, node.inputs[0]) && shape[2]! * shape[3]! > 1) {
    x = w.layer(node, 'Permute', [x], { dims: [3, 1, 2] }, 'turned');
    w.fixedSize = true;
  }
  w.is(node, w.layer(node, 'Flatten', [x]));
}

/** Zeros around a picture, and channels of zeros. */
function pad(w: TfjsWriter, node: NodeDescription): void {
  const pads = ints(node, 'pads', []);
  const sound = pads.length === 8 && pads[0] === 0 && pads[4] === 0 && number(node, 'value', 0) === 0;
  if (!sound) throw w.lacking(node, `pads [${pads}] of ${number(node, 'value', 0)}`);
  const channels = w.shape(node.inputs[0])[1]!;
  let x = padded(w, node, w.operand(node), [pads[2]!, pads[3]!, pads[6]!, pads[7]!]);
  if (pads[1]! + pads[5]! > 0) {
    const zeros = (count: number): null[] => Array<null>(count).fill(null);
    const picks = [...zeros(pads[1]!), ...Array.from({ length: channels }, (_, i) => i), ...zeros(pads[5]!)];
    x = w.picked(node, x, channels, picks);
  }
  w.is(node, x, w.isPositive(node.inputs[0]));
}

/** Of rows or columns a cropped picture, every so manieth pixel of which is a pool of one; of channels those picked. */
function slice(w: TfjsWriter, node: NodeDescription): void {
  const shape = w.shape(node.inputs[0]);
  const axis = number(node, 'axis', 0);
  if (shape.length !== 4 || axis === 0) throw w.lacking(node, `a slice of axis ${axis} of ${shape.length}`);
  const size = shape[axis]!;
  const within = (i: number): number => Math.max(0, Math.min(size, i < 0 ? i + size : i));
  const [start, end, step] = [
    within(number(node, 'start', 0)),
    within(number(node, 'end', size)),
    number(node, 'step', 1),
  ];
  const positive = w.isPositive(node.inputs[0]);
  if (axis === 1) {
    const picks = Array.from({ length: Math.ceil((end - start) / step) }, (_, i) => start + i * step);
    return w.is(node, w.picked(node, w.operand(node), size, picks), positive);
  }
  const along = <T>(value: T, other: T): T[] => (axis === 2 ? [value, other] : [other, value]);
  let x = w.operand(node);
  if (start > 0 || end < size) {
    w.fixedSize = true;
    const cropping = along([start, size - end], [0, 0]);
    x = w.layer(node, 'Cropping2D', [x], { cropping, data_format: 'channels_last' }, 'crop');
  }
  if (step > 1) {
    const config = { pool_size: [1, 1], strides: along(step, 1), padding: 'valid', data_format: 'channels_last' };
    x = w.layer(node, 'MaxPooling2D', [x], config);
  }
  w.is(node, x, positive);
}

function softmax(w: TfjsWriter, node: NodeDescription): void {
  const rank = w.shape(node.inputs[0]).length;
  if (rank !== 2 || ![-1, 1].includes(number(node, 'axis', -1))) throw w.lacking(node, 'softmax over a picture');
  w.is(node, w.layer(node, 'Softmax', [w.operand(node)], { axis: -1 }));
}

export const TFJS_EXPORTS: Record<string, TfjsRule> = {
  conv2d,
  linear,
  batch_norm: batchNorm,
  relu: plain('ReLU', () => ({}), true),
  relu6: plain('ReLU', () => ({ max_value: 6 }), true),
  leaky_relu: plain('LeakyReLU', (node) => ({ alpha: number(node, 'alpha', 0.01) })),
  hard_sigmoid: (w, node) => w.is(node, hardSigmoidOf(w, node, '')),
  hard_swish: hardSwish,
  silu,
  sigmoid: activation('sigmoid', true),
  tanh: activation('tanh'),
  add: merge('Add'),
  multiply: merge('Multiply'),
  scale,
  max_pool: pool,
  average_pool: pool,
  adaptive_average_pool: adaptiveAveragePool,
  global_average_pool: globalPool('GlobalAveragePooling2D'),
  global_max_pool: globalPool('GlobalMaxPooling2D'),
  reduce,
  flatten,
  pad,
  slice,
  concat,
  softmax,
  dropout: (w, node) => w.is(node, w.operand(node), w.isPositive(node.inputs[0])),
};
