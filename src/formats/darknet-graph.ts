/**
 * A Darknet network as a graph. Layer i of the file (counted without [net]) is node `layers.<i>`, with tensors
 * `layers.<i>.weight` and `.bias` or, normalised, `layers.<i>.norm.weight`, `.bias`, `.running_mean`, `.running_var`.
 * Detection layers end the body: what they read are the outputs.
 */
import { ThawError } from '../errors.js';
import { GraphBuilder } from '../graph/builder.js';
import type { GraphDescription } from '../graph/types.js';
import { darknetFault, int, ints, place, type Section } from './darknet-cfg.js';
import { withoutSoftmax } from './scores.js';
import { below, upsampleNearest } from './upsample.js';

/** A tensor in the order of the file of weights. */
export interface Piece {
  name: string;
  shape: number[];
}

export interface DarknetGraph {
  graph: GraphDescription;
  pieces: Piece[];
  input: { channels: number; height: number; width: number };
  notes: string[];
}

interface Value {
  value: string;
  /** Channels, height, width. */
  shape: [number, number, number];
}

/** Throws ERR_DARKNET, ERR_DARKNET_LAYER. */
export function translate([net, ...layers]: Section[]): DarknetGraph {
  const [channels, height, width] = ['channels', 'height', 'width'].map((key) =>
    int(net!, key, key === 'channels' ? 3 : 0, 1),
  );
  const walk = new Walk([channels!, height!, width!]);
  layers.forEach((section, i) => walk.layer(section, i));
  const graph = walk.build();
  return { ...graph, pieces: walk.pieces, input: { channels: channels!, height: height!, width: width! } };
}

/** Of AlexeyAB's Darknet. The first Darknet adds 1e-6 to the deviation instead. */
const EPSILON = 1e-5;

class Walk {
  readonly pieces: Piece[] = [];
  readonly #g = new GraphBuilder();
  readonly #values: Value[] = [];
  readonly #outputs: string[] = [];
  readonly #notes = new Set<string>();
  #last: Value;

  constructor(shape: [number, number, number]) {
    this.#last = { value: this.#g.input('image', 'f32', ['N', ...shape]), shape };
  }

