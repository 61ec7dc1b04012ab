/** Batches from data sets: decoded ahead of the reader within a number of bytes, the same whatever the timing. */
import { setMaxListeners } from 'node:events';

import { ThawError, expected } from '../errors.js';
import { resolveAugment } from './augment.js';
import { throwIfAborted } from './decode.js';
import { tensorsId, variantId } from './identity.js';
import { type PictureJob, PictureReader, type PreparedPictures } from './pictures.js';
import { encodeTargets } from './targets.js';
import type { Batch, Dataset, LoaderOptions, PicturePreprocessing, PictureSession, PictureSource } from './types.js';
import type { Sample, SkippedFile, StreamDataset, Tensor } from './types.js';

const DEFAULT_BATCH = 32;
const DEFAULT_AHEAD = 256 * 2 ** 20;
/** Batches read ahead, however small they are. */
const MOST_AHEAD = 16;

interface Row {
  index: number;
  sample: Sample;
}

/** A batch that is ready (null: none of its samples could be read), and the bytes that making it took. */
interface Made {
  batch: Batch | null;
  skipped: SkippedFile[];
  bytes: number;
}

const isStream = (data: Dataset | StreamDataset): data is StreamDataset => Symbol.asyncIterator in data;

function* inOrder(length: number, batch: number): Generator<number[]> {
  for (let from = 0; from < length; from += batch) {
    yield Array.from({ length: Math.min(batch, length - from) }, (_, i) => from + i);
  }
}

/** The samples of each batch. They are asked for in turn, so that a data set need not be re-entrant. */
async function* plan(
  data: Dataset | StreamDataset,
  options: LoaderOptions,
  signal: AbortSignal,
): AsyncGenerator<Row[]> {
  const size = options.batch ?? DEFAULT_BATCH;
  if (!Number.isInteger(size) || size < 1) throw expected('ERR_OPTION', 'a whole number from 1', 'batch', size);
  if (isStream(data)) {
    let rows: Row[] = [];
    let index = 0;
    for await (const sample of data) {
      rows.push({ index: index++, sample });
      if (rows.length < size) continue;
      yield rows;
      rows = [];
    }
    if (rows.length > 0) yield rows;
    return;
  }
  for (const indices of options.rows ?? inOrder(data.length, size)) {
    const rows: Row[] = [];
    for (const index of Array.from(indices)) rows.push({ index, sample: await data.get(index, { signal }) });
    if (rows.length > 0) yield rows;
  }
}

const nameOf = ({ index, sample }: Row): string => {
  if (sample.name !== undefined) return sample.name;
  return 'picture' in sample.input && typeof sample.input.picture === 'string'
    ? sample.input.picture
    : `sample ${index}`;
};

function stack(rows: readonly Row[]): Record<string, Tensor> {
  const inputs: Record<string, Tensor> = {};
  const tensorsOf = (row: Row): Readonly<Record<string, Tensor>> => {
    if ('tensors' in row.sample.input) return row.sample.input.tensors;
    throw expected('ERR_SHAPE', 'tensors, as for the others of its batch,', nameOf(row), 'a picture');
  };
  for (const [name, first] of Object.entries(tensorsOf(rows[0]!))) {
    const size = first.data.length;
    const data = new (first.data.constructor as new (length: number) => Tensor['data'])(size * rows.length);
    rows.forEach((row, i) => {
      const tensor = tensorsOf(row)[name];
      if (tensor?.shape.join() !== first.shape.join() || tensor.data.constructor !== first.data.constructor) {
        throw expected('ERR_SHAPE', `[${first.shape.join(', ')}]`, `'${name}' of ${nameOf(row)}`, tensor?.shape);
      }
      // Same class as `first`, checked above.
      (data as Float32Array).set(tensor.data as Float32Array, i * size);
    });
    inputs[name] = { data, shape: [rows.length, ...first.shape] };
  }
  return inputs;
}

class Loader {
  private readonly reader: PictureReader | undefined;
  private readonly augment;
  private variant: Promise<string> | undefined;

  constructor(
    private readonly options: LoaderOptions,
    signal: AbortSignal,
  ) {
    this.augment = resolveAugment(options.augment);
    const { session, preprocessing, seed = 0, epoch = 0, strict = false, pixelLimit, pictures, work } = options;
    if (preprocessing) {
      const { augment } = this;
      this.reader = new PictureReader({
        session,
        preprocessing,
        augment,
        seed,
        epoch,
        strict,
        pixelLimit,
        pictures,
        work,
        signal,
      });
    }
  }

  async make(rows: readonly Row[], index: number): Promise<Made> {
    const pictures = 'picture' in rows[0]!.sample.input;
    if (!this.options.have) return pictures ? this.pictures(rows, index) : this.tensors(rows, index);
    return this.missing(rows, index, pictures);
  }

