import { setImmediate } from 'node:timers/promises';
import type { Batch, Tensor } from '../data/types.js';
import type { TypedArray } from '../network/types.js';
import { permutation } from './random.js';

/** How many rows each batch of an epoch has, where every sample can be read; see `joinSingles` about a batch of one. */
export function batchSizes(length: number, batch: number): number[] {
  const sizes = Array.from({ length: Math.ceil(length / batch) }, (_, i) => Math.min(batch, length - i * batch));
  if (batch > 1 && sizes.length > 1 && sizes.at(-1) === 1) {
    sizes.pop();
    sizes[sizes.length - 1]! += 1;
  }
  return sizes;
}

/** The rows of each batch of one epoch: a permutation drawn from (seed, epoch), cut into batches of `batch`. */
export function shuffledRows(length: number, batch: number, seed: number, epoch: number): Int32Array[] {
  const order = permutation(length, seed, epoch);
  return Array.from({ length: Math.ceil(length / batch) }, (_, i) => order.subarray(i * batch, (i + 1) * batch));
}

/** 0 … length-1 in order, cut into batches. */
export function rowsInOrder(length: number, batch: number): Int32Array[] {
  const order = Int32Array.from({ length }, (_, i) => i);
  return Array.from({ length: Math.ceil(length / batch) }, (_, i) => order.subarray(i * batch, (i + 1) * batch));
}

/** Optimizer steps in an epoch; the same for every epoch, whatever is frozen. */
export function stepsPerEpoch(length: number, batch: number, accumulate: number): number {
  return Math.ceil(batchSizes(length, batch).length / accumulate);
}

/** A batch of an epoch: one of the loader's, or several joined under the index of the first. */
export interface EpochBatch extends Batch {
  /** Number of the loader's batches that are used up once this one is; where a resumed epoch goes on. */
  until: number;
}

/** A batch, with its place among those of its optimizer step. */
export interface PlacedBatch {
  batch: EpochBatch;
  /** The one after it. */
  next?: EpochBatch;
  /** First or last of the batches whose gradients are summed for one update. */
  first: boolean;
  last: boolean;
}

/**
 * Batches with their place in the accumulation. One batch is held back, for only the next one says whether a step ends
 * (files that cannot be read may leave out any batch).
 */
export async function* placed(batches: AsyncIterable<EpochBatch>, accumulate: number): AsyncGenerator<PlacedBatch> {
  const group = (batch: Batch): number => Math.floor(batch.index / accumulate);
  let held: EpochBatch | undefined;
  let first = true;
  for await (const batch of batches) {
    if (held) {
      const last = group(batch) !== group(held);
      yield { batch: held, next: batch, first, last };
      first = last;
    }
    held = batch;
  }
  if (held) yield { batch: held, first, last: true };
}

/**
 * Each batch with the one after it, if that has been read already: the next one is read while a batch is worked on, and nobody
 * waits for it before.
 */
export async function* withNext<T>(batches: AsyncIterable<T>): AsyncGenerator<{ batch: T; next: T | undefined }> {
  const items = batches[Symbol.asyncIterator]();
  let arrived: T | undefined;
  const read = async (): Promise<IteratorResult<T>> => {
    const item = await items.next();
    arrived = item.done ? undefined : item.value;
    return item;
  };
  let reading = read();
  try {
    for (let item = await reading; !item.done; item = await reading) {
      const batch = item.value;
      arrived = undefined;
      reading = read();
      // Whoever asks next hears of a failure.
      reading.catch(() => undefined);
      await setImmediate();
      yield { batch, next: arrived };
    }
  } finally {
    await items.return?.();
  }
}

/**
 * Joins a batch of one sample to its neighbour: the batch before it, or for the first batch the one after it.
 *
 * Batch statistics of one sample mean little, and where a channel has a single value they are undefined. The rule does not
 * look at the marks, so the number of steps (and with it the schedule) stays the same when marks change between
 * epochs. With `batch: 1`, and where a single sample is all of the data, nothing is joined.
 */
export async function* joinSingles(batches: AsyncIterable<Batch>, size: number): AsyncGenerator<EpochBatch> {
  let held: EpochBatch | undefined;
  for await (const loaded of batches) {
    const batch = { ...loaded, until: loaded.index + 1 };
    if (held && size > 1 && (batch.size === 1 || held.size === 1)) held = joined(held, batch);
    else {
      if (held) yield held;
      held = batch;
    }
  }
  if (held) yield held;
}

function joined(a: EpochBatch, b: EpochBatch): EpochBatch {
  const inputs: Record<string, Tensor> = {};
  for (const name of new Set([...Object.keys(a.inputs), ...Object.keys(b.inputs)])) {
    inputs[name] = joinRows(a.inputs[name], b.inputs[name]);
  }
  return {
    index: a.index,
    until: b.until,
    size: a.size + b.size,
    samples: [...a.samples, ...b.samples],
    keys: [...a.keys, ...b.keys],
    read: [...a.read, ...b.read.map((row) => row + a.size)],
    inputs,
    ...(a.target && b.target && { target: joinRows(a.target, b.target) }),
    skipped: [...a.skipped, ...b.skipped],
  };
}

function joinRows(a: Tensor | undefined, b: Tensor | undefined): Tensor {
  if (!a || !b) return (a ?? b)!;
  const Kind = a.data.constructor as new (length: number) => TypedArray;
  const data = new Kind(a.data.length + b.data.length);
  data.set(a.data as never);
  data.set(b.data as never, a.data.length);
  return { data, shape: [a.shape[0]! + b.shape[0]!, ...a.shape.slice(1)] };
}
