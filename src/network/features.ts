import { ThawError } from '../errors.js';
import type { GraphDescription, NodeDescription } from '../graph/types.js';
import { producer, tensorOf } from './graph-edit.js';

/**
 * Shape of one sample of a value: [features], or [channels, height, width] with 0 where a size is not known.
 * A head needs it at the moment it is made, ahead of any compilation; the core checks it when it infers all shapes.
 * @throws ERR_HEAD where it cannot be told
 */
export function featureShape(
  graph: GraphDescription,
  value: string,
  input: { height: number; width: number } | null,
): number[] {
  const known = new Map<string, number[]>();
  for (const { name, shape } of graph.inputs)
    known.set(
      name,
      shape.slice(1).map((size) => (typeof size === 'number' ? size : 0)),
    );
  if (input) for (const shape of known.values()) if (shape.length === 3) shape.splice(1, 2, input.height, input.width);
  const last = producer(graph, value);
  for (const node of graph.nodes) {
    const shape = outputShape(graph, node, known);
    if (shape) known.set(node.name, shape);
    if (node === last) break;
  }
  const found = known.get(value);
  if (found && found.length > 0 && found[0]! > 0) return found;
  throw new ThawError(
    'ERR_HEAD',
    `expected a layer whose number of features is known for the end of the body, received '${value}'`,
  );
}

type Shapes = Map<string, number[]>;

/** Elementwise operators, and all that are not named here, keep the shape of their first operand. */
function outputShape(graph: GraphDescription, node: NodeDescription, known: Shapes): number[] | undefined {
  const x = known.get(node.inputs[0] ?? '');
  if (!x) return undefined;
  const rule = RULES[node.op];
  return rule ? rule(x, node, graph, known) : x;
}

type Rule = (x: number[], node: NodeDescription, graph: GraphDescription, known: Shapes) => number[] | undefined;

const RULES: Record<string, Rule> = {
  conv2d: (x, node, graph) => {
    const weight = parameterShape(graph, node.inputs[1]);
    return weight && [weight[0]!, ...windows(x, node, weight.slice(2))];
  },
  linear: (x, node, graph) => {
    const weight = parameterShape(graph, node.inputs[1]);
    return weight && [...x.slice(0, -1), weight[0]!];
  },
  max_pool: (x, node) => [x[0]!, ...windows(x, node, ints(node, 'kernel'))],
  average_pool: (x, node) => [x[0]!, ...windows(x, node, ints(node, 'kernel'))],
  adaptive_average_pool: (x, node) => [x[0]!, ...ints(node, 'output_size')],
  global_average_pool: (x) => [x[0]!, 1, 1],
  global_max_pool: (x) => [x[0]!, 1, 1],
  flatten: (x, node) => ((node.attrs?.start ?? 1) === 1 ? [product(x)] : undefined),
  concat: (x, node, _graph, known) => {
    const parts = node.inputs.map((name) => known.get(name ?? ''));
    const axis = Number(node.attrs?.axis) - 1;
    if (!(axis in x) || parts.some((part) => !part)) return undefined;
    const sizes = parts.map((part) => part![axis]!);
    const joined = sizes.includes(0) ? 0 : sizes.reduce((sum, size) => sum + size);
    return x.map((size, i) => (i === axis ? joined : size));
  },
  slice: (x, node) => sliced(x, node),
  reshape: (x, node) => reshaped(x, ints(node, 'shape')),
  transpose: (x, node) => {
    const [first, ...perm] = ints(node, 'perm');
    return first === 0 ? perm.map((axis) => x[axis - 1]!) : undefined;
  },
  reduce: (x, node) => {
    const axes = ints(node, 'axes');
    if (node.attrs?.keepdims === true) return x.map((size, i) => (axes.includes(i + 1) ? 1 : size));
    return x.filter((_, i) => !axes.includes(i + 1) && !axes.includes(i - x.length));
  },
  // These put features where only a full inference can follow them.
  matmul: () => undefined,
  embedding: () => undefined,
  pad: (x, node) => {
    const pads = ints(node, 'pads');
    return x.map((size, i) => (size ? size + pads[i + 1]! + pads[x.length + 2 + i]! : 0));
  },
};

function parameterShape(graph: GraphDescription, name: string | null | undefined): number[] | undefined {
  return typeof name === 'string' && !producer(graph, name) ? tensorOf(graph, name).shape : undefined;
}

const ints = (node: NodeDescription, name: string): number[] => (node.attrs?.[name] as number[] | undefined) ?? [];

/** Heights and widths after sliding a window; 0 stays 0 (not known). */
function windows(x: number[], node: NodeDescription, kernel: number[]): number[] {
  const isPool = node.op !== 'conv2d';
  const stride = node.attrs?.stride !== undefined ? ints(node, 'stride') : isPool ? kernel : [1, 1];
  const dilation = node.attrs?.dilation !== undefined ? ints(node, 'dilation') : [1, 1];
  const padding = node.attrs?.padding !== undefined ? ints(node, 'padding') : [0, 0, 0, 0];
  return [0, 1].map((axis) => {
    const [size, step] = [x[axis + 1] ?? 0, stride[axis]!];
    if (size === 0) return 0;
    const before = padding[axis]!;
    const room = size + before + padding[axis + 2]! - (dilation[axis]! * (kernel[axis]! - 1) + 1);
    if (node.attrs?.ceil_mode !== true) return Math.floor(room / step) + 1;
    const count = Math.ceil(room / step) + 1;
    // As in PyTorch, a last window that would begin in the padding is left out.
    return (count - 1) * step >= size + before ? count - 1 : count;
  });
}

/** Of a reshape that leaves the samples apart: 0 keeps a size at its place, -1 is what is left. */
function reshaped(x: number[], [first, ...shape]: number[]): number[] | undefined {
  if (first !== 0) return undefined;
  const sizes = shape.map((size, i) => (size === 0 ? (x[i] ?? 0) : size));
  const known = sizes.filter((size) => size !== -1);
  const left = [...x, ...known].includes(0) ? 0 : product(x) / product(known);
  return sizes.map((size) => (size === -1 ? left : size));
}

const product = (sizes: number[]): number => sizes.reduce((all, size) => all * size, 1);

function sliced(x: number[], node: NodeDescription): number[] | undefined {
  const { axis, start, end, step = 1 } = (node.attrs ?? {}) as Record<string, number>;
  const size = x[axis! - 1];
  if (!size) return axis === 1 ? undefined : x;
  const at = (i: number): number => Math.min(size, i < 0 ? i + size : i);
  return x.map((old, i) => (i === axis! - 1 ? Math.ceil((at(end!) - at(start!)) / step) : old));
}
