/** Operators that move elements: reshape, transpose, slice, split, concat, pad, resize by whole numbers. */
import type { Call, Computed } from './onnx-import.js';
import type { Rule } from './onnx-rules.js';
import { axisOf, joined, product, quotient } from './onnx-shape.js';
import type { Dim } from './onnx-shape.js';
import { upsampleNearest } from './upsample.js';

/** A second shape of the same elements. What is no number keeps its place (0) or is what is left (-1), which one may be. */
function reshaped(call: Call, x: Computed, dims: Dim[]): Computed {
  if (dims.length === x.shape.length && dims.every((size, i) => size === x.shape[i])) return x;
  const flat =
    dims.length === 2 && x.shape.length > 1 && dims[0] === x.shape[0] && quotient(x.shape.slice(1), [dims[1]!]) === 1;
  if (flat) return call.emit('flatten', [x], { start: 1 }, dims);
  const shape = dims.map((size, i) => (typeof size === 'number' ? size : size === x.shape[i] ? 0 : -1));
  if (shape.filter((size) => size === -1).length > 1) throw call.lacking('a shape with several unknown sizes');
  return call.emit('reshape', [x], { shape }, dims);
}

function reshape(call: Call): void {
  const wanted = call.opset < 5 ? call.ints('shape') : call.known(1)?.numbers;
  if (!wanted) throw call.lacking('a shape that depends on the values of the input');
  const x = call.x(0);
  const zeros = call.int('allowzero', 0) === 1;
  const dims = wanted.map((size, i): Dim => (size === 0 && !zeros ? (x.shape[i] ?? 0) : (size ?? -1)));
  call.out(reshaped(call, x, resolved(call, x, dims)));
}

/** -1 filled in. Where the file was made for one batch size, its number is put back to N. */
function resolved(call: Call, x: Computed, dims: Dim[]): Dim[] {
  const { batch } = call.importer;
  if (batch !== undefined && dims[0] === batch && x.shape[0] === 'N') dims[0] = 'N';
  const lostBatch =
    batch !== undefined &&
    !dims.includes(-1) &&
    product(x.shape).symbols.includes('N') &&
    !product(dims).symbols.includes('N');
  if (lostBatch) dims[Math.max(0, dims.indexOf(batch))] = -1;
  const open = dims.indexOf(-1);
  if (open < 0) return dims;
  if (dims.lastIndexOf(-1) !== open) throw call.lacking('a shape with several unknown sizes');
  const rest = quotient(
    x.shape,
    dims.filter((_, i) => i !== open),
  );
  dims[open] = rest ?? call.unknown();
  return dims;
}

function flatten(call: Call): void {
  const x = call.x(0);
  const axis = axisOf(call.int('axis', 1), x.shape.length);
  call.out(reshaped(call, x, [joined(x.shape.slice(0, axis)), joined(x.shape.slice(axis))]));
}

const axesOf = (call: Call): number[] | undefined => (call.has(1) ? call.numbers(1, 'axes') : call.ints('axes'));

function squeeze(call: Call): void {
  const x = call.x(0);
  const axes = axesOf(call)?.map((axis) => axisOf(axis, x.shape.length));
  call.out(
    reshaped(
      call,
      x,
      x.shape.filter((size, i) => !(axes ? axes.includes(i) : size === 1)),
    ),
  );
}

function unsqueeze(call: Call): void {
  const x = call.x(0);
  const given = axesOf(call) ?? [];
  const rank = x.shape.length + given.length;
  const axes = given.map((axis) => axisOf(axis, rank));
  const left = [...x.shape];
  call.out(
    reshaped(
      call,
      x,
      Array.from({ length: Math.min(rank, 16) }, (_, i) => (axes.includes(i) ? 1 : (left.shift() ?? 1))),
    ),
  );
}

function transpose(call: Call): void {
  const x = call.x(0);
  const perm = call.ints('perm') ?? x.shape.map((_, i) => x.shape.length - 1 - i);
  if (perm.some((axis) => x.shape[axis] === undefined))
    throw call.importer.fail('axes of the operand', 'Transpose', perm);
  call.out(
    call.emit(
      'transpose',
      [x],
      { perm },
      perm.map((axis) => x.shape[axis]!),
    ),
  );
}

