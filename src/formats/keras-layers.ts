/** Keras' layers with weights, and activations, as nodes of a graph. Source: keras.io, "Layers API". */
import { isObject } from './keras-config.js';
import type { LayerContext, LayerRule } from './keras-context.js';
import { number, pair, picture, size, windowOf, type KerasValue, type Window } from './keras-shape.js';

const ONES = { kind: 'ones' } as const;
const ZEROS = { kind: 'zeros' } as const;

/** An activation by its name in a layer's config; the node bears `name`. */
export function activation(c: LayerContext, x: KerasValue, given: unknown, name: string): KerasValue {
  const { g } = c;
  const kind = isObject(given) ? (given.class_name ?? given.name) : given;
  const node = (value: string): KerasValue => ({ ...x, value });
  switch (typeof kind === 'string' ? kind.toLowerCase() : kind) {
    case undefined:
    case null:
    case 'linear':
      return x;
    case 'relu':
      return node(g.relu(name, x.value));
    case 'relu6':
      return node(g.relu6(name, x.value));
    case 'sigmoid':
      return node(g.sigmoid(name, x.value));
    case 'tanh':
      return node(g.tanh(name, x.value));
    case 'swish':
    case 'silu':
      return node(g.silu(name, x.value));
    case 'gelu':
      return node(g.gelu(name, x.value));
    case 'softmax':
      return node(g.softmax(name, x.value, x.shape.length === 3 ? 1 : -1));
    case 'leaky_relu':
      return node(g.leakyRelu(name, x.value, { alpha: 0.2 }));
    case 'hard_sigmoid':
      // Before Keras 3 its slope was 0.2.
      if (c.all.kerasMajor >= 3) return node(g.hardSigmoid(name, x.value));
      break;
    case 'hard_swish':
    case 'hard_silu':
      return node(g.hardSwish(name, x.value));
  }
  throw c.unsupported(`activation ${JSON.stringify(kind)?.slice(0, 80)}`);
}

/** The value of a layer, and its own activation after it. */
function activated(c: LayerContext, x: KerasValue): KerasValue {
  return activation(c, x, c.config.activation, `${c.name}.activation`);
}

const conv2d: LayerRule = (c, [x]) => {
  const { config, where } = c;
  const [h, w, channels] = picture(x!, where);
  const filters = size(config, 'filters', where);
  const groups = config.groups === undefined ? 1 : size(config, 'groups', where);
  if (channels % groups !== 0 || filters % groups !== 0)
    throw c.unsupported(`${groups} groups of ${channels} channels`);
  const window = windowOf([h, w], pair(config, 'kernel_size', [1, 1], where), config, where);
  const shape = [...window.kernel, channels / groups, filters];
  const weight = c.parameter('weight', 'kernel', shape, [3, 2, 0, 1]);
  const value = c.g.conv2d(c.name, x!.value, { weight, bias: c.bias(filters), groups, ...geometry(window) });
  return activated(c, { value, shape: [...window.out, filters] });
};

const geometry = ({ stride, padding, dilation }: Window) => ({ stride, padding, dilation });

const depthwiseConv2d: LayerRule = (c, [x]) => {
  const { config, where } = c;
  const [h, w, channels] = picture(x!, where);
  const multiplier = config.depth_multiplier === undefined ? 1 : size(config, 'depth_multiplier', where);
  const window = windowOf([h, w], pair(config, 'kernel_size', [1, 1], where), config, where);
  const out = channels * multiplier;
  const weight = depthwiseWeight(c, 'weight', window, channels, multiplier);
  const value = c.g.conv2d(c.name, x!.value, { weight, bias: c.bias(out), groups: channels, ...geometry(window) });
  return activated(c, { value, shape: [...window.out, out] });
};

/** [kh, kw, channels, multiplier] → [channels · multiplier, 1, kh, kw]. */
function depthwiseWeight(c: LayerContext, suffix: string, { kernel }: Window, channels: number, times: number): string {
  const options = { view: [...kernel, channels * times, 1], also: 'kernel' };
  return c.parameter(suffix, 'depthwise_kernel', [...kernel, channels, times], [2, 3, 0, 1], options);
}

