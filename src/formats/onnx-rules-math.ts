/** Elementwise operators: activations and arithmetic. */
import { inMemory } from './onnx-import.js';
import type { Call, Computed, Known } from './onnx-import.js';
import { squareRoot } from './onnx-rules-norm.js';
import type { Rule } from './onnx-rules.js';
import { axisOf, broadcast } from './onnx-shape.js';
import type { Attribute } from '../graph/types.js';
import { elements } from './types.js';

const activation =
  (op: string, attributes: (call: Call) => Record<string, Attribute | undefined> = () => ({})): Rule =>
  (call) => {
    const x = call.x(0);
    call.out(call.emit(op, [x], attributes(call), x.shape));
  };

const scaled = (call: Call, x: Computed, factor: number): Computed =>
  factor === 1 ? x : call.emit('scale', [x], { factor }, x.shape);

const shifted = (call: Call, x: Computed, by: number): Computed =>
  by === 0 ? x : call.emit('add', [x, call.constant(by)], {}, x.shape);

/** A single number, where operand i is one. */
function single(known: Known | undefined): number | undefined {
  if (!known || elements(known.shape) !== 1 || known.shape.length > 4) return undefined;
  const [number] = known.numbers ?? [];
  return typeof number === 'number' ? number : undefined;
}

// ---- arithmetic ----------------------------------------------------------------------------------------------------

function combined(call: Call, op: 'add' | 'multiply', a: Computed, b: Computed): Computed {
  const shape = broadcast(a.shape, b.shape);
  if (!shape) throw call.lacking(`shapes [${a.shape}] and [${b.shape}], which do not fit`);
  return call.emit(op, [a, b], {}, shape);
}

/** A known operand in the middle of a network is a tensor of it; `change` makes 1/x or -x of its numbers. */
function operand(call: Call, i: number, change?: (n: number) => number): Computed {
  const known = call.known(i);
  if (!known || !change) return call.x(i);
  if (!known.numbers) throw call.lacking('a constant of more than 4096 numbers');
  const changed = inMemory(known, known.shape, (known.numbers as number[]).map(change));
  return call.tensor(changed, `${call.layer}.constant`, 'parameter', 'changed');
}

/** Operand i, where it is a single number that leaves the shape of the other one as it is. */
function factor(call: Call, i: 0 | 1): number | undefined {
  const known = call.known(i);
  return known && known.shape.length <= call.value(1 - i).shape.length ? single(known) : undefined;
}

function add(call: Call): void {
  const numbers = [factor(call, 0), factor(call, 1)];
  const at = numbers.findIndex((n) => n !== undefined);
  if (at < 0) return call.out(combined(call, 'add', call.x(0), call.x(1)));
  call.out(shifted(call, call.x(1 - at), numbers[at]!));
}

function multiply(call: Call): void {
  const numbers = [factor(call, 0), factor(call, 1)];
  const at = numbers.findIndex((n) => n !== undefined);
  if (at < 0) return call.out(combined(call, 'multiply', call.x(0), call.x(1)));
  call.out(scaled(call, call.x(1 - at), numbers[at]!));
}

function subtract(call: Call): void {
  const [a, b] = [factor(call, 0), factor(call, 1)];
  if (b !== undefined) return call.out(shifted(call, call.x(0), -b));
  if (a !== undefined) return call.out(shifted(call, scaled(call, call.x(1), -1), a));
  if (call.known(1))
    return call.out(
      combined(
        call,
        'add',
        call.x(0),
        operand(call, 1, (n) => -n),
      ),
    );
  call.out(combined(call, 'add', call.x(0), scaled(call, call.x(1), -1)));
}

function divide(call: Call): void {
  const b = factor(call, 1);
  if (b !== undefined) return call.out(scaled(call, call.x(0), 1 / b));
  if (!call.known(1)) throw call.lacking('division by what depends on the input');
  call.out(
    combined(
      call,
      'multiply',
      call.x(0),
      operand(call, 1, (n) => 1 / n),
    ),
  );
}

function power(call: Call): void {
  const exponent = single(call.known(1));
  if (exponent !== 1 && exponent !== 2 && exponent !== 3) throw call.lacking('an exponent other than 1, 2 and 3');
  const x = call.x(0);
  let y = x;
  for (let i = 1; i < exponent; i++) y = call.emit('multiply', [y, x], {}, x.shape);
  call.out(y);
}

function sum(call: Call): void {
  let total = call.x(0);
  for (let i = 1; i < call.node.inputs.length; i++) total = combined(call, 'add', total, call.x(i));
  call.out(total);
}

// ---- activations ---------------------------------------------------------------------------------------------------

/** min and max: attributes before opset 11, operands since. Any two limits are a shifted and scaled relu6. */
function clip(call: Call): void {
  const limit = (i: number, name: string, usual: number): number =>
    call.opset < 11 ? call.float(name, usual) : (call.numbers(i, 'a limit')?.[0] ?? usual);
  const [low, high] = [limit(1, 'min', -Infinity), limit(2, 'max', Infinity)];
  const x = call.x(0);
  // Exporters write the largest float where they mean no limit.
  const [free, open] = [low < -3e38, high > 3e38];
  if (free && open) return call.out(x);
  if (!free && open) return call.out(shifted(call, call.emit('relu', [shifted(call, x, -low)], {}, x.shape), low));
  if (free) {
    const turned = scaled(call, shifted(call, x, -high), -1);
    return call.out(shifted(call, scaled(call, call.emit('relu', [turned], {}, x.shape), -1), high));
  }
  const width = high - low;
  if (!(width > 0)) throw call.lacking(`limits ${low} and ${high}`);
  const six = scaled(call, shifted(call, x, -low), 6 / width);
  call.out(shifted(call, scaled(call, call.emit('relu6', [six], {}, x.shape), width / 6), low));
}