function concat(call: Call): void {
  const parts = call.node.inputs.map((_, i) => call.x(i));
  const axis = axisOf(call.int('axis', 1), parts[0]!.shape.length);
  const sizes = parts.map(({ shape }) => shape[axis]!);
  const total = sizes.every((size) => typeof size === 'number')
    ? sizes.reduce((sum: number, size) => sum + (size as number), 0)
    : call.unknown();
  if (parts.length === 1) return call.out(parts[0]!);
  call.out(
    call.emit(
      'concat',
      parts,
      { axis },
      parts[0]!.shape.map((size, i) => (i === axis ? total : size)),
    ),
  );
}

// ---- parts ---------------------------------------------------------------------------------------------------------

/** Elements [start, end) of one axis; the whole axis leaves nothing behind. */
function part(call: Call, x: Computed, axis: number, start: number, end: number, step = 1): Computed {
  const size = x.shape[axis]!;
  if (step < 1) throw call.lacking('a step below 1');
  const known = typeof size === 'number';
  const at = (i: number): number => (known ? Math.max(0, Math.min(size, i < 0 ? i + size : i)) : i);
  const [from, to] = [at(start), at(end)];
  if (from === 0 && step === 1 && (known ? to === size : to >= 2 ** 31 - 1)) return x;
  const dims = x.shape.map((old, i) => (i !== axis ? old : known ? Math.ceil((to - from) / step) : call.unknown()));
  const last = !known && to >= 2 ** 31 - 1 ? undefined : to;
  return call.emit('slice', [x], { axis, start: from, end: last, step }, dims);
}

function slice(call: Call): void {
  const old = call.opset < 10;
  const given = (i: number, name: string): number[] | undefined => (old ? call.ints(name) : call.numbers(i, name));
  const [starts = [], ends = []] = [given(1, 'starts'), given(2, 'ends')];
  const axes = given(3, 'axes') ?? starts.map((_, i) => i);
  const steps = (old ? undefined : call.numbers(4, 'steps')) ?? starts.map(() => 1);
  let x = call.x(0);
  axes.forEach((axis, i) => (x = part(call, x, axisOf(axis, x.shape.length), starts[i] ?? 0, ends[i] ?? 0, steps[i])));
  call.out(x);
}

function split(call: Call): void {
  const x = call.x(0);
  const axis = axisOf(call.int('axis', 0), x.shape.length);
  const size = x.shape[axis];
  const count = call.node.outputs.length;
  if (typeof size !== 'number') throw call.lacking('an axis of unknown size');
  const each = Math.ceil(size / count);
  const sizes = (call.has(1) ? call.numbers(1, 'sizes') : call.ints('split')) ?? call.node.outputs.map(() => each);
  let start = 0;
  sizes.slice(0, count).forEach((length, i) => {
    const end = Math.min(size, start + length);
    if (call.node.outputs[i]) call.out(part(call, x, axis, start, end), i);
    start = end;
  });
}

/** Picks by known indices, whose dimensions take the place of the axis. */
function gather(call: Call): void {
  const indices = call.known(1);
  const numbers = call.numbers(1, 'indices') ?? [];
  const x = call.x(0);
  const axis = axisOf(call.int('axis', 0), x.shape.length);
  if (!indices || numbers.length === 0 || numbers.length > 64) throw call.lacking('none or more than 64 indices');
  const picked = pick(call, x, axis, numbers);
  call.out(reshaped(call, picked, [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)]));
}

function pick(call: Call, x: Computed, axis: number, numbers: number[]): Computed {
  const run = numbers.every((n, i) => n === numbers[0]! + i) && numbers[0]! >= 0;
  if (run) return part(call, x, axis, numbers[0]!, numbers.at(-1)! + 1);
  const parts = numbers.map((i) => part(call, x, axis, i, i === -1 ? 2 ** 31 : i + 1));
  if (parts.length === 1) return parts[0]!;
  const shape = x.shape.map((size, i) => (i === axis ? numbers.length : size));
  return call.emit('concat', parts, { axis }, shape);
}

