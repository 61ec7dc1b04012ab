/** What of ONNX's official node tests lies outside of what thaw reads, told by the case itself. */

/** An array as the generator writes it; without data where it is not f32, without shape where it is no tensor. */
export interface Packed {
  dtype: string;
  shape: number[] | null;
  data?: string;
}

export interface Case {
  name: string;
  opset: number;
  /** Operators of all its nodes; attributes are those of the first. */
  ops: string[];
  attributes: Record<string, unknown>;
  rtol: number;
  atol: number;
  inputs: Packed[];
  output: Packed;
  outputs: number;
  ways: { way: Way; file: string; feeds: Record<string, Packed>; wanted: Packed }[];
}

/** How a case's operands are given; see onnx_official.py. */
export type Way = 'first' | 'all' | 'known';

/** Shapes, axes and the like are of these types, and only as tensors of the file. */
const WHOLE = ['int64', 'int32', 'bool'];
/** Operators on what is known at import only. */
const SHAPES = ['Shape', 'Size', 'Floor', 'Ceil', 'ReduceProd'];
/** Operators on pictures: kernels of two sides. */
const WINDOWS = ['Conv', 'MaxPool', 'AveragePool', 'GlobalAveragePool', 'GlobalMaxPool'];

const rank = ({ shape }: Packed): number => shape?.length ?? 0;
const count = ({ shape }: Packed): number => (shape ?? []).reduce((a, b) => a * b, 1);

/** True where the types are not those that thaw computes with: such a case says nothing about thaw. */
export function otherTypes({ ops, inputs, output }: Case, way: Way): boolean {
  const known = way === 'known';
  if (ops.every((op) => op === 'Cast'))
    return !known || ![...inputs, output].every(({ dtype }) => /^float/.test(dtype));
  const folded = known && ops.every((op) => ['ConstantOfShape', 'Shape', 'Size'].includes(op));
  const operands = inputs.every(({ dtype }, i) => dtype === 'float32' || (WHOLE.includes(dtype) && (i > 0 || folded)));
  return !operands || !(output.dtype === 'float32' || (folded && WHOLE.includes(output.dtype)));
}

type Rule = [string, string[], (c: Case, way: Way) => boolean];

/** The words of src/formats/onnx-claims.ts as conditions. */
const RULES: Rule[] = [
  ['on what is known at import only', SHAPES, (_, way) => way !== 'known'],
  ['pictures only', WINDOWS, ({ inputs }) => rank(inputs[0]!) !== 4],
  ['not in training mode', ['BatchNormalization'], ({ attributes }) => attributes['training_mode'] === 1],
  ['not in training mode', ['Dropout'], ({ name }) => /^test_training_(?!.*zero_ratio)/.test(name)],
  ['a divisor known at import', ['Div'], (_, way) => way === 'all'],
  ['within a gelu only', ['Erf'], ({ ops }) => ops.length === 1],
  ['within a layer norm only', ['Sqrt'], () => true],
  ['not over the batch', ['LayerNormalization'], overBatch],
  ['no indices', ['MaxPool'], ({ outputs }) => outputs > 1],
  ['exponents 1, 2 and 3', ['Pow'], ({ inputs }, way) => way === 'all' || count(inputs[1]!) > 1],
  ['no empty tensors', ['Reshape', 'Slice'], ({ output }) => count(output) === 0],
  ['nearest by whole numbers', ['Resize'], (c) => !repeats(c)],
  ['no steps below 1', ['Slice'], ({ name }) => name.endsWith('_neg_steps')],
  ['not along the batch', ['Split'], (c, way) => way !== 'known' && ((c.attributes['axis'] as number) ?? 0) === 0],
];

function overBatch({ attributes, inputs }: Case, way: Way): boolean {
  const axis = (attributes['axis'] as number | undefined) ?? -1;
  return way !== 'known' && [0, -rank(inputs[0]!)].includes(axis);
}

function repeats({ attributes, inputs, output }: Case): boolean {
  const { mode, coordinate_transformation_mode: place = 'half_pixel', nearest_mode: nearest } = attributes;
  const rounding = (nearest as string | undefined) ?? 'round_prefer_floor';
  const whole = inputs[0]!.shape!.every((size, i) => Number.isInteger(output.shape![i]! / size));
  const even =
    (place === 'half_pixel' && rounding.startsWith('round_')) || (place === 'asymmetric' && rounding === 'floor');
  return mode === 'nearest' && whole && even;
}

/** Why thaw does not read this form of an operator; undefined where it claims to. */
export function outside(c: Case, way: Way): string | undefined {
  return RULES.find(([, ops, holds]) => c.ops.some((op) => ops.includes(op)) && holds(c, way))?.[0];
}
