import { expected } from '../errors.js';
import type {
  Attribute,
  GraphDescription,
  GraphDType,
  Initialiser,
  InputDescription,
  NodeDescription,
  ParameterDescription,
  StateDescription,
} from './types.js';

/** One number for both directions, or [vertical, horizontal]. */
export type Pair = number | [number, number];

/** Padding in pixels: one number for all sides, [vertical, horizontal], or [top, left, bottom, right]. */
export type Padding = number | [number, number] | [number, number, number, number];

/** How new weights and biases start; without a word as in PyTorch's layer of that kind. */
export interface LayerInit {
  weightInit?: Initialiser | undefined;
  biasInit?: Initialiser | undefined;
}

/** A convolution with parameters of its own: `<name>.weight` [out, in / groups, kh, kw] and `<name>.bias` [out]. */
export interface Conv2dSizes extends LayerInit {
  in: number;
  out: number;
  kernel: Pair;
  /** Default true. */
  bias?: boolean | undefined;
}

/** Names of values that take the parameters' place: tied or computed weights. */
export interface GivenWeights {
  weight: string;
  bias?: string | undefined;
}

/** Stride 1, padding 0, dilation 1 and groups 1 where nothing is said. */
export interface Conv2dGeometry {
  stride?: Pair | undefined;
  padding?: Padding | undefined;
  dilation?: Pair | undefined;
  groups?: number | undefined;
}

/** Geometry of a convolution, and its parameters: sizes of new ones, or values by name. */
export type Conv2dOptions = Conv2dGeometry & (Conv2dSizes | GivenWeights);

/** A linear layer with parameters of its own: `<name>.weight` [out, in], `<name>.bias` [out] unless bias is false. */
export interface LinearSizes extends LayerInit {
  in: number;
  out: number;
  bias?: boolean | undefined;
}

/** Options of `GraphBuilder.batchNorm`. */
export interface BatchNormOptions {
  /** Default 1e-5. */
  eps?: number | undefined;
  /** Share of the new batch in the running statistics; default 0.1. */
  momentum?: number | undefined;
  /** Weight and bias; default true. */
  affine?: boolean | undefined;
}

/** Window of a pool. */
export interface PoolOptions {
  kernel: Pair;
  /** Default: the kernel. */
  stride?: Pair | undefined;
  /** Default 0. */
  padding?: Padding | undefined;
  /** Default false: the last window that does not fit is left out. */
  ceilMode?: boolean | undefined;
}

/** The first layers' default in PyTorch: uniform, bound 1 / sqrt(fan in). */
const LAYER_WEIGHT: Initialiser = { kind: 'kaimingUniform', fan: 'in', gain: Math.sqrt(1 / 3) };
const ZEROS: Initialiser = { kind: 'zeros' };
const ONES: Initialiser = { kind: 'ones' };

const pair = (p: Pair): [number, number] => (typeof p === 'number' ? [p, p] : p);

function sides(p: Padding): number[] {
  if (typeof p === 'number') return [p, p, p, p];
  return p.length === 2 ? [p[0], p[1], p[0], p[1]] : p;
}

function given<T>(value: T | undefined, form: (value: T) => Attribute): Attribute | undefined {
  return value === undefined ? undefined : form(value);
}

/**
 * Writes a graph description, one method an operator (named as in the catalogue, in camel case). The first argument is
 * the node's name, which is also the name of the value returned. Layers with parameters declare them as
 * `<name>.weight` and so on, with PyTorch's shapes and starting values, so that checkpoints fit. Shapes and attributes
 * are checked where they are known: when the network is compiled.
 *
 * ```ts
 * const g = new GraphBuilder();
 * const image = g.input('image', 'f32', ['N', 3, 'H', 'W']);
 * const body = g.relu('relu1', g.conv2d('conv1', image, { in: 3, out: 16, kernel: 3, padding: 1 }));
 * const pooled = g.flatten('flatten', g.globalAveragePool('pool', body));
 * const graph = g.build([g.linear('fc', pooled, { in: 16, out: 10 })]);
 * ```
 */
export class GraphBuilder {
  readonly #inputs: InputDescription[] = [];
  readonly #parameters: ParameterDescription[] = [];
  readonly #states: StateDescription[] = [];
  readonly #nodes: NodeDescription[] = [];
  readonly #losses: { value: string; weight: number }[] = [];

  /** Declares an input. Dimensions are numbers or symbols: ['N', 3, 'H', 'W']. */
  input(name: string, dtype: GraphDType, shape: (number | string)[]): string {
    this.#inputs.push({ name, dtype, shape });
    return name;
  }