const separableConv2d: LayerRule = (c, [x]) => {
  const { config, where } = c;
  const [h, w, channels] = picture(x!, where);
  const filters = size(config, 'filters', where);
  const multiplier = config.depth_multiplier === undefined ? 1 : size(config, 'depth_multiplier', where);
  const window = windowOf([h, w], pair(config, 'kernel_size', [1, 1], where), config, where);
  const depth = depthwiseWeight(c, 'depthwise.weight', window, channels, multiplier);
  const between = c.g.conv2d(`${c.name}.depthwise`, x!.value, { weight: depth, groups: channels, ...geometry(window) });
  const shape = [1, 1, channels * multiplier, filters];
  const weight = c.parameter('weight', 'pointwise_kernel', shape, [3, 2, 0, 1]);
  const value = c.g.conv2d(c.name, between, { weight, bias: c.bias(filters) });
  return activated(c, { value, shape: [...window.out, filters] });
};

const dense: LayerRule = (c, [x]) => {
  const units = size(c.config, 'units', c.where);
  const inputs = x!.shape.at(-1);
  if (inputs === null || inputs === undefined) throw c.unsupported('features whose number is not known');
  const weight = c.parameter('weight', 'kernel', [inputs, units], [1, 0]);
  const shape = [...x!.shape.slice(0, -1), units];
  const options = { weight, bias: c.bias(units) };
  if (shape.length !== 3) return activated(c, { value: c.g.linear(c.name, x!.value, options), shape });
  // On a picture the layer works on the channels, which lie last in Keras.
  const last = c.g.transpose(`${c.name}.channels_last`, x!.value, [0, 2, 3, 1]);
  const linear = c.g.linear(c.name, last, options);
  return activated(c, { value: c.g.transpose(`${c.name}.channels_first`, linear, [0, 3, 1, 2]), shape });
};

const batchNormalization: LayerRule = (c, [x]) => {
  const { config, where } = c;
  checkAxis(c, x!);
  const channels = x!.shape.at(-1);
  if (typeof channels !== 'number') throw c.unsupported('channels whose number is not known');
  const take = (suffix: string, variable: string, init: typeof ONES | typeof ZEROS, state = false): string =>
    c.parameter(suffix, variable, [channels], [0], { init, state });
  const operands = [
    x!.value,
    c.on('scale') ? take('weight', 'gamma', ONES) : null,
    c.on('center') ? take('bias', 'beta', ZEROS) : null,
    take('running_mean', 'moving_mean', ZEROS, true),
    take('running_var', 'moving_variance', ONES, true),
  ];
  const eps = number(config, 'epsilon', 1e-3, where);
  // Keras says what is kept of the old statistics, PyTorch what is taken of the new.
  const momentum = Number((1 - number(config, 'momentum', 0.99, where)).toFixed(12));
  return { ...x!, value: c.g.node(c.name, 'batch_norm', operands, { eps, momentum }) };
};

function checkAxis(c: LayerContext, x: KerasValue): void {
  const axis: unknown = Array.isArray(c.config.axis) ? c.config.axis[0] : (c.config.axis ?? -1);
  const rank = x.shape.length;
  const channels = rank === 3 && c.all.channelsFirst ? [1, -3] : [-1, rank];
  if (!channels.includes(axis as number)) throw c.unsupported(`${c.kind} over axis ${JSON.stringify(axis)}`);
}

const relu: LayerRule = (c, [x]) => {
  const { config, where } = c;
  const alpha = number(config, 'negative_slope', 0, where);
  const top = config.max_value ?? null;
  if (number(config, 'threshold', 0, where) !== 0) throw c.unsupported('ReLU with a threshold');
  if (top === 6 && alpha === 0) return { ...x!, value: c.g.relu6(c.name, x!.value) };
  if (top !== null) throw c.unsupported(`ReLU with a maximum of ${JSON.stringify(top)}`);
  return { ...x!, value: alpha === 0 ? c.g.relu(c.name, x!.value) : c.g.leakyRelu(c.name, x!.value, { alpha }) };
};

const leakyRelu: LayerRule = (c, [x]) => {
  const key = c.config.negative_slope === undefined ? 'alpha' : 'negative_slope';
  return { ...x!, value: c.g.leakyRelu(c.name, x!.value, { alpha: number(c.config, key, 0.3, c.where) }) };
};

export const WEIGHTED: Readonly<Record<string, LayerRule>> = {
  Activation: (c, [x]) => activation(c, x!, c.config.activation, c.name),
  BatchNormalization: batchNormalization,
  Conv2D: conv2d,
  Convolution2D: conv2d,
  Dense: dense,
  DepthwiseConv2D: depthwiseConv2d,
  LeakyReLU: leakyRelu,
  ReLU: relu,
  SeparableConv2D: separableConv2d,
  Softmax: (c, [x]) => activation(c, x!, 'softmax', c.name),
};
