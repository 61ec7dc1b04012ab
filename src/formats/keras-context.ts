/** What the translation of one layer works with. */
import { ThawError } from '../errors.js';
import type { GraphBuilder } from '../graph/builder.js';
import type { Initialiser } from '../graph/types.js';
import { kerasFault, type Json } from './keras-config.js';
import type { KerasValue } from './keras-shape.js';
import { permuted, type StoredTensor } from './layout.js';
import type { TensorEntry } from './types.js';

/** The weights of a file: path of names of the layer (outer models first) and name of the variable ('kernel'). */
export interface KerasWeights {
  find(layer: readonly string[], variable: string): StoredTensor | undefined;
}

export interface Translation {
  g: GraphBuilder;
  weights: KerasWeights;
  /** Under the names of the graph, in PyTorch's layouts. */
  tensors: Map<string, TensorEntry>;
  notes: Set<string>;
  channelsFirst: boolean;
  kerasMajor: number;
}

export class LayerContext {
  constructor(
    readonly all: Translation,
    /** The name in the graph. */
    readonly name: string,
    readonly path: readonly string[],
    readonly kind: string,
    readonly config: Json,
  ) {}

  get g(): GraphBuilder {
    return this.all.g;
  }

  get where(): string {
    return `layer '${this.path.join('/')}'`;
  }

  /** A setting that is true unless the file says otherwise. */
  on(key: string): boolean {
    return this.config[key] !== false;
  }

  note(sentence: string): void {
    this.all.notes.add(sentence);
  }

  unsupported(what: string): ThawError {
    return new ThawError('ERR_KERAS_LAYER', `expected a layer that thaw has for ${this.where}, received ${what}`);
  }

  /**
   * Declares a parameter and takes its weights from the file: `shape` is Keras', dimension i of the parameter is
   * dimension perm[i] of it, seen as `view` where given.
   */
  parameter(suffix: string, variable: string, shape: number[], perm: number[], more: ParameterOptions = {}): string {
    const name = `${this.name}.${suffix}`;
    const sizes = perm.map((d) => (more.view ?? shape)[d]!);
    if (more.state) this.g.state(name, sizes, more.init);
    else this.g.parameter(name, sizes, more.init ?? KERNEL);
    const found =
      this.all.weights.find(this.path, variable) ?? (more.also && this.all.weights.find(this.path, more.also));
    // What the file lacks is told when tensors and graph are compared.
    if (!found) return name;
    if (found.shape.length !== shape.length || found.shape.some((size, i) => size !== shape[i]))
      throw kerasFault(`shape [${shape}]`, `${variable} of ${this.where}`, `[${found.shape}]`);
    this.all.tensors.set(name, permuted(name, found, perm, more.view));
    return name;
  }

  bias(count: number, use = this.on('use_bias')): string | undefined {
    return use ? this.parameter('bias', 'bias', [count], [0], { init: { kind: 'zeros' } }) : undefined;
  }

  /** Numbers of the graph that are no weights. */
  constant(suffix: string, values: number[], shape: number[]): string {
    const name = `${this.name}.${suffix}`;
    this.g.state(name, shape);
    const source = new Uint8Array(Float32Array.from(values).buffer);
    this.all.tensors.set(name, { name, dtype: 'F32', shape, source });
    return name;
  }
}

interface ParameterOptions {
  /** Another name that the variable has in some versions. */
  also?: string;
  view?: number[];
  init?: Initialiser;
  state?: boolean;
}

/** Keras' usual start is Glorot's; PyTorch's is as good for layers that are drawn anew. */
const KERNEL: Initialiser = { kind: 'kaimingUniform', fan: 'in', gain: Math.sqrt(1 / 3) };

export type LayerRule = (c: LayerContext, inputs: KerasValue[]) => KerasValue;