  layer(section: Section, index: number): void {
    const rule = RULES[section.kind];
    if (!rule || !Object.hasOwn(RULES, section.kind)) throw unsupported(section, `[${section.kind.slice(0, 80)}]`);
    this.#last = rule(this, section, `layers.${index}`, this.#last);
    if (this.#last.shape.some((size) => !(size >= 1)))
      throw darknetFault('a picture', place(section), `sizes ${this.#last.shape}`);
    this.#values.push(this.#last);
  }

  build(): { graph: GraphDescription; notes: string[] } {
    const outputs = this.#outputs.length > 0 ? [...new Set(this.#outputs)] : [this.#last.value];
    const graph = this.#g.build(outputs);
    const scores = withoutSoftmax(graph);
    if (scores) this.#notes.add('the softmax at the end is left out: outputs are scores, predict gives probabilities');
    return { graph: scores?.graph ?? graph, notes: [...this.#notes] };
  }

  /** A layer by its number, or counted back from this one. */
  at(section: Section, number: number): Value {
    const found = this.#values[number < 0 ? this.#values.length + number : number];
    if (found) return found;
    throw darknetFault('an earlier layer', place(section), `layer ${number}`);
  }

  convolutional(section: Section, name: string, { value, shape: [c, h, w] }: Value): Value {
    const [filters, kernel, groups] = [
      int(section, 'filters', 1, 1),
      int(section, 'size', 1, 1),
      int(section, 'groups', 1, 1),
    ];
    const stride: [number, number] = [this.#stride(section, 'stride_y'), this.#stride(section, 'stride_x')];
    const dilation = int(section, 'dilation', 1, 1);
    if (
      ['binary', 'xnor', 'flipped', 'antialiasing', 'share_index', 'deform'].some((key) => int(section, key, 0) !== 0)
    )
      throw unsupported(section, 'a convolution of a special kind');
    if (c % groups !== 0 || filters % groups !== 0)
      throw darknetFault(`a divisor of ${c} and ${filters}`, `groups of ${place(section)}`, groups);
    const padding = int(section, 'pad', 0) !== 0 ? Math.floor(kernel / 2) * dilation : int(section, 'padding', 0);
    const normal = int(section, 'batch_normalize', 0) !== 0;
    // In the file: bias (beta), then the statistics, then the kernel.
    const bias = normal ? undefined : this.#take(`${name}.bias`, [filters]);
    const after = normal ? this.#statistics(`${name}.norm`, filters) : [];
    const weight = this.#take(`${name}.weight`, [filters, c / groups, kernel, kernel]);
    let y = this.#g.conv2d(name, value, { weight, bias, stride, padding, dilation, groups });
    if (normal) y = this.#g.node(`${name}.norm`, 'batch_norm', [y, ...after], { eps: EPSILON });
    const reach = dilation * (kernel - 1) + 1;
    const size = (length: number, step: number): number => Math.floor((length + 2 * padding - reach) / step) + 1;
    return this.activated(
      section,
      name,
      { value: y, shape: [filters, size(h, stride[0]), size(w, stride[1])] },
      'logistic',
    );
  }

  #stride(section: Section, key: string): number {
    return int(section, key, int(section, 'stride', 1, 1), 1);
  }

  #take(
    name: string,
    shape: number[],
    kind: 'parameter' | 'state' = 'parameter',
    start: 'zeros' | 'ones' | 'weight' = 'weight',
  ): string {
    this.pieces.push({ name, shape });
    const init =
      start === 'weight' && shape.length === 4
        ? ({ kind: 'kaimingNormal', fan: 'in', gain: Math.SQRT2 } as const)
        : undefined;
    const plain = start === 'ones' ? ({ kind: 'ones' } as const) : ({ kind: 'zeros' } as const);
    return this.#g[kind](name, shape, init ?? plain);
  }

  /** Operands of a batch norm: weight, bias, running mean and variance; in the file the bias comes first. */
  #statistics(name: string, count: number): string[] {
    const bias = this.#take(`${name}.bias`, [count], 'parameter', 'zeros');
    const weight = this.#take(`${name}.weight`, [count], 'parameter', 'ones');
    const mean = this.#take(`${name}.running_mean`, [count], 'state', 'zeros');
    const variance = this.#take(`${name}.running_var`, [count], 'state', 'ones');
    return [weight, bias, mean, variance];
  }

  connected(section: Section, name: string, { value, shape }: Value): Value {
    const inputs = shape[0] * shape[1] * shape[2];
    const outputs = int(section, 'output', 1, 1);
    const bias = this.#take(`${name}.bias`, [outputs]);
    const weight = this.#take(`${name}.weight`, [outputs, inputs]);
    if (int(section, 'batch_normalize', 0) !== 0) throw unsupported(section, 'a normalised fully connected layer');
    const flat = this.#g.flatten(`${name}.flatten`, value);
    const y = this.#g.reshape(`${name}.picture`, this.#g.linear(name, flat, { weight, bias }), [0, outputs, 1, 1]);
    return this.activated(section, name, { value: y, shape: [outputs, 1, 1] }, 'logistic');
  }

  activated(section: Section, name: string, x: Value, usual: string): Value {
    const kind = section.values.get('activation') ?? usual;
    if (kind === 'linear') return x;
    const made = ACTIVATIONS[kind];
    if (!made || !Object.hasOwn(ACTIVATIONS, kind)) throw unsupported(section, `activation ${kind.slice(0, 80)}`);
    return { ...x, value: made(this.#g, `${name}.${kind}`, x.value) };
  }

  /** Padding: size - 1 in all, the smaller half first. */
  maxpool(section: Section, name: string, { value, shape: [c, h, w] }: Value): Value {
    const step = int(section, 'stride', 1, 1);
    const stride: [number, number] = [int(section, 'stride_y', step, 1), int(section, 'stride_x', step, 1)];
    const kernel = int(section, 'size', step, 1);
    const total = int(section, 'padding', kernel - 1);
    if (int(section, 'maxpool_depth', 0) !== 0 || total > 2 * (kernel - 1))
      throw unsupported(section, 'a pool of a special kind');
    const before = Math.floor(total / 2);
    // What lies beyond the last window is never looked at.
    const padding: [number, number, number, number] = [before, before, total - before, total - before];
    const y = this.#g.maxPool(name, value, { kernel, stride, padding });
    const size = (length: number, s: number): number => Math.floor((length + total - kernel) / s) + 1;
    return { value: y, shape: [c, size(h, stride[0]), size(w, stride[1])] };
  }

  avgpool(_: Section, name: string, { value, shape }: Value): Value {
    return { value: this.#g.globalAveragePool(name, value), shape: [shape[0], 1, 1] };
  }

  route(section: Section, name: string): Value {
    const found = ints(section, 'layers').map((number) => this.at(section, number));
    const [, h, w] = found[0]!.shape;
    if (found.some(({ shape }) => shape[1] !== h || shape[2] !== w))
      throw darknetFault('pictures of one size', place(section), 'others');
    const groups = int(section, 'groups', 1, 1);
    const part = int(section, 'group_id', 0);
    const sliced = found.map(({ value, shape: [c] }, i) => {
      if (groups === 1) return { value, c };
      if (c % groups !== 0 || part >= groups)
        throw darknetFault(`a divisor of ${c}`, `groups of ${place(section)}`, groups);
      const size = c / groups;
      const at = { axis: 1, start: part * size, end: (part + 1) * size };
      return { value: this.#g.slice(`${name}.part${i}`, value, at), c: size };
    });
    const channels = sliced.reduce((sum, { c }) => sum + c, 0);
    const values = sliced.map(({ value }) => value);
    return { value: values.length === 1 ? values[0]! : this.#g.concat(name, values), shape: [channels, h, w] };
  }

  shortcut(section: Section, name: string, { value, shape }: Value): Value {
    if ((section.values.get('weights_type') ?? 'none') !== 'none') throw unsupported(section, 'a weighted shortcut');
    let sum = value;
    ints(section, 'from').forEach((number, i, all) => {
      const from = this.at(section, number);
      if (from.shape.join() !== shape.join())
        throw unsupported(section, `a shortcut from [${from.shape}] to [${shape}]`);
      sum = this.#g.add(i === all.length - 1 ? name : `${name}.${i}`, sum, from.value);
    });
    return this.activated(section, name, { value: sum, shape }, 'linear');
  }

  upsample(section: Section, name: string, { value, shape: [c, h, w] }: Value): Value {
    const stride = int(section, 'stride', 2, 1);
    const lacking = (what: string): Error => unsupported(section, what);
    const y = upsampleNearest(this.#g, below(name), value, w, [stride, stride], lacking);
    const scale = Number(section.values.get('scale') ?? 1);
    const scaled = scale === 1 ? y : this.#g.scale(`${name}.scaled`, y, { factor: scale });
    return { value: scaled, shape: [c, h * stride, w * stride] };
  }

  dropout(section: Section, name: string, x: Value): Value {
    const p = Number(section.values.get('probability') ?? 0.5);
    if (!(p >= 0 && p < 1)) throw darknetFault('a probability', place(section), p);
    return p === 0 ? x : { ...x, value: this.#g.dropout(name, x.value, { p }) };
  }

  softmax(_: Section, name: string, { value, shape }: Value): Value {
    const flat = this.#g.flatten(`${name}.flatten`, value);
    const y = this.#g.softmax(name, flat);
    return { value: y, shape: [shape[0] * shape[1] * shape[2], 1, 1] };
  }

  /** Boxes are made of what this layer reads; that is the network's output. */
  detection(section: Section, _: string, x: Value): Value {
    this.#outputs.push(x.value);
    this.#notes.add(`[${section.kind}] layers are left out: what they read are the outputs`);
    return x;
  }
}

type Rule = (walk: Walk, section: Section, name: string, last: Value) => Value;

const rule =
  (
    kind:
      | 'convolutional'
      | 'connected'
      | 'maxpool'
      | 'avgpool'
      | 'route'
      | 'shortcut'
      | 'upsample'
      | 'dropout'
      | 'softmax'
      | 'detection',
  ): Rule =>
  (walk, section, name, last) =>
    walk[kind](section, name, last);

const unchanged: Rule = (_walk, _section, _name, last) => last;

const RULES: Readonly<Record<string, Rule>> = {
  convolutional: rule('convolutional'),
  conv: rule('convolutional'),
  connected: rule('connected'),
  conn: rule('connected'),
  maxpool: rule('maxpool'),
  max: rule('maxpool'),
  avgpool: rule('avgpool'),
  avg: rule('avgpool'),
  route: rule('route'),
  shortcut: rule('shortcut'),
  upsample: rule('upsample'),
  dropout: rule('dropout'),
  softmax: rule('softmax'),
  soft: rule('softmax'),
  yolo: rule('detection'),
  region: rule('detection'),
  gaussian_yolo: rule('detection'),
  detection: rule('detection'),
  cost: unchanged,
};

const ACTIVATIONS: Readonly<Record<string, (g: GraphBuilder, name: string, x: string) => string>> = {
  relu: (g, name, x) => g.relu(name, x),
  relu6: (g, name, x) => g.relu6(name, x),
  leaky: (g, name, x) => g.leakyRelu(name, x, { alpha: 0.1 }),
  logistic: (g, name, x) => g.sigmoid(name, x),
  tanh: (g, name, x) => g.tanh(name, x),
  swish: (g, name, x) => g.silu(name, x),
};

function unsupported(section: Section, what: string): ThawError {
  return new ThawError('ERR_DARKNET_LAYER', `expected a layer that thaw has for ${place(section)}, received ${what}`);
}
