/** Nodes on numbers that are known at import: shapes, axes, limits. Each returns undefined where its operands are not. */
import type { Call, Known, Value } from './onnx-import.js';
import { transposed } from './onnx-import.js';
import { axisOf, broadcast, joined, quotient } from './onnx-shape.js';
import type { Dim } from './onnx-shape.js';
import { elements } from './types.js';

type Element = Dim | null;
type Operands = (Value | undefined)[];
type Fold = (call: Call, operands: Operands) => Known | undefined;

/** Longer vectors are no shapes. */
const MAX_ELEMENTS = 256;

const made = (shape: number[], numbers: Element[]): Known => ({ kind: 'known', name: '', shape, numbers });

const knownNumbers = (value: Value | undefined): (Known & { numbers: Element[] }) | undefined =>
  value?.kind === 'known' && value.numbers ? (value as Known & { numbers: Element[] }) : undefined;

const wholes = (value: Value | undefined): number[] | undefined => {
  const numbers = knownNumbers(value)?.numbers;
  return numbers?.every((n) => typeof n === 'number') ? (numbers as number[]) : undefined;
};

/** The same elements in another shape; a tensor's bytes stay where they are. */
function viewed(x: Known, shape: number[]): Known | undefined {
  if (elements(shape) !== elements(x.shape)) return undefined;
  if (x.entry && 'strides' in x.entry.source && x.entry.source.strides) return undefined;
  const entry = x.entry && { ...x.entry, shape };
  return { kind: 'known', name: x.name, shape, numbers: x.numbers, entry };
}

const known = (value: Value | undefined): Known | undefined => (value?.kind === 'known' ? value : undefined);

const axesOf = (call: Call, operands: Operands): number[] | undefined =>
  call.has(1) ? wholes(operands[1]) : call.ints('axes');

const same: Fold = (_call, [x]) => known(x);

/** Elementwise on two operands, of which one may be a single number. */
function elementwise(combine: (a: Dim, b: Dim) => Element): Fold {
  return (_call, operands) => {
    const [a, b] = operands.map(knownNumbers);
    if (!a || !b) return undefined;
    const shape = broadcast(a.shape, b.shape) as number[] | undefined;
    if (!shape || elements(shape) > MAX_ELEMENTS) return undefined;
    const numbers = Array.from({ length: elements(shape) }, (_, i) => {
      const [p, q] = [a, b].map((x) => x.numbers[placeIn(i, shape, x.shape)]!) as [Element, Element];
      return p === null || q === null ? null : combine(p, q);
    });
    return withEntry(made(shape, numbers), a, b);
  };
}

/** Which element of a tensor of shape `small` stands at place i of `shape`, to which it is broadcast. */
function placeIn(i: number, shape: readonly number[], small: readonly number[]): number {
  let [at, rest, step] = [0, i, 1];
  for (let axis = 1; axis <= small.length; axis++) {
    const [size, whole] = [small.at(-axis)!, shape.at(-axis)!];
    if (size > 1) at += (rest % whole) * step;
    rest = Math.floor(rest / whole);
    step *= size;
  }
  return at;
}

/** Floats stay tensors that layers can read. */
function withEntry(result: Known, ...operands: Known[]): Known {
  const isFloat = operands.some(({ entry }) => entry && entry.dtype.startsWith('F'));
  if (!isFloat || result.numbers!.some((n) => typeof n !== 'number')) return result;
  const source = new Uint8Array(Float32Array.from(result.numbers as number[]).buffer);
  return { ...result, entry: { name: '', dtype: 'F32', shape: result.shape, source } };
}

const onNumbers =
  (combine: (a: number, b: number) => number) =>
  (a: Dim, b: Dim): Element =>
    typeof a === 'number' && typeof b === 'number' ? combine(a, b) : null;

function gather(call: Call, [data, indices]: Operands): Known | undefined {
  const [x, index] = [knownNumbers(data), wholes(indices)];
  if (!x || !index || index.length > MAX_ELEMENTS || x.shape.length !== 1 || axisOf(call.int('axis', 0), 1) !== 0)
    return undefined;
  const picked = index.map((i) => x.numbers[axisOf(i, x.numbers.length)] ?? null);
  return withEntry(made([...(indices as Known).shape], picked), x);
}

function concat(_call: Call, operands: Operands): Known | undefined {
  const parts = operands.map(knownNumbers);
  if (parts.some((part) => !part || part.shape.length !== 1)) return undefined;
  const numbers = parts.flatMap((part) => part!.numbers);
  return numbers.length <= MAX_ELEMENTS ? withEntry(made([numbers.length], numbers), ...(parts as Known[])) : undefined;
}

function slice(call: Call, operands: Operands): Known | undefined {
  const x = knownNumbers(operands[0]);
  if (!x || x.shape.length !== 1 || x.numbers.length > MAX_ELEMENTS) return undefined;
  const first = (i: number, name: string): number | undefined =>
    (call.opset < 10 ? call.ints(name) : call.has(i) ? wholes(operands[i]) : [])?.[0];
  const [start, end, step = 1] = [first(1, 'starts'), first(2, 'ends'), call.opset < 10 ? 1 : first(4, 'steps')];
  if (start === undefined || end === undefined || step !== 1) return undefined;
  const numbers = x.numbers.slice(start, end);
  return withEntry(made([numbers.length], numbers), x);
}

