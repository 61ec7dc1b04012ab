/** One array of NumPy: magic, version, a Python dictionary as header, then the elements. Source: numpy.lib.format. */
import { fault } from './fault.js';
import { elements, ELEMENT_BYTES, MAX_RANK, type StorageDType } from './types.js';

const DTYPES: Readonly<Record<string, StorageDType>> = {
  '<f8': 'F64',
  '<f4': 'F32',
  '<f2': 'F16',
  '<i8': 'I64',
  '<i4': 'I32',
  '<i2': 'I16',
  '|i1': 'I8',
  '|u1': 'U8',
  '|b1': 'BOOL',
};

/** Bytes that hold the header of any sound file; more are refused. */
export const NPY_HEADER = 1 << 16;

export interface Npy {
  dtype: StorageDType;
  shape: number[];
  /** Steps in elements: column-major arrays have them. */
  strides?: number[];
  /** Where the elements start. */
  start: number;
  bytes: number;
}

/** `head`: the first bytes of the array's file. Throws ERR_NPZ. */
export function parseNpy(head: Buffer, where: string): Npy {
  const fail = (what: string, received: unknown): Error => fault('ERR_NPZ', what, where, received);
  if (head.length < 12 || head.toString('latin1', 0, 6) !== '\x93NUMPY') throw fail('an array of NumPy', 'other bytes');
  const wide = head[6]! >= 2;
  const start = wide ? 12 : 10;
  const length = wide ? head.readUInt32LE(8) : head.readUInt16LE(8);
  if (head[6]! > 3 || start + length > head.length) throw fail(`a header of at most ${NPY_HEADER} bytes`, 'another');
  const text = head.toString('utf8', start, start + length);
  const kind = /'descr':\s*'([^']{1,16})'/.exec(text)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(text)?.[1];
  const sizes = /'shape':\s*\(([\d,\s]*)\)/.exec(text)?.[1];
  if (kind === undefined || !Object.hasOwn(DTYPES, kind))
    throw fail(`type ${Object.keys(DTYPES).join(', ')}`, kind ?? 'none');
  if (order === undefined || sizes === undefined)
    throw fail('fortran_order and shape', JSON.stringify(text.slice(0, 80)));
  const shape = sizes
    .split(',')
    .map((s) => s.trim())
    .filter((s) => s !== '')
    .map(Number);
  if (shape.length > MAX_RANK || !shape.every(Number.isSafeInteger) || elements(shape) > 2 ** 40)
    throw fail(`a shape of at most ${MAX_RANK} sizes`, `[${shape.slice(0, 20)}]`);
  const dtype = DTYPES[kind]!;
  const bytes = elements(shape) * ELEMENT_BYTES[dtype];
  return { dtype, shape, start: start + length, bytes, ...(order === 'True' && { strides: columnMajor(shape) }) };
}

function columnMajor(shape: number[]): number[] {
  let step = 1;
  return shape.map((size) => (step *= size) / size || 1);
}
