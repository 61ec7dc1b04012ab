/** Reads, decodes and prepares the pictures of a batch. */
import { ThawError, expected } from '../errors.js';
import { type CoreAugment, pictureRequest } from './augment.js';
import { DECODERS, decode, decodeBytes, readPictureFile, throwIfAborted } from './decode.js';
import { contentId } from './identity.js';
import type { PicturePreprocessing, PictureSession, PictureSource, PictureStore, RawPicture } from './types.js';
import type { ReadingWork, SkippedFile, StoredPicture, Tensor } from './types.js';

/** Decoded pixels handed to the core in one command, in bytes: bounds the memory of a batch of large pictures. */
const GROUP_BYTES = 64 * 2 ** 20;

export interface PictureJob {
  /** Index of the sample: key of random draws and of the store. */
  index: number;
  source: PictureSource;
  name: string;
  /** Where the sample brings its own identity. */
  id?: string | undefined;
}

export interface ReaderOptions {
  session: PictureSession;
  preprocessing: PicturePreprocessing;
  augment: CoreAugment | null;
  seed: number;
  epoch: number;
  strict: boolean;
  pixelLimit?: number | undefined;
  pictures?: PictureStore | undefined;
  /** Where the time of the work is added up. */
  work?: ReadingWork | undefined;
  signal: AbortSignal;
}

/** Pictures of one batch: `rows` are the positions of the jobs that could be read, in order. */
export interface PreparedPictures {
  rows: number[];
  ids: string[];
  /** f32 [rows, channels, height, width]; absent without rows. */
  tensor?: Tensor;
  skipped: SkippedFile[];
  /** Bytes of pixels that were decoded at a time, at most. */
  decodedBytes: number;
}

/** A picture that could not be read is a fault of the data, not of the program. */
export function isPictureFault(error: unknown): error is ThawError {
  return error instanceof ThawError && /^ERR_(PICTURE_(FORMAT|CORRUPT|TOO_LARGE)|FILE_READ)$/.test(error.code);
}

export function skippedFile(file: string, error: ThawError): SkippedFile {
  return { file, code: error.code, reason: error.message };
}

/**
 * Pictures worked on at a time: some are read while others are decoded. What is needed first goes first, else batches that are
 * read ahead would all be ready at the same late time.
 */
class Line {
  private running = 0;
  private readonly waiting: { order: number; start: () => void }[] = [];

  async pass<T>(order: number, task: () => Promise<T>): Promise<T> {
    if (this.running >= 2 * DECODERS) await new Promise<void>((start) => this.waiting.push({ order, start }));
    else this.running++;
    try {
      return await task();
    } finally {
      const next = this.waiting.reduce((first, at, i, all) => (at.order < all[first]!.order ? i : first), 0);
      const [begun] = this.waiting.splice(next, 1);
      if (begun) begun.start();
      else this.running--;
    }
  }
}

/**
 * Runs `work` on 0 … count-1, `2 * DECODERS` at a time; after a failure nothing new is begun, and when all have
 * ended it throws the first in order.
 */
async function eachOf(count: number, work: (position: number) => Promise<void>): Promise<void> {
  let next = 0;
  let failure: { position: number; error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    while (next < count && !failure) {
      const position = next++;
      await work(position).catch((error: unknown) => {
        if (!failure || position < failure.position) failure = { position, error };
      });
    }
  };
  await Promise.all(Array.from({ length: Math.min(2 * DECODERS, count) }, worker));
  if (failure) throw failure.error;
}

async function timed<T>(work: ReadingWork | undefined, kind: keyof ReadingWork, task: () => Promise<T>): Promise<T> {
  const begun = performance.now();
  const result = await task();
  if (work) work[kind] += performance.now() - begun;
  return result;
}

export class PictureReader {
  /** Bytes of files that were identified and may be decoded next. */
  private readonly held = new Map<number, Uint8Array>();
  private heldBytes = 0;
  private readonly line = new Line();

  constructor(private readonly options: ReaderOptions) {}

  /** Lets go of what `identify` read and nobody decoded. */
  forget(jobs: readonly PictureJob[]): void {
    for (const { index } of jobs) this.take(index);
  }

  /** The identity of each job, without decoding; what cannot be read is a `SkippedFile`. Lower `order` goes first. */
  async identify(jobs: readonly PictureJob[], order: number): Promise<(string | SkippedFile)[]> {
    const found: (string | SkippedFile)[] = [];
    await eachOf(jobs.length, async (position) => {
      const entry = await this.line.pass(order, () => this.guard(jobs[position]!, (job) => this.identity(job)));
      found[position] = entry.skipped ?? entry.id;
    });
    return found;
  }

  /** Decodes all jobs and makes one batch of them. Lower `order` goes first. */
  async prepare(jobs: readonly PictureJob[], order = 0): Promise<PreparedPictures> {
    const assembly = new Assembly(this.options, jobs);
    const entries: StoredPicture[] = [];
    await eachOf(jobs.length, async (position) => {
      const entry = await this.line.pass(order, () => this.guard(jobs[position]!, (job) => this.load(job)));
      entries[position] = entry;
      if (entry.picture) await assembly.add(position, entry.picture);
    });
    const tensor = await assembly.finish();
    const rows = jobs.map((_, position) => position).filter((position) => !entries[position]!.skipped);
    const skipped = entries.flatMap((entry) => entry.skipped ?? []);
    const ids = rows.map((position) => entries[position]!.id);
    return { rows, ids, ...(tensor && { tensor }), skipped, decodedBytes: assembly.mostBytes };
  }

