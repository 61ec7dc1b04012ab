import type { GraphDescription, GraphDType } from '../graph/types.js';
import type { Isa, Precision } from '../native.js';
import type { Preprocessing } from '../zoo/index.js';

export type { Preprocessing };
export type { Update } from '../native.js';

/**
 * What a head answers. `single`: exactly one label a picture (softmax, cross-entropy). `multi`: any number of labels
 * (sigmoid, binary cross-entropy). `regression`: numbers (mean squared error).
 */
export type HeadKind = 'single' | 'multi' | 'regression';

/** How a trained regression head's numbers become the user's: `value = output * std + mean`, per target. */
export interface TargetScaling {
  mean: number[];
  std: number[];
}

/** The head of a network, as saved with it. */
export interface HeadDescription {
  kind: HeadKind;
  /** Numbers that the head gives for one sample; 0 where the network says nothing about it (a graph of one's own). */
  outputs: number;
  /** Layer that gives them ('fc', 'classifier.6', 'head.8'); '' where it is not known. */
  classifier: string;
  /** Value where the body ends and the head begins; '' where it is not known. */
  boundary: string;
  /** Names of the numbers of a regression head. */
  targets?: string[];
  scaling?: TargetScaling;
  /** Probability from which a label of a `multi` head is given. */
  threshold?: number;
}

/** Arrays that hold the elements of a tensor. */
export type TypedArray =
  Float32Array | Float64Array | Int32Array | BigInt64Array | Int16Array | Int8Array | Uint8Array | Uint16Array;

/** Row-major, last dimension fastest. Pictures are [N, channels, height, width]. */
export interface Tensor {
  data: TypedArray;
  shape: number[];
}

/** One tensor (for a network with one input), or tensors by the names of the inputs. */
export type Batch = Tensor | Record<string, Tensor>;

/**
 * Which tensors: a name or the beginning of one by whole dotted segments (`features.1` is not `features.10`), with `*`
 * for any characters, dots included; a regular expression or predicate on whole tensor names; or several of these.
 */
export type NamePattern = string | RegExp | ((name: string, shape: number[]) => boolean) | readonly NamePattern[];

/** Everything up to (`until`) or from (`from`) a layer, inclusive, in graph order; both: what lies between. */
export interface LayerRange {
  until?: string | RegExp;
  from?: string | RegExp;
}

/** What `freeze` and `unfreeze` take: names, or a range of layers. */
export type FreezePattern = NamePattern | LayerRange;

/**
 * frozen: running statistics are used and kept, scale and shift fixed. statistics: normalises by the batch and updates the
 * running statistics, scale and shift fixed. train: normalises by the batch, updates the statistics, trains scale and shift.
 */
export type BatchNormMode = 'frozen' | 'statistics' | 'train';

/** Options of `net.freeze` and `net.unfreeze`. */
export interface FreezeOptions {
  /** What the batch norms among the named layers do. Default: 'frozen' under `freeze`, 'train' under `unfreeze`. */
  batchNorm?: BatchNormMode;
}

/** Cache of plans, freezing and edits are keyed by these two: each grows by one with every change. */
export interface NetworkVersion {
  graph: number;
  marks: number;
}

/** What a plan does: 'run' inputs → outputs; 'embed' inputs → cut; 'head' cut → outputs; 'step' cut → losses and update; 'gradients' inputs → losses and gradients. */
export type PlanMode = 'run' | 'embed' | 'head' | 'step' | 'gradients';

/** A value of a plan: shape in elements. */
export interface ValueDescription {
  name: string;
  dtype: GraphDType;
  shape: number[];
}

/** A compiled plan. Valid while `released` is false: ask `net.compile` again rather than keeping it over an epoch. */
export interface Plan {
  id: number;
  mode: PlanMode;
  /** The instruction set and the precision that it computes in. */
  isa: Isa;
  precision: Precision;
  inputs: ValueDescription[];
  outputs: ValueDescription[];
  cut: ValueDescription[];
  bytes: { arena: number; prepared: number; gradients: number; workspace: number; cut: number };
  launches: { node: string; op: string; kernel: string; prepared: boolean }[];
  declined: { node: string; kernel: string; why: string }[];
  released: boolean;
}

/** Options of `net.compile`. */
export interface CompileOptions {
  /** The graph to compile instead of the network's own: one from `trainingGraph`. */
  graph?: GraphDescription;
  /** Values wanted instead of the graph's outputs. */
  outputs?: string[];
  signal?: AbortSignal | undefined;
}

/** Options of `net.execute`. */
export interface ExecuteOptions extends CompileOptions {
  /** Shapes of the graph's inputs, where they are not those of the tensors given. */
  shapes?: Record<string, number[]>;
  /** Shapes that the frozen part is compiled for: it runs first, and gives the cut's values. */
  frozen?: Record<string, number[]>;
  /** The batch that will be run after this one: a GPU gets it while it computes. Its data must not change until then. */
  next?: NextBatch | undefined;
}

/** Where values lie in a feature cache: a row for each key. */
export interface CachedRows {
  cache: number;
  keys: string[];
}

/** A batch that comes later, as it will be given to `execute`. */
export interface NextBatch {
  inputs: Record<string, Tensor>;
  cacheRead?: CachedRows;
}

/** Random draws (dropout) depend on these and the name of the node alone. */
export interface RandomOptions {
  seed?: number;
  epoch?: number;
  /** One identity per row; default: the row's index. */
  samples?: number[];
}

/** What training minimises; see `Network.trainingGraph`. */
export interface LossOptions {
  /** 0 … 1, single label only: the target keeps 1 - labelSmoothing, the rest is spread evenly. Default 0. */
  labelSmoothing?: number;
  /** Adds an input `class_weights`, f32 [outputs] (single) or broadcastable to [N, outputs] (multi). */
  classWeights?: boolean;
  /** Adds an input `mask`, f32 [N]: 0 leaves a row out of loss and gradient. */
  mask?: boolean;
  /** Targets of a single-label head are probabilities f32 [N, outputs] instead of indices i32 [N]. */
  soft?: boolean;
  /** Value that the loss reads; default: the network's first output. */
  output?: string;
}

/** Held by a fit while it runs. */
export interface NetworkLock {
  /** Marks may change from now on (an epoch has ended). */
  open(): void;
  /** Marks may no longer change. */
  close(): void;
  /** Gives the network back. */
  release(): void;
}

/** Parameters that belong together for learning rates by depth, in graph order: stages of the body, then the head. */
export interface LayerGroup {
  name: string;
  parameters: string[];
}
