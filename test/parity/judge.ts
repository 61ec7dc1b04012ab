/** How far results lie from PyTorch's float64, in units of PyTorch's own float32 error. */
import { readFileSync } from 'node:fs';
import { elements } from '../../src/formats/checkpoint.js';

/** thaw's error may be this many times that of PyTorch's own float32. */
const FACTOR = 3;
/** Rounding a result to float32 alone costs as much; PyTorch's error may be smaller by luck. */
const ROUNDING = 2 ** -24;

/** One tensor of a reference. */
export interface Wanted {
  name: string;
  shape: number[];
  /** The reference has `count` numbers of it: every `stride`-th element. */
  stride: number;
  count: number;
  /** Euclidean norms of those numbers and of PyTorch's float32 error. */
  norm: number;
  torchError: number;
}

/** The error of one tensor. */
export interface Judgement {
  name: string;
  /** thaw's error in units of PyTorch's. */
  ratio: number;
  /** thaw's error relative to the norm of the tensor. */
  error: number;
}

/** Float64 numbers that a script has written. */
export function readNumbers(path: string): Float64Array {
  const bytes = readFileSync(path);
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/**
 * Euclidean distances to the reference, each against PyTorch's, for every tensor of `wanted`; `numbers` holds theirs in
 * order. A tensor that is missing or of another size has an infinite error.
 */
export function judge(found: Map<string, ArrayLike<number>>, wanted: Wanted[], numbers: Float64Array): Judgement[] {
  const output = wanted.find(({ name }) => name === 'output');
  let at = 0;
  return wanted.map(({ name, shape, stride, count, norm, torchError }) => {
    const reference = numbers.subarray(at, (at += count));
    const own = found.get(name);
    if (own?.length !== elements(shape)) return { name, ratio: Infinity, error: Infinity };
    const error = Math.sqrt(reference.reduce((sum, value, i) => sum + (own[i * stride]! - value) ** 2, 0));
    // The loss is one number, whose error in PyTorch may be anything from none up to that of the output.
    const relative = name === 'loss' && output ? output.torchError / output.norm : ROUNDING;
    const least = Math.max(torchError, relative * norm);
    // Where the reference is zero throughout, so must the result be.
    return { name, ratio: error === 0 ? 0 : error / least, error: norm > 0 ? error / norm : error };
  });
}

/** Those further from the reference than they may be, in words. */
export function tooFar(judgements: Judgement[]): string[] {
  return judgements
    .filter(({ ratio }) => !(ratio <= FACTOR))
    .map(({ name, ratio, error }) => `${name}: ${ratio.toFixed(2)} times PyTorch's error (${error} of the norm)`);
}

/** Median and worst ratio, as a row of a table. */
export function summary(judgements: Judgement[]) {
  const sorted = [...judgements].sort((a, b) => a.ratio - b.ratio);
  const worst = sorted.at(-1)!;
  return {
    tensors: sorted.length,
    median: Number(sorted[sorted.length >> 1]!.ratio.toFixed(2)),
    worst: Number(worst.ratio.toFixed(2)),
    at: worst.name,
  };
}
