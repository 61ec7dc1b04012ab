import { batches } from '../data/loader.js';
import type { Batch, Dataset, LoaderOptions, PicturePreprocessing, Tensor } from '../data/types.js';
import { ThawError } from '../errors.js';
import { joinSingles, rowsInOrder, shuffledRows } from './batches.js';
import type { EpochBatch } from './batches.js';
import type { FeatureCache } from './feature-cache.js';
import { FIXED } from './defaults.js';
import { isStream } from './targets.js';
import type { TrainingData } from './options.js';
import { pickRows } from './plans.js';

/** How a fit reads one data set: `LoaderOptions` that stay the same over all epochs. */
export type SourceOptions = Omit<LoaderOptions, 'rows' | 'batch' | 'epoch' | 'have' | 'signal'>;

/** What is known of a sample once it was read: its key in the cache and its target, encoded. */
interface Known {
  key: string;
  target: Tensor | undefined;
}

/**
 * One data set as the trainer reads it. Once the features of all its samples are in the cache, batches are put together from
 * keys and targets alone, without another look at the files; they are the batches that the loader would give.
 */
export class Source {
  /** By version of the augmented pictures: what is known of each sample; absent: unreadable, or not read yet. */
  readonly #known = new Map<number, (Known | undefined)[]>();

  constructor(
    readonly data: TrainingData,
    readonly options: SourceOptions,
  ) {}

  get length(): number | null {
    return isStream(this.data) ? null : this.data.length;
  }

  /**
   * Shapes of one sample's inputs, without the batch dimension: what preprocessing makes of every picture, or those of the
   * first sample that can be read.
   */
  async inputShapes(signal: AbortSignal): Promise<Record<string, number[]>> {
    const size = preparedSize(this.options.preprocessing);
    if (size && !isStream(this.data) && 'picture' in (await this.data.get(0, { signal })).input)
      return size(this.options.input);
    for await (const batch of this.#load(undefined, 1, { signal })) {
      return Object.fromEntries(Object.entries(batch.inputs).map(([name, { shape }]) => [name, shape.slice(1)]));
    }
    throw new ThawError('ERR_DATA', 'expected at least one readable sample for the data, received none');
  }

  /** Is it known of every sample of this version where its features are? */
  surveyed(version: number, cache: FeatureCache): boolean {
    return this.#known.get(version)?.every((sample) => !sample || cache.has(sample.key)) ?? false;
  }

  /** All samples in order, once; remembers their keys, so that the epochs that follow need not read files. */
  async *survey(version: number, cache: FeatureCache, signal: AbortSignal): AsyncGenerator<Batch> {
    const known = new Array<Known | undefined>(this.length ?? 0).fill(undefined);
    const have = (keys: string[]): Promise<boolean[]> => cache.look(keys);
    let keyed = !isStream(this.data);
    for await (const batch of this.#load(undefined, FIXED.inferenceBatch, { epoch: version, have, signal })) {
      yield batch;
      batch.keys.forEach((key, row) => {
        if (key === null) keyed = false;
        else known[batch.samples[row]!] = { key, target: batch.target && pickRows(batch.target, [row]) };
      });
    }
    // Only a survey that saw every sample, each with a key, may stand for the files.
    if (keyed) this.#known.set(version, known);
  }

  /** The batches of a training epoch from batch `from` on. `version`: of the augmented pictures. */
  epoch(
    at: { epoch: number; version: number; from: number; batch: number; seed: number },
    cache: FeatureCache | null,
    signal: AbortSignal,
  ): AsyncIterable<EpochBatch> {
    const read = (rows?: Int32Array[]): AsyncIterable<Batch> => this.#read(rows, at.batch, at.version, cache, signal);
    if (isStream(this.data)) return joinSingles(skip(read(), at.from), at.batch);
    const rows = shuffledRows(this.data.length, at.batch, at.seed, at.epoch).slice(at.from);
    return joinSingles(numbered(read(rows), at.from), at.batch);
  }

  /** Every sample in order, `FIXED.inferenceBatch` at a time. */
  inOrder(cache: FeatureCache | null, signal: AbortSignal): AsyncIterable<Batch> {
    const batch = FIXED.inferenceBatch;
    return this.#read(isStream(this.data) ? undefined : rowsInOrder(this.data.length, batch), batch, 0, cache, signal);
  }

  /** A batch once more, with the inputs of all its samples. */
  async again(batch: Batch, version: number, signal: AbortSignal): Promise<Batch> {
    for await (const { size, read, inputs } of this.#load([Int32Array.from(batch.samples)], batch.size, {
      epoch: version,
      signal,
    })) {
      if (size === batch.size) return { ...batch, read, inputs };
    }
    throw new ThawError('ERR_DATA', 'expected the files of samples whose cached features are damaged, received others');
  }

  #read(
    rows: Int32Array[] | undefined,
    batch: number,
    version: number,
    cache: FeatureCache | null,
    signal: AbortSignal,
  ): AsyncIterable<Batch> {
    if (rows && cache && this.surveyed(version, cache)) return fromKeys(rows, this.#known.get(version)!);
    const have = cache && ((keys: string[]): Promise<boolean[]> => cache.look(keys));
    return this.#load(rows, batch, { epoch: version, ...(have && { have }), signal });
  }

  #load(rows: Int32Array[] | undefined, batch: number, more: Partial<LoaderOptions>): AsyncGenerator<Batch> {
    return batches(this.data as Dataset, { ...this.options, ...(rows && { rows }), batch, ...more });
  }
}

/** The shape that preprocessing gives to pictures of any size, by the name of the input; null: it depends on the picture. */
function preparedSize(preprocessing: PicturePreprocessing | undefined) {
  const { crop, resize, channels } = preprocessing ?? { crop: null, resize: null, channels: 3 };
  const size = crop ?? (typeof resize === 'number' ? null : resize);
  if (size === null) return null;
  const [height, width] = typeof size === 'number' ? [size, size] : size;
  return (input = 'image'): Record<string, number[]> => ({ [input]: [channels, height, width] });
}

/** Batches of samples whose features are all cached. */
async function* fromKeys(rows: Int32Array[], known: (Known | undefined)[]): AsyncGenerator<Batch> {
  for (const [index, of] of rows.entries()) {
    const samples = [...of].filter((sample) => known[sample]);
    if (samples.length === 0) continue;
    const found = samples.map((sample) => known[sample]!);
    const target = found[0]!.target && stack(found.map((sample) => sample.target!));
    const keys = found.map((sample) => sample.key);
    yield { index, size: samples.length, samples, keys, read: [], inputs: {}, ...(target && { target }), skipped: [] };
  }
}

/** One row each, as one tensor. */
function stack(rows: Tensor[]): Tensor {
  const width = rows[0]!.data.length;
  const all = pickRows(rows[0]!, new Int32Array(rows.length));
  rows.forEach((row, i) => all.data.set(row.data as never, i * width));
  return all;
}

/** The loader counts from the first batch that it is given; an epoch counts from its beginning. */
async function* numbered(batches: AsyncIterable<Batch>, from: number): AsyncGenerator<Batch> {
  for await (const batch of batches) yield { ...batch, index: batch.index + from };
}

async function* skip(batches: AsyncIterable<Batch>, count: number): AsyncGenerator<Batch> {
  for await (const batch of batches) if (batch.index >= count) yield batch;
}
