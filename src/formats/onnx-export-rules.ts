/** How each operator of thaw's is said in ONNX (opset 17). */
import type { GraphDescription, NodeDescription } from '../graph/types.js';
import { fault } from './fault.js';
import type { Shapes } from './onnx-export.js';
import { bytesField, floatField, integerField, messageField } from './protobuf.js';

/** A number is a float attribute if written as { float }. */
type Setting = number | number[] | string | { float: number };

/** Numbers of AttributeProto.type. */
const KINDS = { float: 1, int: 2, string: 3, ints: 7 };

/** Collects nodes and constants; values keep their names. */
export class Exporter {
  readonly nodes: Uint8Array[] = [];
  readonly constants: Uint8Array[] = [];
  /** Tensors of the network that nodes read, with their shapes. */
  readonly tensors = new Map<string, number[]>();
  /** Set where the file is right for one size of picture only. */
  fixedSize = false;
  readonly #names = new Map<string, string>();
  readonly #declared: Map<string, number[]>;
  readonly #taken: Set<string>;

  constructor(
    graph: GraphDescription,
    readonly shapes: Shapes,
  ) {
    const tensors = [...graph.parameters, ...graph.states];
    this.#declared = new Map(tensors.map(({ name, shape }) => [name, shape]));
    this.#taken = new Set([...graph.inputs, ...tensors, ...graph.nodes].map(({ name }) => name));
  }

  lacking(node: NodeDescription, received: string): Error {
    return fault('ERR_ONNX_EXPORT', `what ONNX can say in opset 17`, `node '${node.name}'`, received);
  }

  /** A value under the name that it has in the file. */
  name(value: string): string {
    return this.#names.get(value) ?? value;
  }

  /** The value is another one: its node does nothing in inference. */
  alias(value: string, other: string): void {
    this.#names.set(value, this.name(other));
  }

  /** Operand i of a node; '' where it is left out. */
  operand(node: NodeDescription, i: number): string {
    const value = node.inputs[i];
    if (value === null || value === undefined) return '';
    const shape = this.#declared.get(value);
    if (shape) this.tensors.set(value, shape);
    return this.name(value);
  }

  shape(value: string | null | undefined): number[] {
    return this.shapes.get(value ?? '')?.shape ?? this.#declared.get(value ?? '') ?? [];
  }

  /** Adds a node with one output. Operands are names as they stand in the file. */
  add(op: string, inputs: string[], output: string, settings: Record<string, Setting | undefined> = {}): string {
    const operands = [...inputs];
    while (operands.at(-1) === '') operands.pop();
    const attributes = Object.entries(settings).filter((entry): entry is [string, Setting] => entry[1] !== undefined);
    this.nodes.push(
      messageField(
        1,
        ...operands.map((name) => bytesField(1, name)),
        bytesField(2, output),
        bytesField(3, output),
        bytesField(4, op),
        ...attributes.map(([name, value]) => attributeField(name, value)),
      ),
    );
    return output;
  }

  /** A name for what lies between the nodes that one of ours becomes. */
  fresh(node: NodeDescription, what: string): string {
    let name = `${node.name}.${what}`;
    for (let i = 2; this.#taken.has(name); i++) name = `${node.name}.${what}_${i}`;
    this.#taken.add(name);
    return name;
  }

  /** A step before the last: returns the name of its value. */
  step(
    node: NodeDescription,
    op: string,
    inputs: string[],
    settings: Record<string, Setting | undefined> = {},
  ): string {
    return this.add(op, inputs, this.fresh(node, op), settings);
  }

  floats(node: NodeDescription, values: number[], shape: number[] = []): string {
    return this.#constant(node, 1, new Uint8Array(Float32Array.from(values).buffer), shape);
  }

  integers(node: NodeDescription, values: (number | bigint)[]): string {
    return this.#constant(node, 7, new Uint8Array(BigInt64Array.from(values, BigInt).buffer), [values.length]);
  }

  #constant(node: NodeDescription, type: number, bytes: Uint8Array, shape: number[]): string {
    const name = this.fresh(node, 'constant');
    const dims = shape.map((size) => integerField(1, size));
    this.constants.push(messageField(5, ...dims, integerField(2, type), bytesField(8, name), bytesField(9, bytes)));
    return name;
  }
}

function attributeField(name: string, value: Setting): Uint8Array {
  const field = (kind: number, ...values: Uint8Array[]): Uint8Array =>
    messageField(5, bytesField(1, name), ...values, integerField(20, kind));
  if (typeof value === 'number') return field(KINDS.int, integerField(3, value));
  if (typeof value === 'string') return field(KINDS.string, bytesField(4, value));
  if (Array.isArray(value)) return field(KINDS.ints, ...value.map((one) => integerField(8, one)));
  return field(KINDS.float, floatField(2, value.float));
}

type ExportRule = (e: Exporter, node: NodeDescription) => void;