function unsqueeze(call: Call, operands: Operands): Known | undefined {
  const [x, axes] = [known(operands[0]), axesOf(call, operands)];
  if (!x || !axes) return undefined;
  const rank = x.shape.length + axes.length;
  const at = new Set(axes.map((axis) => axisOf(axis, rank)));
  const left = [...x.shape];
  return viewed(
    x,
    Array.from({ length: Math.min(rank, 64) }, (_, i) => (at.has(i) ? 1 : (left.shift() ?? 1))),
  );
}

function squeeze(call: Call, operands: Operands): Known | undefined {
  const x = known(operands[0]);
  if (!x) return undefined;
  const axes = axesOf(call, operands)?.map((axis) => axisOf(axis, x.shape.length));
  return viewed(
    x,
    x.shape.filter((size, i) => !(axes ? axes.includes(i) : size === 1)),
  );
}

function reshape(_call: Call, operands: Operands): Known | undefined {
  const [x, wanted] = [known(operands[0]), wholes(operands[1])];
  if (!x || !wanted) return undefined;
  const shape = wanted.map((size, i) => (size === 0 ? (x.shape[i] ?? 0) : size));
  const rest = quotient(
    x.shape,
    shape.filter((size) => size !== -1),
  );
  return viewed(
    x,
    shape.map((size) => (size === -1 && typeof rest === 'number' ? rest : size)),
  );
}

function cast(call: Call, [value]: Operands): Known | undefined {
  const x = known(value);
  const whole = [2, 3, 5, 6, 7].includes(call.int('to', 0));
  // Floats of any kind are read as such where a layer reads them.
  if (!x || !x.numbers || x.numbers.length > MAX_ELEMENTS) return whole ? undefined : x;
  const numbers = x.numbers.map((n) => (whole && typeof n === 'number' ? Math.trunc(n) : n));
  if (whole || numbers.some((n) => typeof n !== 'number')) return made(x.shape, numbers);
  return withEntry(made(x.shape, numbers), {
    ...x,
    entry: { name: '', dtype: 'F32', shape: [], source: new Uint8Array() },
  });
}

function constantOfShape(call: Call, [shape]: Operands): Known | undefined {
  const sizes = wholes(shape);
  if (!sizes || sizes.some((size) => size < 0) || elements(sizes) > MAX_ELEMENTS) return undefined;
  const given = call.node.attributes.get('value')?.tensor;
  const value = given?.numbers?.[0] ?? 0;
  const result = made(
    sizes,
    Array.from({ length: elements(sizes) }, () => value),
  );
  if (given && !given.entry.dtype.startsWith('F')) return result;
  return withEntry(result, {
    ...result,
    entry: { name: '', dtype: 'F32', shape: [], source: new Uint8Array() },
  });
}

function shapeOf(call: Call, [x]: Operands): Known | undefined {
  if (!x) return undefined;
  const { length } = x.shape;
  const [start, end] = [call.int('start', 0), call.int('end', length)];
  const dims = x.shape.slice(start, end);
  return made([dims.length], dims);
}

function transpose(call: Call, [value]: Operands): Known | undefined {
  const x = known(value);
  if (!x) return undefined;
  return transposed(x, call.ints('perm') ?? x.shape.map((_, i) => x.shape.length - 1 - i));
}

function product(call: Call, operands: Operands): Known | undefined {
  const x = knownNumbers(operands[0]);
  if (!x || x.numbers.length > 16) return undefined;
  const given = axesOf(call, operands) ?? [];
  const axes = given.length > 0 ? given.map((axis) => axisOf(axis, x.shape.length)) : x.shape.map((_, i) => i);
  const kept = x.shape.map((size, i) => (axes.includes(i) ? 1 : size));
  const factors = Array.from({ length: elements(kept) }, (): Element[] => []);
  x.numbers.forEach((n, i) => factors[placeIn(i, x.shape, kept)]!.push(n));
  const numbers = factors.map((list) => (list.includes(null) ? null : joined(list as Dim[])));
  const shape = call.int('keepdims', 1) === 1 ? kept : x.shape.filter((_, i) => !axes.includes(i));
  return withEntry(made(shape, numbers), x);
}

export const FOLDS: Record<string, Fold> = {
  Shape: shapeOf,
  Size: (_call, [x]) => x && made([], [joined(x.shape)]),
  Gather: gather,
  Concat: concat,
  Slice: slice,
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Reshape: reshape,
  Cast: cast,
  ConstantOfShape: constantOfShape,
  Transpose: transpose,
  ReduceProd: product,
  Identity: same,
  Floor: (_call, [x]) => mapped(x, Math.floor),
  Ceil: (_call, [x]) => mapped(x, Math.ceil),
  Neg: (_call, [x]) => mapped(x, (n) => -n),
  Add: elementwise(onNumbers((a, b) => a + b)),
  Sub: elementwise(onNumbers((a, b) => a - b)),
  Mul: elementwise((a, b) => joined([a, b])),
  Div: (call, operands) => {
    const isFloat = operands.some((x) => x?.kind === 'known' && x.entry?.dtype.startsWith('F'));
    const divide = (a: Dim, b: Dim): Element =>
      isFloat ? onNumbers((p, q) => p / q)(a, b) : (quotient([a], [b]) ?? onNumbers((p, q) => Math.trunc(p / q))(a, b));
    return elementwise(divide)(call, operands);
  },
};

function mapped(value: Value | undefined, change: (n: number) => number): Known | undefined {
  const x = knownNumbers(value);
  if (!x || x.numbers.length > MAX_ELEMENTS) return undefined;
  const result = made(
    x.shape,
    x.numbers.map((n) => (typeof n === 'number' ? change(n) : null)),
  );
  return withEntry(result, x);
}
