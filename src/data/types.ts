/**
 * The data that training and prediction read: pictures or tensors with targets, and the batches made of them.
 * This file has types alone.
 */
import type { HeadKind, TargetScaling, Tensor } from '../network/types.js';

export type { HeadKind, TargetScaling, Tensor };

/** A decoded picture: 8 bits a channel, rows from the top, channels interleaved (height x width x channels). */
export interface RawPicture {
  data: Uint8Array;
  width: number;
  height: number;
  /** 1 grey, 3 RGB, 4 RGB and alpha (not premultiplied). */
  channels: 1 | 3 | 4;
}

/** A picture: the path of a file, the bytes of a file, or decoded pixels. */
export type PictureSource = string | Uint8Array | RawPicture;

/**
 * What a sample should be answered with: single label, the class index or its label; multi label, the class
 * indices or labels that apply; regression, the numbers.
 */
export type Target = number | string | readonly number[] | readonly string[] | Float32Array;

/** One picture, or one row of each named input of the network (shapes without the batch dimension). */
export type SampleInput = { picture: PictureSource } | { tensors: Readonly<Record<string, Tensor>> };

/** One sample of a data set: an input, and what it should be answered with. */
export interface Sample {
  input: SampleInput;
  target?: Target;
  /**
   * Identity of the content, the key of cached features. Default: the SHA-256 of a picture's bytes;
   * for tensors there is none, and without one nothing is cached.
   */
  id?: string;
  /** What messages call it. Default: its path, or its index. */
  name?: string;
}

/** Random access to samples. Every order of reads gives the same samples. */
export interface Dataset {
  readonly length: number;
  /** Reads one sample; `index` from 0 to length - 1. */
  get(index: number, options?: { signal?: AbortSignal }): Promise<Sample> | Sample;
  /** Names of the classes, in the order of their indices. */
  readonly labels?: readonly string[];
  /** What the targets mean. Default: single label. */
  readonly kind?: HeadKind;
  /** Names of the regression targets, in order. */
  readonly targetNames?: readonly string[];
  /** Every target, where it is known without reading pictures; class weights and target scaling need it. */
  readonly targets?: readonly Target[];
}

/** Samples in the order of an iterator: read once an epoch, never shuffled. */
export interface StreamDataset extends AsyncIterable<Sample> {
  readonly labels?: readonly string[];
  readonly kind?: HeadKind;
  readonly targetNames?: readonly string[];
}

/** What becomes of a decoded picture before a network sees it (torchvision's meaning of every word). */
export interface PicturePreprocessing {
  /** Length of the shorter side, or [height, width], in pixels; null leaves the size. */
  resize: number | readonly [number, number] | null;
  /** Side of the square, or [height, width], cut from the middle; null cuts nothing. */
  crop: number | readonly [number, number] | null;
  interpolation: 'bilinear' | 'bicubic';
  /** Per channel, on values from 0 to 1. */
  mean: readonly number[];
  std: readonly number[];
  channels: 1 | 3 | 4;
}

/**
 * Random changes of training pictures, drawn from (seed, epoch, sample). Everything is off unless it is given;
 * `true` in place of the object is `defaultAugment`.
 */
export interface Augment {
  /**
   * Random resized crop, in place of resize and crop: a part of the area and an aspect ratio (width / height), both
   * uniform (the ratio in its logarithm). `true`: scale [0.35, 1], ratio [3/4, 4/3].
   */
  crop?: boolean | { scale?: readonly [number, number]; ratio?: readonly [number, number] };
  /** Probability of mirroring left and right; `true` is 0.5. */
  flip?: boolean | number;
  /** Probability of mirroring top and bottom; `true` is 0.5. */
  flipVertical?: boolean | number;
  /** Largest rotation in degrees, either way (bilinear, corners filled with the mean colour). */
  rotation?: number;
  /** Factor uniform in [1 - x, 1 + x], x from 0 (never below a factor of 0). */
  brightness?: number;
  contrast?: number;
  saturation?: number;
  /** Shift of the hue, uniform in [-x, x] turns, x from 0 to 0.5. */
  hue?: number;
}

/** A file that was left out, and why. */
export interface SkippedFile {
  file: string;
  /** Stable: ERR_PICTURE_FORMAT, ERR_PICTURE_CORRUPT, ERR_PICTURE_TOO_LARGE, ERR_FILE_READ, … */
  code: string;
  reason: string;
}

/** How targets become a tensor. */
export interface TargetEncoding {
  kind: HeadKind;
  /** Labels by index (single and multi). */
  labels?: readonly string[];
  /** Numbers a target has (regression). Default 1. */
  size?: number;
  /** Default: no scaling. */
  scaling?: TargetScaling;
}

/**
 * Rows in order; the last batch of an epoch may be shorter. All arrays have one entry a row but `inputs` (see
 * `read`).
 */