  private async pictures(rows: readonly Row[], index: number): Promise<Made> {
    const prepared = await this.prepare(rows, index);
    const kept = prepared.rows.map((position) => rows[position]!);
    if (!prepared.tensor) return { batch: null, skipped: prepared.skipped, bytes: prepared.decodedBytes };
    const keys = await Promise.all(kept.map((row, i) => this.key(prepared.ids[i]!, row)));
    const inputs = { [this.input]: prepared.tensor };
    return this.finish(
      kept,
      index,
      keys,
      kept.map((_, i) => i),
      inputs,
      prepared.skipped,
      prepared.decodedBytes,
    );
  }

  private async tensors(rows: readonly Row[], index: number): Promise<Made> {
    const keys = await Promise.all(rows.map(async (row) => this.key(await this.tensorId(row), row)));
    return this.finish(
      rows,
      index,
      keys,
      rows.map((_, i) => i),
      stack(rows),
      [],
      0,
    );
  }

  /** Asks which rows are there already, and reads the others. */
  private async missing(rows: readonly Row[], index: number, pictures: boolean): Promise<Made> {
    const found = pictures
      ? await this.need().identify(
          rows.map((row) => this.job(row)),
          index,
        )
      : await Promise.all(rows.map((row) => this.tensorId(row)));
    const skipped = found.filter((entry): entry is SkippedFile => typeof entry === 'object');
    let kept = rows.filter((_, i) => typeof found[i] !== 'object');
    const keyOf = new Map(await Promise.all(rows.map(async (row, i) => [row, await this.key(found[i], row)] as const)));
    const keyed = kept.filter((row) => keyOf.get(row) !== null);
    const answers = keyed.length > 0 ? await this.options.have!(keyed.map((row) => keyOf.get(row)!)) : [];
    const there = new Set(keyed.filter((_, i) => answers[i]));
    const wanted = kept.filter((row) => !there.has(row));
    let inputs: Record<string, Tensor> = {};
    let bytes = 0;
    if (wanted.length > 0 && pictures) {
      const prepared = await this.prepare(wanted, index);
      const read = new Set(prepared.rows.map((position) => wanted[position]!));
      kept = kept.filter((row) => there.has(row) || read.has(row));
      skipped.push(...prepared.skipped);
      if (prepared.tensor) inputs = { [this.input]: prepared.tensor };
      bytes = prepared.decodedBytes;
    } else if (wanted.length > 0) {
      inputs = stack(wanted);
    }
    if (pictures) this.need().forget(rows.map((row) => this.job(row)));
    const read = kept.flatMap((row, i) => (there.has(row) ? [] : i));
    return this.finish(
      kept,
      index,
      kept.map((row) => keyOf.get(row)!),
      read,
      inputs,
      skipped,
      bytes,
    );
  }

  private finish(
    rows: readonly Row[],
    index: number,
    keys: (string | null)[],
    read: number[],
    inputs: Record<string, Tensor>,
    skipped: SkippedFile[],
    decodedBytes: number,
  ): Made {
    const bytes = Object.values(inputs).reduce((sum, { data }) => sum + data.byteLength, decodedBytes);
    if (rows.length === 0) return { batch: null, skipped, bytes };
    const samples = rows.map((row) => row.index);
    const target = this.target(rows);
    const size = rows.length;
    return { batch: { index, size, samples, keys, read, inputs, ...(target && { target }), skipped }, skipped, bytes };
  }

  private target(rows: readonly Row[]): Tensor | undefined {
    const encoding = this.options.target;
    if (!encoding) return undefined;
    const targets = rows.map((row) => {
      if (row.sample.target !== undefined) return row.sample.target;
      throw new ThawError('ERR_TARGET', `expected a target for ${nameOf(row)}, received none`);
    });
    return encodeTargets(targets, encoding, rows.map(nameOf));
  }

  private get input(): string {
    return this.options.input ?? 'image';
  }

  private need(): PictureReader {
    if (this.reader) return this.reader;
    throw new ThawError(
      'ERR_PREPROCESSING_UNKNOWN',
      'expected preprocessing for pictures, received a network whose file does not say how pictures become its input; give ' +
        "load(file, { preprocessing }): 'torch' (ImageNet's mean and deviation), 'tf' (-1..1), 'caffe' (BGR), 'raw' (0..255), or an object of " +
        'resize, crop, interpolation, mean, std (on values 0..1) and channels; on the command line --preprocessing torch, tf or raw',
    );
  }