  /** Declares a tensor that training may change; default start: zeros. Its name may be read by any number of nodes. */
  parameter(name: string, shape: number[], init: Initialiser = ZEROS, dtype: GraphDType = 'f32'): string {
    this.#parameters.push({ name, shape, dtype, init });
    return name;
  }

  /** Declares a tensor that a run may rewrite; `carry` names the value that replaces it. */
  state(name: string, shape: number[], init: Initialiser = ZEROS, dtype: GraphDType = 'f32'): string {
    this.#states.push({ name, shape, dtype, init });
    return name;
  }

  /**
   * After each successful training step `value` replaces `state` (a recurrent layer's hidden state).
   * Throws ERR_GRAPH where no such state is declared.
   */
  carry(state: string, value: string): void {
    const declared = this.#states.find((s) => s.name === state);
    if (!declared) throw expected('ERR_GRAPH', 'the name of a declared state', 'carry', state);
    declared.update = value;
  }

  /** Adds any node of the catalogue; further outputs are `<name>:1`, `<name>:2`. Undefined attributes are dropped. */
  node(name: string, op: string, inputs: (string | null)[], attrs: Record<string, Attribute | undefined> = {}): string {
    const set = Object.entries(attrs).filter((e): e is [string, Attribute] => e[1] !== undefined);
    const operands = [...inputs];
    while (operands.length > 0 && operands.at(-1) === null) operands.pop();
    this.#nodes.push({ name, op, inputs: operands, ...(set.length > 0 && { attrs: Object.fromEntries(set) }) });
    return name;
  }

  /** x [N, C, H, W] → [N, K, oh, ow]. */
  conv2d(name: string, x: string, options: Conv2dOptions): string {
    const [weight, bias] = 'weight' in options ? [options.weight, options.bias] : this.#conv2dParameters(name, options);
    return this.node(name, 'conv2d', [x, weight, bias ?? null], {
      stride: given(options.stride, pair),
      padding: given(options.padding, sides),
      dilation: given(options.dilation, pair),
      groups: options.groups,
    });
  }

  #conv2dParameters(name: string, o: Conv2dGeometry & Conv2dSizes): [string, string | undefined] {
    const [kh, kw] = pair(o.kernel);
    const perGroup = o.in / (o.groups ?? 1);
    const weight = this.parameter(`${name}.weight`, [o.out, perGroup, kh, kw], o.weightInit ?? LAYER_WEIGHT);
    return [weight, o.bias === false ? undefined : this.#layerBias(name, o, perGroup * kh * kw)];
  }