const ints = (node: NodeDescription, name: string): number[] | undefined => node.attrs?.[name] as number[] | undefined;
const number = (node: NodeDescription, name: string, usual: number): number =>
  (node.attrs?.[name] as number | undefined) ?? usual;

/** One operator for another, with its operands. */
const plain =
  (op: string, settings: (node: NodeDescription) => Record<string, Setting | undefined> = () => ({})): ExportRule =>
  (e, node) => {
    const inputs = node.inputs.map((_, i) => e.operand(node, i));
    e.add(op, inputs, node.name, settings(node));
  };

const windows = (node: NodeDescription): Record<string, Setting | undefined> => ({
  strides: ints(node, 'stride') ?? ints(node, 'kernel'),
  pads: ints(node, 'padding'),
  dilations: ints(node, 'dilation'),
  kernel_shape: ints(node, 'kernel'),
  ceil_mode: node.attrs?.ceil_mode === true ? 1 : undefined,
});

function linear(e: Exporter, node: NodeDescription): void {
  const [x, weight, bias] = [0, 1, 2].map((i) => e.operand(node, i)) as [string, string, string];
  if (e.shape(node.inputs[0]).length === 2) return void e.add('Gemm', [x, weight, bias], node.name, { transB: 1 });
  const turned = e.step(node, 'Transpose', [weight], { perm: [1, 0] });
  if (!bias) return void e.add('MatMul', [x, turned], node.name);
  e.add('Add', [e.step(node, 'MatMul', [x, turned]), bias], node.name);
}

function matmul(e: Exporter, node: NodeDescription): void {
  const operand = (i: number, transpose: unknown): string => {
    const rank = e.shape(node.inputs[i]).length;
    const perm = Array.from({ length: rank }, (_, axis) => (axis < rank - 2 ? axis : 2 * rank - 3 - axis));
    return transpose === true ? e.step(node, 'Transpose', [e.operand(node, i)], { perm }) : e.operand(node, i);
  };
  e.add('MatMul', [operand(0, node.attrs?.transpose_a), operand(1, node.attrs?.transpose_b)], node.name);
}

function batchNorm(e: Exporter, node: NodeDescription): void {
  const channels = e.shape(node.inputs[3])[0]!;
  const given = (i: number, value: number): string =>
    e.operand(node, i) || e.floats(node, Array<number>(channels).fill(value), [channels]);
  const operands = [e.operand(node, 0), given(1, 1), given(2, 0), e.operand(node, 3), e.operand(node, 4)];
  e.add('BatchNormalization', operands, node.name, { epsilon: { float: number(node, 'eps', 1e-5) } });
}

function layerNorm(e: Exporter, node: NodeDescription): void {
  const shape = ints(node, 'normalized_shape') ?? [];
  const count = shape.reduce((a, b) => a * b, 1);
  const scale = e.operand(node, 1) || e.floats(node, Array<number>(count).fill(1), shape);
  const settings = { axis: -shape.length, epsilon: { float: number(node, 'eps', 1e-5) } };
  e.add('LayerNormalization', [e.operand(node, 0), scale, e.operand(node, 2)], node.name, settings);
}

function localResponseNorm(e: Exporter, node: NodeDescription): void {
  const size = number(node, 'size', 5);
  if (size % 2 === 0) throw e.lacking(node, `local_response_norm of even size ${size}`);
  const [alpha, beta, bias] = [number(node, 'alpha', 1e-4), number(node, 'beta', 0.75), number(node, 'k', 1)];
  const settings = { size, alpha: { float: alpha }, beta: { float: beta }, bias: { float: bias } };
  e.add('LRN', [e.operand(node, 0)], node.name, settings);
}

function silu(e: Exporter, node: NodeDescription): void {
  const x = e.operand(node, 0);
  e.add('Mul', [x, e.step(node, 'Sigmoid', [x])], node.name);
}

/** Exact: x / 2 · (1 + erf(x / √2)). Approximate: x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 x³))). */
function gelu(e: Exporter, node: NodeDescription): void {
  const x = e.operand(node, 0);
  const times = (value: string, factor: number): string => e.step(node, 'Mul', [value, e.floats(node, [factor])]);
  const squashed = (): string => {
    if (node.attrs?.approximate !== 'tanh') {
      return e.step(node, 'Erf', [e.step(node, 'Div', [x, e.floats(node, [Math.SQRT2])])]);
    }
    const cube = e.step(node, 'Mul', [e.step(node, 'Mul', [x, x]), x]);
    const inner = e.step(node, 'Add', [x, times(cube, 0.044715)]);
    return e.step(node, 'Tanh', [times(inner, Math.sqrt(2 / Math.PI))]);
  };
  const share = e.step(node, 'Add', [squashed(), e.floats(node, [1])]);
  e.add('Mul', [e.step(node, 'Mul', [x, share]), e.floats(node, [0.5])], node.name);
}

