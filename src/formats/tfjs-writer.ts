/** Layers of Keras in the order of a graph of thaw's, and the weights that they read. Pictures are [N, H, W, C] there. */
import type { GraphDescription, NodeDescription } from '../graph/types.js';
import { fault } from './fault.js';
import type { Shapes } from './onnx-export.js';

/** A weight of a layer: a tensor of the network, seen as `view` and turned by `perm`, or numbers. */
export interface LayerWeight {
  name: string;
  /** As Keras has it. */
  shape: number[];
  from: { tensor: string; view: number[]; perm: number[] } | number[];
}

export interface KerasLayer {
  class_name: string;
  name: string;
  config: Record<string, unknown>;
  inbound_nodes: [string, number, number, object][][];
}

/** Collects layers; each value of the graph is the output of one of them. */
export class TfjsWriter {
  readonly layers: KerasLayer[] = [];
  readonly weights: LayerWeight[] = [];
  /** Set where the model is right for one size of picture only. */
  fixedSize = false;
  /** Layer by value. */
  readonly #made = new Map<string, string>();
  /** Values that are never below zero: zeros around them do not change a maximum. */
  readonly #positive = new Set<string>();
  readonly #taken = new Set<string>();
  readonly #declared: Map<string, number[]>;

  constructor(
    graph: GraphDescription,
    readonly shapes: Shapes,
  ) {
    this.#declared = new Map([...graph.parameters, ...graph.states].map(({ name, shape }) => [name, shape]));
  }

  lacking(node: NodeDescription, received: string): Error {
    return fault('ERR_TFJS_EXPORT', 'what a layers model can say', `node '${node.name}'`, received);
  }

  shape(value: string | null | undefined): number[] {
    return this.shapes.get(value ?? '')?.shape ?? this.#declared.get(value ?? '') ?? [];
  }

  /** The layer that gives operand i of a node. */
  operand(node: NodeDescription, i = 0): string {
    const made = this.#made.get(node.inputs[i] ?? '');
    if (made === undefined) throw this.lacking(node, `${node.op} of a tensor of the network`);
    return made;
  }

  /** Adds a layer; `step` tells the layers of one node apart, the last has none. */
  layer(
    node: { name: string },
    kind: string,
    inputs: string[],
    config: Record<string, unknown> = {},
    step = '',
  ): string {
    const name = this.#fresh(step === '' ? node.name : `${node.name}.${step}`);
    const inbound = inputs.map((input): [string, number, number, object] => [input, 0, 0, {}]);
    this.layers.push({
      class_name: kind,
      name,
      config: { name, trainable: true, dtype: 'float32', ...config },
      inbound_nodes: inbound.length > 0 ? [inbound] : [],
    });
    return name;
  }

  /** TensorFlow allows letters, digits and - . _ in the names of layers. */
  #fresh(wanted: string): string {
    const sound = wanted.replace(/[^-\w.]/g, '_').replace(/^[^A-Za-z0-9]/, 'x');
    let name = sound;
    for (let i = 2; this.#taken.has(name); i++) name = `${sound}_${i}`;
    this.#taken.add(name);
    return name;
  }

  /** What the node gives is what this layer gives. */
  is(node: { name: string }, layer: string, positive = false): void {
    this.#made.set(node.name, layer);
    if (positive) this.#positive.add(node.name);
  }

  isPositive(value: string | null | undefined): boolean {
    return this.#positive.has(value ?? '');
  }

  /** Variable of a layer from operand i, which must be a tensor of the network. Returns its shape in thaw. */
  weight(layer: string, variable: string, node: NodeDescription, i: number, perm: number[], view?: number[]): number[] {
    const tensor = node.inputs[i] ?? '';
    const declared = this.#declared.get(tensor);
    if (!declared) throw this.lacking(node, `a weight '${tensor}' that is computed`);
    const seen = view ?? declared;
    this.weights.push({
      name: `${layer}/${variable}`,
      shape: perm.map((axis) => seen[axis]!),
      from: { tensor, view: seen, perm },
    });
    return declared;
  }

  /** Channels of a picture picked by number, null for zeros: a 1 x 1 convolution of ones and zeros. */
  picked(node: NodeDescription, input: string, channels: number, picks: (number | null)[], step = ''): string {
    const config = { filters: picks.length, kernel_size: [1, 1], strides: [1, 1], use_bias: false };
    const layer = this.layer(node, 'Conv2D', [input], { ...config, padding: 'valid', activation: 'linear' }, step);
    const kernel = Array<number>(channels * picks.length).fill(0);
    picks.forEach((pick, k) => {
      if (pick !== null) kernel[pick * picks.length + k] = 1;
    });
    this.weights.push({ name: `${layer}/kernel`, shape: [1, 1, channels, picks.length], from: kernel });
    return layer;
  }

  /** x · factor + shift: a batch norm of mean 0 and variance 1. */
  affine(node: NodeDescription, input: string, channels: number, factor: number, shift: number, step = ''): string {
    const layer = this.layer(node, 'BatchNormalization', [input], { axis: -1, epsilon: 0 }, step);
    const values = { gamma: factor, beta: shift, moving_mean: 0, moving_variance: 1 };
    for (const [variable, value] of Object.entries(values))
      this.weights.push({ name: `${layer}/${variable}`, shape: [channels], from: Array<number>(channels).fill(value) });
    return layer;
  }
}