  private job(row: Row): PictureJob {
    const { input, id } = row.sample;
    const own = this.options.content ? undefined : id;
    if ('picture' in input) return { index: row.index, source: input.picture, name: nameOf(row), id: own };
    throw expected('ERR_SHAPE', 'a picture, as for the others of its batch,', nameOf(row), 'tensors');
  }

  private async tensorId({ sample: { id, input } }: Row): Promise<string | undefined> {
    return this.options.content && 'tensors' in input ? tensorsId(input.tensors) : id;
  }

  private prepare(rows: readonly Row[], index: number): Promise<PreparedPictures> {
    return this.need().prepare(
      rows.map((row) => this.job(row)),
      index,
    );
  }

  /** Augmented pictures differ by what is drawn for sample and version; others by content alone. */
  private async key(id: unknown, row: Row): Promise<string | null> {
    if (typeof id !== 'string') return null;
    if (!this.augment) return id;
    this.variant ??= variantId(this.augment, this.options.seed ?? 0);
    return `${id}/${await this.variant}/${row.index}/${this.options.epoch ?? 0}`;
  }
}

/** A signal that follows `outer` and can also be aborted by itself; `release` lets go of `outer`. */
function follow(outer: AbortSignal | undefined): { controller: AbortController; release: () => void } {
  const controller = new AbortController();
  // Every picture that is decoded ahead listens to it: Node would take that for a leak.
  setMaxListeners(0, controller.signal);
  const abort = (): void => controller.abort(outer?.reason);
  if (outer?.aborted) abort();
  outer?.addEventListener('abort', abort, { once: true });
  return { controller, release: () => outer?.removeEventListener('abort', abort) };
}

/**
 * The batches of one pass over a data set. Pictures are decoded and prepared ahead, up to `aheadBytes`; leaving the
 * loop or aborting ends what runs ahead. What a batch holds depends on its rows and on (seed, epoch) alone.
 * Throws ERR_ABORTED, ERR_TARGET, ERR_SHAPE, ERR_OPTION, ERR_DECODER_MISSING; with `strict` also what is wrong with a
 * picture.
 */
export async function* batches(data: Dataset | StreamDataset, options: LoaderOptions): AsyncGenerator<Batch> {
  throwIfAborted(options.signal);
  const { controller, release } = follow(options.signal);
  const loader = new Loader(options, controller.signal);
  const plans = plan(data, options, controller.signal);
  const queue: Promise<Made | undefined>[] = [];
  let planning: Promise<unknown> = Promise.resolve();
  let [next, largest] = [0, 0];
  const begin = (): void => {
    const planned = planning.then(() => plans.next());
    planning = planned;
    const made = planned.then((step) => (step.done ? undefined : loader.make(step.value, next++)));
    made.catch(() => undefined); // it is thrown where it is awaited, which may be much later or never
    queue.push(made);
  };
  const room = (): boolean => {
    const held = (queue.length + 1) * largest;
    return (
      queue.length === 0 || (largest > 0 && held <= (options.aheadBytes ?? DEFAULT_AHEAD) && queue.length < MOST_AHEAD)
    );
  };
  try {
    for (;;) {
      if (queue.length === 0) begin();
      const made = await queue.shift()!;
      throwIfAborted(options.signal);
      if (!made) return;
      largest = Math.max(largest, made.bytes);
      made.skipped.forEach((file) => options.onSkip?.(file));
      while (room()) begin();
      if (made.batch) yield made.batch;
    }
  } finally {
    controller.abort();
    release();
    await Promise.allSettled([...queue, planning]);
    await plans.return(undefined);
  }
}

/** What `preparePictures` takes beside the pictures. */
export interface PrepareOptions {
  session: PictureSession;
  preprocessing: PicturePreprocessing;
  pixelLimit?: number;
  signal?: AbortSignal;
}

/**
 * Pictures to one tensor f32 [n, channels, height, width], for prediction. The first that cannot be read is an error:
 * ERR_FILE_READ, ERR_PICTURE_FORMAT, ERR_PICTURE_CORRUPT, ERR_PICTURE_TOO_LARGE.
 */
export async function preparePictures(pictures: readonly PictureSource[], options: PrepareOptions): Promise<Tensor> {
  if (pictures.length === 0) throw new ThawError('ERR_PICTURE', 'expected at least one picture, received none');
  const { session, preprocessing, pixelLimit, signal = new AbortController().signal } = options;
  const reader = new PictureReader({
    session,
    preprocessing,
    pixelLimit,
    signal,
    augment: null,
    seed: 0,
    epoch: 0,
    strict: true,
  });
  const jobs = pictures.map((source, index) => {
    return { index, source, name: typeof source === 'string' ? source : `picture ${index}` };
  });
  return (await reader.prepare(jobs)).tensor!;
}
