/** Tensors stored in one order of dimensions and wanted in another. */
import { ELEMENT_BYTES, elements, type StorageDType, type TensorEntry, type TensorSource } from './types.js';

/** A tensor as a file has it, row-major without gaps. */
export interface StoredTensor {
  dtype: StorageDType;
  shape: number[];
  source: { path: string; offset: number } | Uint8Array;
}

/**
 * Dimension i of the result is dimension perm[i] of the stored tensor, seen in the shape `view` (default: its own).
 * What lies in a file is read by strides when it is needed; what lies in memory is reordered now.
 */
export function permuted(name: string, stored: StoredTensor, perm: number[], view = stored.shape): TensorEntry {
  const steps = strides(view);
  const shape = perm.map((d) => view[d]!);
  const stepped = perm.map((d) => steps[d]!);
  const { dtype } = stored;
  if (perm.every((d, i) => d === i)) return { name, dtype, shape, source: stored.source };
  const source: TensorSource =
    stored.source instanceof Uint8Array
      ? gathered(stored.source, ELEMENT_BYTES[dtype], shape, stepped)
      : { ...stored.source, strides: stepped };
  return { name, dtype, shape, source };
}

/** Elements from one index to the next of each dimension, row-major. */
function strides(shape: readonly number[]): number[] {
  const steps = new Array<number>(shape.length).fill(1);
  for (let d = shape.length - 2; d >= 0; d--) steps[d] = steps[d + 1]! * shape[d + 1]!;
  return steps;
}

/** Elements of `size` bytes brought into row-major order; `steps`: from one index to the next, in elements. */
export function gathered(bytes: Uint8Array, size: number, shape: number[], steps: number[]): Uint8Array {
  const out = new Uint8Array(elements(shape) * size);
  const index = new Array<number>(shape.length).fill(0);
  for (let at = 0, from = 0; at < out.length; at += size) {
    for (let b = 0; b < size; b++) out[at + b] = bytes[from * size + b]!;
    // The next index, the last dimension first; what overflows goes back to its start.
    for (let d = shape.length - 1; d >= 0; d--) {
      from += steps[d]!;
      if (++index[d]! < shape[d]!) break;
      from -= steps[d]! * shape[d]!;
      index[d] = 0;
    }
  }
  return out;
}
