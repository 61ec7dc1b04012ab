import { expected } from '../errors.js';
import type { GraphDType } from '../graph/types.js';
import type { Tensor, TypedArray } from './types.js';

/** Storage type of a graph type, under safetensors' names. */
export const STORAGE: Readonly<Record<GraphDType, 'F32' | 'BF16' | 'I32' | 'I64' | 'BOOL'>> = {
  f32: 'F32',
  bf16: 'BF16',
  i32: 'I32',
  i64: 'I64',
  bool: 'BOOL',
};

const ARRAYS = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
};

/** A view of received bytes. F16 and BF16 come as their bits. */
export function arrayOf(storage: string, bytes: ArrayBuffer): TypedArray {
  const Kind = ARRAYS[storage as keyof typeof ARRAYS];
  if (!Kind) throw expected('ERR_DTYPE', Object.keys(ARRAYS).join(', '), 'a type of storage', storage);
  return new Kind(bytes);
}

export const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Is it as the core takes it, without a conversion? */
export const isOfType = (dtype: GraphDType, { data, shape }: Tensor): boolean =>
  data instanceof ARRAYS[STORAGE[dtype]] && data.length === elements(shape);

/**
 * A user's tensor as the core takes it. Doubles become f32, and i32 and i64 each other, where `dtype` wants that.
 * @throws ERR_SHAPE, ERR_DTYPE
 */
export function checkedTensor(name: string, dtype: GraphDType, tensor: Tensor): Tensor {
  const { data, shape } = tensor ?? {};
  if (!ArrayBuffer.isView(data))
    throw expected('ERR_DTYPE', '{ data: a typed array, shape }', `tensor '${name}'`, tensor);
  const whole = Array.isArray(shape) && shape.every((size) => Number.isInteger(size) && size >= 0);
  if (!whole) throw expected('ERR_SHAPE', 'a list of whole numbers', `shape of '${name}'`, shape);
  if (data.length !== elements(shape)) {
    throw expected(
      'ERR_SHAPE',
      `${elements(shape)} numbers for shape [${shape.join(', ')}]`,
      `'${name}'`,
      `${data.length}`,
    );
  }
  return { data: converted(name, dtype, data), shape };
}

function converted(name: string, dtype: GraphDType, data: TypedArray): TypedArray {
  const Wanted = ARRAYS[STORAGE[dtype]];
  if (data instanceof Wanted) return data;
  if (dtype === 'f32' && data instanceof Float64Array) return Float32Array.from(data);
  if (dtype === 'i64' && data instanceof Int32Array) return BigInt64Array.from(data, BigInt);
  if (dtype === 'i32' && data instanceof BigInt64Array) return narrowed(name, data);
  throw expected('ERR_DTYPE', `a ${Wanted.name} (${dtype})`, `data of '${name}'`, data);
}

function narrowed(name: string, data: BigInt64Array): Int32Array {
  const outside = data.find((value) => BigInt.asIntN(32, value) !== value);
  if (outside !== undefined) throw expected('ERR_DTYPE', 'numbers of 32 bits', `data of '${name}'`, `${outside}`);
  return Int32Array.from(data, Number);
}