function scale(e: Exporter, node: NodeDescription): void {
  const [x, by] = [e.operand(node, 0), e.operand(node, 1)];
  const factor = e.floats(node, [number(node, 'factor', 1)]);
  e.add('Mul', [by ? e.step(node, 'Mul', [x, by]) : x, factor], node.name);
}

/** ONNX has no adaptive pool: equal windows of the size that the picture has here. */
function adaptiveAveragePool(e: Exporter, node: NodeDescription): void {
  const size = ints(node, 'output_size')!;
  if (size.every((side) => side === 1)) return plain('GlobalAveragePool')(e, node);
  const from = e.shape(node.inputs[0]).slice(2);
  const kernel = from.map((side, i) => side / size[i]!);
  if (!kernel.every(Number.isInteger)) throw e.lacking(node, `an adaptive pool from [${from}] to [${size}]`);
  e.fixedSize = true;
  e.add('AveragePool', [e.operand(node, 0)], node.name, { kernel_shape: kernel, strides: kernel });
}

function flatten(e: Exporter, node: NodeDescription): void {
  const start = number(node, 'start', 1);
  const x = e.operand(node, 0);
  if (start === 1) return void e.add('Flatten', [x], node.name, { axis: 1 });
  const kept = start < 0 ? start + e.shape(node.inputs[0]).length : start;
  e.add('Reshape', [x, e.integers(node, [...Array<number>(kept).fill(0), -1])], node.name);
}

function slice(e: Exporter, node: NodeDescription): void {
  const { axis, start = 0, end, step = 1 } = node.attrs as Record<string, number>;
  const one = (value: number | bigint): string => e.integers(node, [value]);
  const operands = [one(start!), one(end ?? 2n ** 63n - 1n), one(axis!), one(step!)];
  e.add('Slice', [e.operand(node, 0), ...operands], node.name);
}

function reduce(e: Exporter, node: NodeDescription): void {
  const [axes, keepdims] = [ints(node, 'axes')!, node.attrs?.keepdims === true ? 1 : 0];
  const x = e.operand(node, 0);
  if (node.attrs?.kind === 'sum') return void e.add('ReduceSum', [x, e.integers(node, axes)], node.name, { keepdims });
  e.add(node.attrs?.kind === 'max' ? 'ReduceMax' : 'ReduceMean', [x], node.name, { axes, keepdims });
}

function clip(e: Exporter, node: NodeDescription): void {
  e.add('Clip', [e.operand(node, 0), e.floats(node, [0]), e.floats(node, [6])], node.name);
}

function pad(e: Exporter, node: NodeDescription): void {
  const value = e.floats(node, [number(node, 'value', 0)]);
  e.add('Pad', [e.operand(node, 0), e.integers(node, ints(node, 'pads')!), value], node.name);
}

function embedding(e: Exporter, node: NodeDescription): void {
  e.add('Gather', [e.operand(node, 1), e.operand(node, 0)], node.name, { axis: 0 });
}

export const EXPORTS: Record<string, ExportRule> = {
  conv2d: plain('Conv', (node) => ({ ...windows(node), group: number(node, 'groups', 1) })),
  linear,
  matmul,
  batch_norm: batchNorm,
  layer_norm: layerNorm,
  local_response_norm: localResponseNorm,
  relu: plain('Relu'),
  relu6: clip,
  leaky_relu: plain('LeakyRelu', (node) => ({ alpha: { float: number(node, 'alpha', 0.01) } })),
  hard_swish: plain('HardSwish'),
  hard_sigmoid: plain('HardSigmoid', () => ({ alpha: { float: 1 / 6 }, beta: { float: 0.5 } })),
  silu,
  sigmoid: plain('Sigmoid'),
  tanh: plain('Tanh'),
  gelu,
  add: plain('Add'),
  multiply: plain('Mul'),
  scale,
  max_pool: plain('MaxPool', windows),
  average_pool: plain('AveragePool', (node) => ({
    ...windows(node),
    count_include_pad: node.attrs?.count_include_pad === false ? 0 : 1,
  })),
  adaptive_average_pool: adaptiveAveragePool,
  global_average_pool: plain('GlobalAveragePool'),
  global_max_pool: plain('GlobalMaxPool'),
  flatten,
  reshape: (e, node) => void e.add('Reshape', [e.operand(node, 0), e.integers(node, ints(node, 'shape')!)], node.name),
  transpose: plain('Transpose', (node) => ({ perm: ints(node, 'perm') })),
  slice,
  pad,
  concat: plain('Concat', (node) => ({ axis: number(node, 'axis', 1) })),
  reduce,
  softmax: plain('Softmax', (node) => ({ axis: number(node, 'axis', -1) })),
  dropout: (e, node) => e.alias(node.name, node.inputs[0]!),
  embedding,
};
