import type { ThawError } from '../errors.js';
import type { GraphDescription } from '../graph/types.js';
import type { Preprocessing } from '../zoo/types.js';

/** Element types of stored tensors, under safetensors' names. */
export type StorageDType = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL';

/** Bytes of one element. */
export const ELEMENT_BYTES: Readonly<Record<StorageDType, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** More dimensions than this are refused. */
export const MAX_RANK = 16;

/** Where a tensor's bytes lie: little-endian in a file from byte `offset` on, or in memory, row-major or by strides. */
export type TensorSource = FileSource | { bytes: Uint8Array; strides: number[] } | Uint8Array;

export interface FileSource {
  path: string;
  offset: number;
  /** Steps in elements for each dimension; absent: row-major without gaps. */
  strides?: number[];
}

export interface TensorEntry {
  name: string;
  dtype: StorageDType;
  shape: number[];
  source: TensorSource;
}

/** What a weight file holds. Only its description is read; the tensors' bytes stay in the file. */
export interface Checkpoint {
  path: string;
  format: 'safetensors' | 'torch-zip' | 'torch-legacy' | 'onnx' | 'tfjs' | 'keras-h5' | 'keras-zip' | 'darknet' | 'npz';
  /** In the order of the file. An alias has an entry of its own with the same source. */
  tensors: Map<string, TensorEntry>;
  /**
   * safetensors: the strings of `__metadata__`. PyTorch files: `prefix` that was stripped from all names, `nested` the
   * entry in which the tensors lay, `skipped` the entries that are no tensors; each only where there is one.
   */
  metadata: Record<string, string>;
  /** Names that share all their bytes with an earlier name: alias → first name. */
  aliases: Map<string, string>;
  /** The file's own graph, as it stands there; absent where it has none. */
  nodes?: FileNode[];
  /**
   * The file's own graph as one of thaw's, with the tensors that it reads; absent where the file has none. Throws where
   * an operator is missing or the graph contradicts itself: such a file can still be looked at.
   */
  network?: () => FileNetwork;
}

/** A node of a file's own graph, in the file's words. */
export interface FileNode {
  name: string;
  op: string;
  inputs: string[];
  outputs: string[];
}

/** A network that comes with its own graph. */
export interface FileNetwork {
  name: string;
  graph: GraphDescription;
  /** By the names of the graph's parameters and states. */
  tensors: Map<string, TensorEntry>;
  /** What the file says, or what is known of its kind; absent where nothing is. */
  preprocessing?: Preprocessing;
  /** What was done beyond the letter of the file, a sentence each. */
  notes: string[];
}

export interface OpenOptions {
  signal?: AbortSignal | undefined;
  /** Darknet: the file of weights, where it does not lie beside the .cfg under the same name. */
  weights?: string | undefined;
  /** Keras, TensorFlow.js, ONNX: height and width of the pictures, where the file leaves them open. */
  inputSize?: readonly [number, number] | undefined;
}

/** A file whose network has no graph here: `error` is for whoever loads it, not for whoever looks at it. */
export function withoutNetwork(checkpoint: Checkpoint, error: ThawError): Checkpoint {
  const network = (): never => {
    throw error;
  };
  return { ...checkpoint, network };
}

/** Number of elements; 1 for a scalar. NaN-free: callers check that sizes are whole numbers. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((n, size) => n * size, 1);
}