export interface Batch {
  /** Place of the batch in `rows`. Batches without a readable sample are left out, their number is not reused. */
  index: number;
  /** Number of rows. */
  size: number;
  /** Index of each row in the data set: the sample that random draws are keyed by. */
  samples: number[];
  /** Key of each row for cached features (content, augmentation, variant); null: not to be cached. */
  keys: (string | null)[];
  /** Rows that `inputs` holds, ascending: all of them, but for those that `LoaderOptions.have` said are there. */
  read: number[];
  /**
   * One tensor an input, first dimension `read.length`; empty where `read` is. Pictures are f32 [n, channels, height,
   * width].
   */
  inputs: Record<string, Tensor>;
  /**
   * i32 [n] (single), f32 [n, classes] of 0 and 1 (multi), f32 [n, size] scaled (regression). Absent without targets.
   */
  target?: Tensor;
  /** Files of this batch that could not be read; they have no row. */
  skipped: SkippedFile[];
}

/** The part of a native session that pictures need: `NativeSession` has it. */
export interface PictureSession {
  /** Runs one command of the core; see `NativeSession`. */
  submit(
    command: string,
    request: object,
    buffers?: ArrayBufferView[],
    options?: { signal?: AbortSignal },
  ): Promise<{ reply: unknown; buffers: ArrayBuffer[] }>;
}

/**
 * `batches(dataset, options)` (src/data/loader.ts) is an `AsyncGenerator<Batch>`. What a batch holds depends on its
 * rows and on (seed, epoch) alone.
 */
export interface LoaderOptions {
  session: PictureSession;
  /** Indices of the samples of each batch, in order. Default: all samples in order, `batch` at a time. */
  rows?: Iterable<ArrayLike<number>>;
  /**
   * Rows a batch where `rows` is absent, and for streams. Default 32. More than the data has gives one batch of all.
   */
  batch?: number;
  /** Needed where samples are pictures. */
  preprocessing?: PicturePreprocessing;
  /** Name of the network's picture input. Default 'image'. */
  input?: string;
  target?: TargetEncoding;
  augment?: Augment | boolean;
  /** Default 0. */
  seed?: number;
  /** Which version of the augmented pictures: the epoch that the draws see. With k variants, epoch mod k. Default 0. */
  epoch?: number;
  /** Tell samples by their content alone, those too that bring an `id`: such keys hold in other processes. Default false. */
  content?: boolean;
  /** Rows whose features are there already: asked by key, and not read when true. */
  have?: (keys: string[]) => boolean[] | Promise<boolean[]>;
  /** Throw at the first file that cannot be read. Default false: skip it and say so. */
  strict?: boolean;
  /** Called for every file that is left out, also where its whole batch is: `Batch.skipped` cannot say that. */
  onSkip?: (file: SkippedFile) => void;
  /** Bytes of batches and decoded pictures held ahead of the reader. Default 256 MiB; one batch is always allowed. */
  aheadBytes?: number;
  /** Decoded pictures kept between epochs. */
  pictures?: PictureStore;
  /** Largest picture, in pixels. Default 100 million. */
  pixelLimit?: number;
  /** Where the time that pictures take is added up. */
  work?: ReadingWork;
  signal?: AbortSignal;
}

/** Milliseconds that pictures took, summed over those worked on at the same time: more than the time that passed. */
export interface ReadingWork {
  /** Reading files and telling them by their content. */
  read: number;
  decode: number;
  /** Resizing, cropping, augmenting, normalising. */
  prepare: number;
}

/** A bounded memory of decoded pictures, and of which files cannot be read; one a data set, shared by its epochs. */
export interface PictureStore {
  readonly limitBytes: number;
  readonly bytes: number;
  /** What is known of the sample `key`. */
  get(key: number): StoredPicture | undefined;
  /** Remembers a sample; its pixels only while they fit into `limitBytes`. */
  set(key: number, picture: StoredPicture): void;
  /** Forgets everything. */
  clear(): void;
}
/** What a `PictureStore` knows of one sample. */
export interface StoredPicture {
  id: string;
  /** Absent: only its identity is known. */
  picture?: RawPicture;
  /** It could not be read. */
  skipped?: SkippedFile;
}

/** What was found in a folder or a list, in words. */
export interface DataReport {
  /** What was decided without being asked, and what looks wrong: complete sentences, to be shown. */
  notes: string[];
  warnings: string[];
  skipped: SkippedFile[];
  /** Pictures per label in each part. */
  counts: Record<'train' | 'val' | 'test', Record<string, number>>;
}

/** Pictures in three parts. `val` and `test` are there where they have pictures. */
export interface PictureFolder {
  train: Dataset;
  val?: Dataset;
  test?: Dataset;
  labels: string[];
  kind: HeadKind;
  /** Names of the regression targets. */
  targetNames?: string[];
  report: DataReport;
}

/** Options of `imageFolder`. */
export interface ImageFolderOptions {
  /** Part of the training pictures used for validation where the data has none. Default 0.2; 0: no validation. */
  validation?: number;
  /** Chooses which pictures. Default 0. */
  seed?: number;
  /** Throw at the first file that is not a readable picture. Default false. */
  strict?: boolean;
  /** Labels in the order that the network knows. Default: those found, sorted by code point. */
  labels?: readonly string[] | undefined;
  /** Throw where training has fewer than two classes. Default true; data to evaluate or predict on needs one. */
  training?: boolean;
  /** Largest picture, in pixels. Default 100 million. */
  pixelLimit?: number;
  signal?: AbortSignal;
}