  private async guard(job: PictureJob, read: (job: PictureJob) => Promise<StoredPicture>): Promise<StoredPicture> {
    const { signal, pictures, strict } = this.options;
    throwIfAborted(signal);
    const known = pictures?.get(job.index);
    if (known?.skipped && !strict) return known;
    try {
      return await read(job);
    } catch (error) {
      if (strict || !isPictureFault(error)) throw error;
      const entry: StoredPicture = { id: '', skipped: skippedFile(job.name, error) };
      pictures?.set(job.index, entry);
      return entry;
    }
  }

  private take(index: number): Uint8Array | undefined {
    const bytes = this.held.get(index);
    if (bytes && this.held.delete(index)) this.heldBytes -= bytes.length;
    return bytes;
  }

  private async open({ index, source }: PictureJob, hold: boolean): Promise<Uint8Array | RawPicture> {
    if (typeof source !== 'string') return source;
    const bytes = this.take(index) ?? (await timed(this.options.work, 'read', () => readPictureFile(source)));
    if (hold && !this.held.has(index) && this.heldBytes + bytes.length <= GROUP_BYTES) {
      this.held.set(index, bytes);
      this.heldBytes += bytes.length;
    }
    return bytes;
  }

  private async identity(job: PictureJob): Promise<StoredPicture> {
    const known = this.options.pictures?.get(job.index);
    if (known) return known;
    const id = job.id ?? (await this.contentOf(await this.open(job, true)));
    const entry = { id };
    this.options.pictures?.set(job.index, entry);
    return entry;
  }

  private contentOf(source: Uint8Array | RawPicture): Promise<string> {
    return timed(this.options.work, 'read', () => contentId(source));
  }

  private async load(job: PictureJob): Promise<StoredPicture> {
    const { pictures, pixelLimit, signal, preprocessing, work } = this.options;
    const known = pictures?.get(job.index);
    if (known?.picture) return known;
    const source = await this.open(job, false);
    const id = job.id ?? known?.id ?? (await this.contentOf(source));
    const limit = pixelLimit === undefined ? {} : { pixelLimit };
    const how = { alpha: preprocessing.channels === 4, signal, ...limit, ...(work && { work }) };
    const picture = source instanceof Uint8Array ? await decodeBytes(source, job.name, how) : await decode(source, how);
    const entry = { id, picture };
    pictures?.set(job.index, entry);
    return entry;
  }
}

/** Hands decoded pictures to the core in groups and joins what comes back, in the order of the jobs. */
class Assembly {
  mostBytes = 0;
  private group: { position: number; picture: RawPicture }[] = [];
  private bytes = 0;
  private shape: number[] | undefined;
  private readonly parts = new Map<number, Float32Array>();
  private whole: Float32Array | undefined;
  private flushing: Promise<void> = Promise.resolve();

  constructor(
    private readonly options: ReaderOptions,
    private readonly jobs: readonly PictureJob[],
  ) {}

  async add(position: number, picture: RawPicture): Promise<void> {
    this.group.push({ position, picture });
    this.bytes += picture.data.byteLength;
    this.mostBytes = Math.max(this.mostBytes, this.bytes);
    if (this.bytes < GROUP_BYTES) return;
    const group = this.take();
    this.flushing = this.flushing.then(() => this.flush(group));
    await this.flushing;
  }

  async finish(): Promise<Tensor | undefined> {
    await this.flushing;
    if (this.group.length > 0) await this.flush(this.take());
    if (!this.shape) return undefined;
    const shape = [this.parts.size, ...this.shape];
    if (this.whole && this.whole.length === shape.reduce((a, b) => a * b, 1)) return { data: this.whole, shape };
    const size = this.shape.reduce((a, b) => a * b, 1);
    const data = new Float32Array(size * this.parts.size);
    [...this.parts.keys()]
      .sort((a, b) => a - b)
      .forEach((position, row) => data.set(this.parts.get(position)!, row * size));
    return { data, shape };
  }

  private take(): typeof this.group {
    const group = this.group.sort((a, b) => a.position - b.position);
    this.group = [];
    this.bytes = 0;
    return group;
  }

  private async flush(group: typeof this.group): Promise<void> {
    const { session, preprocessing, augment, seed, epoch, signal } = this.options;
    const request = {
      ...pictureRequest(preprocessing, augment),
      items: group.map(({ picture: { width, height, channels } }) => ({ width, height, channels })),
      ...(augment && { seed, epoch, samples: group.map(({ position }) => this.jobs[position]!.index) }),
    };
    const pixels = group.map(({ picture }) => picture.data);
    const { reply, buffers } = await session.submit('images', request, pixels, { signal });
    // Of the core's own clock: the command may have waited for others.
    if (this.options.work) this.options.work.prepare += (reply as { ms: number }).ms;
    const shape = (reply as { shape: number[] }).shape.slice(1);
    this.shape ??= shape;
    if (shape.join() !== this.shape.join()) {
      const wanted = 'pictures of one size (or a crop, or resize: [height, width])';
      throw expected('ERR_PICTURE_SIZE', wanted, 'a batch', `${this.shape.join(' x ')} and ${shape.join(' x ')}`);
    }
    this.whole = new Float32Array(buffers[0]!);
    const size = shape.reduce((a, b) => a * b, 1);
    group.forEach(({ position }, row) => this.parts.set(position, this.whole!.subarray(row * size, (row + 1) * size)));
  }
}
