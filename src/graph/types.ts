/**
 * A network as data. The zoo, the importers and users' own code write this description (best with
 * `GraphBuilder`); the core compiles it. It is plain JSON and is stored in saved models.
 */
export interface GraphDescription {
  /** Inputs. A dimension is a number or a symbol ('N', 'H', 'W', 'T'); equal symbols are equal sizes. */
  inputs: InputDescription[];
  /** Tensors that training may change, under the names they bear in checkpoints. */
  parameters: ParameterDescription[];
  /** Tensors that a run may rewrite: running statistics, hidden state. */
  states: StateDescription[];
  /** Every node comes after what it reads. */
  nodes: NodeDescription[];
  /** Names of values. */
  outputs: string[];
  /** Scalars that training minimises, each times its weight. */
  losses?: { value: string; weight: number }[];
}

/** Type of the elements of a value. */
export type GraphDType = 'f32' | 'bf16' | 'i32' | 'i64' | 'bool';

/** A value that is given to each run. */
export interface InputDescription {
  name: string;
  dtype: GraphDType;
  shape: (number | string)[];
}

/** A tensor of weights: name, shape, type and how it starts. */
export interface ParameterDescription {
  name: string;
  shape: number[];
  dtype: GraphDType;
  /** How a new one is drawn; see `Initialiser`. */
  init: Initialiser;
}

/** A tensor that a run may rewrite, and by what. */
export interface StateDescription extends ParameterDescription {
  /** The value that replaces it after each successful training step (batch norm needs none: its node does it). */
  update?: string;
}

/**
 * How a parameter starts. `fan` counts inputs ('in') or outputs ('out') of a convolution or linear layer.
 * uniform: between -bound and bound. kaiming: He et al. 2015, standard deviation gain / sqrt(fan)
 * (uniform: bound = sqrt(3) * gain / sqrt(fan)).
 */
export type Initialiser =
  | { kind: 'zeros' }
  | { kind: 'ones' }
  | { kind: 'constant'; value: number }
  | { kind: 'uniform'; bound: number }
  | { kind: 'normal'; std: number }
  | { kind: 'truncatedNormal'; std: number }
  | { kind: 'kaimingNormal'; fan: 'in' | 'out'; gain: number }
  | { kind: 'kaimingUniform'; fan: 'in' | 'out'; gain: number };

/** A fixed setting of a node: stride, eps, axis, … */
export type Attribute = number | boolean | string | number[];

/** One operator with its operands; the operators and their attributes are listed at `GraphBuilder`. */
export interface NodeDescription {
  /** Also the name of its first output; further outputs are `name:1`, `name:2`. */
  name: string;
  op: string;
  /** Names of values (inputs, parameters, states, outputs of earlier nodes); null: an optional operand left out. */
  inputs: (string | null)[];
  attrs?: Record<string, Attribute>;
}