/** max(0, min(1, alpha · x + beta)); thaw's has alpha 1/6 and beta 1/2. */
function hardSigmoid(call: Call): void {
  const [alpha, beta] = [call.float('alpha', 0.2), call.float('beta', 0.5)];
  const factor = Math.abs(alpha * 6 - 1) < 1e-6 ? 1 : alpha * 6;
  const x = shifted(call, scaled(call, call.x(0), factor), 6 * (beta - 0.5));
  call.out(call.emit('hard_sigmoid', [x], {}, x.shape));
}

/** One slope for all channels is a leaky relu; slopes of their own train: relu(x) - slope · relu(-x). */
function parametricRelu(call: Call): void {
  const x = call.x(0);
  const slopes = call.known(1)?.numbers;
  if (slopes?.length && slopes.every((slope) => typeof slope === 'number' && slope === slopes[0]))
    return call.out(call.emit('leaky_relu', [x], { alpha: slopes[0] as number }, x.shape));
  const below = scaled(call, call.emit('relu', [scaled(call, x, -1)], {}, x.shape), -1);
  const slope = call.known(1) ? call.tensor(call.known(1)!, `${call.layer}.weight`, 'parameter') : call.x(1);
  const bent = combined(call, 'multiply', below, slope);
  call.out(combined(call, 'add', call.emit('relu', [x], {}, x.shape), bent));
}

/** Before opset 13 all dimensions from `axis` (default 1) on count as one. */
function softmax(call: Call): void {
  const x = call.x(0);
  const rank = x.shape.length;
  const axis = axisOf(call.int('axis', call.opset < 13 ? 1 : -1), rank);
  const alone = x.shape.slice(axis + 1).every((size) => size === 1);
  if (call.opset < 13 && !alone) throw call.lacking('softmax over several dimensions at once');
  call.out(call.emit('softmax', [x], { axis }, x.shape));
}

/**
 * x · (1 + erf(x / √2)) / 2, as exporters write gelu before opset 20: found at its Erf, up to the last of its products.
 * The half may be multiplied before or after.
 */
function erf(call: Call): void {
  const { importer, node } = call;
  const inner = importer.model.nodes.find(({ outputs }) => outputs.includes(node.inputs[0]!));
  const plus = importer.onlyReader(node.outputs[0]!);
  const times = plus?.op === 'Add' ? importer.onlyReader(plus.outputs[0]!) : undefined;
  const other = times?.op === 'Mul' ? times.inputs.find((name) => name !== plus!.outputs[0]) : undefined;
  if (!inner || !plus || !times || other === undefined) throw call.lacking('outside of a gelu');
  const x = importer.values.get(inner.inputs[0]!);
  const number = (name: string | undefined): number => single(asKnown(importer.values.get(name ?? ''))) ?? NaN;
  const root = inner.op === 'Div' ? number(inner.inputs[1]) : 1 / number(inner.inputs[1]);
  const one = number(plus.inputs.find((name) => name !== node.outputs[0]));
  const before = importer.model.nodes.find(({ outputs }) => outputs.includes(other));
  const halved = before?.op === 'Mul' && before.inputs[0] === inner.inputs[0] && number(before.inputs[1]) === 0.5;
  const last = other === inner.inputs[0] ? importer.onlyReader(times.outputs[0]!) : undefined;
  const halfAfter = last?.op === 'Mul' && last.inputs.some((name) => number(name) === 0.5);
  const sound = Math.abs(root - Math.SQRT2) < 1e-4 && one === 1 && (halved || halfAfter) && x?.kind === 'computed';
  if (!sound) throw call.lacking('outside of a gelu');
  const y = call.emit('gelu', [x], {}, x.shape);
  const end = halved ? times : last!;
  for (const done of [plus, times, end]) importer.skip(done);
  importer.values.set(end.outputs[0]!, y);
}

/** Only to f32, which a computed value is already. Casts of what is known at import are folded. */
function cast(call: Call): void {
  if (call.int('to', 0) !== 1) throw call.lacking('a cast to another type than f32');
  call.out(call.x(0));
}

const asKnown = (value: Known | Computed | undefined): Known | undefined =>
  value?.kind === 'known' ? value : undefined;

export const mathRules: Record<string, Rule> = {
  Relu: activation('relu'),
  LeakyRelu: activation('leaky_relu', (call) => ({ alpha: call.float('alpha', 0.01) })),
  HardSwish: activation('hard_swish'),
  Sigmoid: activation('sigmoid'),
  Tanh: activation('tanh'),
  Gelu: activation('gelu', (call) => ({ approximate: call.string('approximate', 'none') })),
  PRelu: parametricRelu,
  HardSigmoid: hardSigmoid,
  Clip: clip,
  Erf: erf,
  Sqrt: squareRoot,
  Softmax: softmax,
  Add: add,
  Sum: sum,
  Sub: subtract,
  Mul: multiply,
  Div: divide,
  Pow: power,
  Neg: (call) => call.out(scaled(call, call.x(0), -1)),
  Identity: (call) => call.out(call.x(0)),
  Cast: cast,
};
