/** Tensors stored in one order of dimensions and wanted in another. */
import type { StorageDType, TensorEntry, TensorSource } from './types.js';

/** A tensor as a file has it, row-major without gaps. */
export interface StoredTensor {
  dtype: StorageDType;
  shape: number[];
  source: { path: string; offset: number } | Uint8Array;
}

/**
 * Dimension i of the result is dimension perm[i] of the stored tensor, seen in the shape `view` (default: its own).
 * Nothing is moved here: the elements are brought into order when the network takes them.
 */
export function permuted(name: string, stored: StoredTensor, perm: number[], view = stored.shape): TensorEntry {
  const steps = strides(view);
  const shape = perm.map((d) => view[d]!);
  const stepped = perm.map((d) => steps[d]!);
  const { dtype } = stored;
  if (perm.every((d, i) => d === i)) return { name, dtype, shape, source: stored.source };
  const source: TensorSource =
    stored.source instanceof Uint8Array
      ? { bytes: stored.source, strides: stepped }
      : { ...stored.source, strides: stepped };
  return { name, dtype, shape, source };
}

/** Elements from one index to the next of each dimension, row-major. */
function strides(shape: readonly number[]): number[] {
  const steps = new Array<number>(shape.length).fill(1);
  for (let d = shape.length - 2; d >= 0; d--) steps[d] = steps[d + 1]! * shape[d + 1]!;
  return steps;
}