  #layerBias(name: string, o: { out: number } & LayerInit, fanIn: number): string {
    return this.parameter(`${name}.bias`, [o.out], o.biasInit ?? { kind: 'uniform', bound: 1 / Math.sqrt(fanIn) });
  }

  /** x […, in] → […, out]. */
  linear(name: string, x: string, options: LinearSizes | GivenWeights): string {
    if ('weight' in options) return this.node(name, 'linear', [x, options.weight, options.bias ?? null]);
    const weight = this.parameter(`${name}.weight`, [options.out, options.in], options.weightInit ?? LAYER_WEIGHT);
    const bias = options.bias === false ? null : this.#layerBias(name, options, options.in);
    return this.node(name, 'linear', [x, weight, bias]);
  }

  /** a […, M, K] times b […, K, N] → […, M, N]; leading dimensions broadcast. */
  matmul(name: string, a: string, b: string, o: { transposeA?: boolean; transposeB?: boolean } = {}): string {
    return this.node(name, 'matmul', [a, b], { transpose_a: o.transposeA, transpose_b: o.transposeB });
  }

  /** x [N, channels, …]; parameters weight and bias, states running_mean, running_var and num_batches_tracked (i64). */
  batchNorm(name: string, x: string, channels: number, options: BatchNormOptions = {}): string {
    const affine = options.affine !== false;
    const weight = affine ? this.parameter(`${name}.weight`, [channels], ONES) : null;
    const bias = affine ? this.parameter(`${name}.bias`, [channels], ZEROS) : null;
    const mean = this.state(`${name}.running_mean`, [channels], ZEROS);
    const variance = this.state(`${name}.running_var`, [channels], ONES);
    const tracked = this.state(`${name}.num_batches_tracked`, [], ZEROS, 'i64');
    const { eps, momentum } = options;
    return this.node(name, 'batch_norm', [x, weight, bias, mean, variance, tracked], { eps, momentum });
  }

  /** Normalises over the last dimensions, of sizes `shape`; weight and bias of that shape unless affine is false. */
  layerNorm(name: string, x: string, shape: number[], o: { eps?: number; affine?: boolean } = {}): string {
    const affine = o.affine !== false;
    const weight = affine ? this.parameter(`${name}.weight`, shape, ONES) : null;
    const bias = affine ? this.parameter(`${name}.bias`, shape, ZEROS) : null;
    return this.node(name, 'layer_norm', [x, weight, bias], { normalized_shape: shape, eps: o.eps });
  }

  /** x / (k + alpha / size · sum of squares over `size` neighbouring channels)^beta; alpha 1e-4, beta 0.75, k 1. */
  localResponseNorm(name: string, x: string, o: { size: number; alpha?: number; beta?: number; k?: number }): string {
    return this.node(name, 'local_response_norm', [x], { size: o.size, alpha: o.alpha, beta: o.beta, k: o.k });
  }

  /** max(x, 0). */
  relu = (name: string, x: string): string => this.node(name, 'relu', [x]);
  /** min(max(x, 0), 6). */
  relu6 = (name: string, x: string): string => this.node(name, 'relu6', [x]);
  /** Slope `alpha` (default 0.01) below zero. */
  leakyRelu = (name: string, x: string, o: { alpha?: number } = {}): string =>
    this.node(name, 'leaky_relu', [x], { alpha: o.alpha });
  /** x · min(max(x + 3, 0), 6) / 6. */
  hardSwish = (name: string, x: string): string => this.node(name, 'hard_swish', [x]);
  /** min(max(x + 3, 0), 6) / 6. */
  hardSigmoid = (name: string, x: string): string => this.node(name, 'hard_sigmoid', [x]);
  /** x · sigmoid(x). */
  silu = (name: string, x: string): string => this.node(name, 'silu', [x]);
  /** 1 / (1 + exp(-x)). */
  sigmoid = (name: string, x: string): string => this.node(name, 'sigmoid', [x]);
  /** Hyperbolic tangent. */
  tanh = (name: string, x: string): string => this.node(name, 'tanh', [x]);
  /** Exact by default; 'tanh' is the approximation. */
  gelu = (name: string, x: string, o: { approximate?: 'none' | 'tanh' } = {}): string =>
    this.node(name, 'gelu', [x], { approximate: o.approximate });

  /** a + b, broadcasting as in NumPy. */
  add = (name: string, a: string, b: string): string => this.node(name, 'add', [a, b]);
  /** a · b, broadcasting as in NumPy. */
  multiply = (name: string, a: string, b: string): string => this.node(name, 'multiply', [a, b]);
  /** x · factor (default 1), and times the scalar value `by` where one is named. */
  scale = (name: string, x: string, o: { factor?: number; by?: string } = {}): string =>
    this.node(name, 'scale', [x, o.by ?? null], { factor: o.factor });
  /** Sums x down to a shape that broadcasts to x's. */
  sumTo = (name: string, x: string, shape: number[]): string => this.node(name, 'sum_to', [x], { shape });

  /** x [N, C, H, W]; padding counts as minus infinity. */
  maxPool(name: string, x: string, o: PoolOptions & { dilation?: Pair | undefined }): string {
    return this.node(name, 'max_pool', [x], { ...poolAttributes(o), dilation: given(o.dilation, pair) });
  }

  /** x [N, C, H, W]; padding counts as zeros in the mean unless countIncludePad is false. */
  averagePool(name: string, x: string, o: PoolOptions & { countIncludePad?: boolean | undefined }): string {
    return this.node(name, 'average_pool', [x], { ...poolAttributes(o), count_include_pad: o.countIncludePad });
  }

  /** x [N, C, H, W] → [N, C, height, width], windows as in PyTorch. */
  adaptiveAveragePool = (name: string, x: string, size: Pair): string =>
    this.node(name, 'adaptive_average_pool', [x], { output_size: pair(size) });
  /** x [N, C, H, W] → [N, C, 1, 1]. */
  globalAveragePool = (name: string, x: string): string => this.node(name, 'global_average_pool', [x]);
  /** x [N, C, H, W] → [N, C, 1, 1]. */
  globalMaxPool = (name: string, x: string): string => this.node(name, 'global_max_pool', [x]);

  /** Joins all dimensions from `start` (default 1) on into one. */
  flatten = (name: string, x: string, start?: number): string => this.node(name, 'flatten', [x], { start });
  /** 0 keeps the dimension at its place, -1 takes what is left. */
  reshape = (name: string, x: string, shape: number[]): string => this.node(name, 'reshape', [x], { shape });
  /** Output dimension i is input dimension perm[i]. */
  transpose = (name: string, x: string, perm: number[]): string => this.node(name, 'transpose', [x], { perm });
  /** Elements start (default 0), start + step, … before `end` (default: all) of one axis; negative: from its end. */
  slice(name: string, x: string, o: { axis: number; start?: number; end?: number; step?: number }): string {
    return this.node(name, 'slice', [x], { axis: o.axis, start: o.start, end: o.end, step: o.step });
  }
  /** `pads`: elements before each dimension, then elements after each; filled with `value` (default 0). */
  pad = (name: string, x: string, pads: number[], value?: number): string =>
    this.node(name, 'pad', [x], { pads, value });
  /** Joins along an axis; default 1, the channels. */
  concat = (name: string, xs: string[], axis = 1): string => this.node(name, 'concat', xs, { axis });
  /** Sum, mean or maximum over axes; the axes are dropped unless keepDims. */
  reduce = (name: string, x: string, o: { kind: 'sum' | 'mean' | 'max'; axes: number[]; keepDims?: boolean }): string =>
    this.node(name, 'reduce', [x], { kind: o.kind, axes: o.axes, keepdims: o.keepDims });
  /** Along `axis`, default the last. */
  softmax = (name: string, x: string, axis?: number): string => this.node(name, 'softmax', [x], { axis });
  /** Active in training only; kept elements are scaled by 1 / (1 - p), p default 0.5. */
  dropout = (name: string, x: string, o: { p?: number } = {}): string => this.node(name, 'dropout', [x], { p: o.p });

  /** indices (i32, i64) […] → […, dim]; parameter `<name>.weight` [rows, dim], or a named value (a tied weight). */
  embedding(
    name: string,
    indices: string,
    o: ({ rows: number; dim: number; weightInit?: Initialiser } | { weight: string }) & { paddingIndex?: number },
  ): string {
    const start: Initialiser = { kind: 'normal', std: 1 };
    const weight = 'weight' in o ? o.weight : this.parameter(`${name}.weight`, [o.rows, o.dim], o.weightInit ?? start);
    return this.node(name, 'embedding', [indices, weight], { padding_index: o.paddingIndex });
  }

  /** scores [N, C, …]; target: class indices (i64, i32) [N, …] or probabilities (f32) [N, C, …] → scalar. */
  crossEntropy(
    name: string,
    scores: string,
    target: string,
    o: {
      classWeights?: string | undefined;
      mask?: string | undefined;
      labelSmoothing?: number | undefined;
      ignoreIndex?: number | undefined;
      reduction?: 'mean' | 'sum' | undefined;
    } = {},
  ): string {
    return this.node(name, 'cross_entropy', [scores, target, o.classWeights ?? null, o.mask ?? null], {
      label_smoothing: o.labelSmoothing,
      ignore_index: o.ignoreIndex,
      reduction: o.reduction,
    });
  }

  /** Mean binary cross-entropy of scores before the sigmoid against targets in 0..1 of the same shape → scalar. */
  binaryCrossEntropy(
    name: string,
    scores: string,
    target: string,
    o: { weights?: string | undefined; mask?: string | undefined } = {},
  ): string {
    return this.node(name, 'binary_cross_entropy', [scores, target, o.weights ?? null, o.mask ?? null]);
  }

  /** Mean of squared differences → scalar. */
  meanSquaredError(name: string, scores: string, target: string, o: { mask?: string | undefined } = {}): string {
    return this.node(name, 'mean_squared_error', [scores, target, o.mask ?? null]);
  }

  /** Training minimises the sum of all losses, each times its weight (default 1). */
  loss(value: string, weight = 1): void {
    this.#losses.push({ value, weight });
  }

  /** The description, with these values as outputs; the builder may go on, the description does not change with it. */
  build(outputs: string[]): GraphDescription {
    return structuredClone({
      inputs: this.#inputs,
      parameters: this.#parameters,
      states: this.#states,
      nodes: this.#nodes,
      outputs,
      ...(this.#losses.length > 0 && { losses: this.#losses }),
    });
  }
}

function poolAttributes(o: PoolOptions): Record<string, Attribute | undefined> {
  return {
    kernel: pair(o.kernel),
    stride: given(o.stride, pair),
    padding: given(o.padding, sides),
    ceil_mode: o.ceilMode,
  };
}