// ---- larger ----------------------------------------------------------------------------------------------------------

function pad(call: Call): void {
  const x = call.x(0);
  const rank = x.shape.length;
  const given = call.opset < 11 ? (call.ints('pads') ?? []) : (call.numbers(1, 'pads') ?? []);
  const axes = call.has(3)
    ? (call.numbers(3, 'axes') ?? []).map((axis) => axisOf(axis, rank))
    : x.shape.map((_, i) => i);
  const pads = Array.from({ length: 2 * rank }, () => 0);
  axes.forEach((axis, i) => {
    pads[axis] = given[i] ?? 0;
    pads[rank + axis] = given[axes.length + i] ?? 0;
  });
  if (pads.every((size) => size === 0)) return call.out(x);
  if (call.string('mode', 'constant') !== 'constant') throw call.lacking(`mode ${call.string('mode', '')}`);
  if (pads.some((size) => size < 0)) throw call.lacking('pads below zero');
  const value = call.opset < 11 ? call.float('value', 0) : (call.numbers(2, 'a value')?.[0] ?? 0);
  const shape = x.shape.map((size, i): Dim => {
    const more = pads[i]! + pads[rank + i]!;
    return more === 0 ? size : typeof size === 'number' ? size + more : call.unknown();
  });
  call.out(call.emit('pad', [x], { pads, value }, shape));
}

/** Each pixel becomes a square of equal ones, where height and width grow by whole numbers. */
function resize(call: Call): void {
  const x = call.x(0);
  const [height, width] = factors(call, x);
  const rounding =
    call.opset < 11 || call.node.op === 'Upsample' ? 'floor' : call.string('nearest_mode', 'round_prefer_floor');
  const place = call.string('coordinate_transformation_mode', call.opset < 11 ? 'asymmetric' : 'half_pixel');
  // Of these pairs we know that pixel i comes from pixel floor(i / factor).
  const repeats =
    (place === 'asymmetric' && rounding === 'floor') || (place === 'half_pixel' && rounding.startsWith('round_'));
  if (call.string('mode', 'nearest') !== 'nearest' || !repeats || !Number.isInteger(height) || !Number.isInteger(width))
    throw call.lacking('only nearest by whole numbers is supported');
  const [n, c, h, w] = x.shape as [Dim, Dim, Dim, Dim];
  if (height === 1 && width === 1) return call.out(x);
  const { g } = call.importer;
  const named = (step: string): string => call.importer.fresh(step === '' ? call.layer : `${call.layer}.${step}`);
  const name = upsampleNearest(g, named, x.name, w, [height!, width!], (what) => call.lacking(what));
  call.out({ kind: 'computed', name, shape: [n, c, joined([h, height!]), joined([w, width!])] });
}

/** Scales, or sizes over the picture's own, for height and width. */
function factors(call: Call, x: Computed): number[] {
  const at = call.node.op === 'Upsample' || call.opset < 11 ? 1 : 2;
  const given = call.opset < 9 ? call.node.attributes.get('scales')?.floats : call.numbers(at, 'scales');
  const sizes = at === 2 && call.has(3) ? call.numbers(3, 'sizes') : undefined;
  const scales = given?.length ? given : sizes?.map((size, i) => (i < 2 ? 1 : size / Number(x.shape[i])));
  const sound =
    x.shape.length === 4 && scales?.length === 4 && scales[0] === 1 && scales[1] === 1 && scales.every((s) => s >= 1);
  if (!sound) throw call.lacking('only nearest by whole numbers is supported');
  return scales.slice(2);
}

export const shapeRules: Record<string, Rule> = {
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transpose,
  Concat: concat,
  Slice: slice,
  Split: split,
  Gather: gather,
  Pad: pad,
  Resize: resize,
  Upsample: resize,
};
