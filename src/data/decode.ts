/**
 * Pictures to pixels: exactly what PIL's `Image.open`, `exif_transpose` and `convert('RGB')` give (PIL 9.4). Embedded
 * colour profiles are ignored, alpha is dropped and not composited, grey is repeated, CMYK is converted from its raw
 * channels, 16-bit grey is cut at 255 and 16-bit colours keep their upper byte. One difference on purpose: PIL 9.4
 * turns a TIFF with an orientation twice; here it is turned once.
 */
import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { availableParallelism } from 'node:os';

import type { Sharp, SharpOptions } from 'sharp';

import { ThawError, expected } from '../errors.js';
import { decodeGif, gifSize } from './gif.js';
import { HEAD_BYTES, pictureType, whyNotDecoded } from './kinds.js';
import { inSlices } from './slices.js';
import type { PictureSource, RawPicture } from './types.js';

export const DEFAULT_PIXEL_LIMIT = 100_000_000;
/** Largest file read as a picture, in bytes. */
const FILE_LIMIT = 2 ** 30;
/** Read at once, before it is looked at whether it is a picture: all of a small one. */
const FIRST_BYTES = 1 << 16;
/** Read at a time. */
const READ_BYTES = 1 << 22;
/** Options of `decode`. */
export interface DecodeOptions {
  /** Keep alpha: 4 channels, 255 where the picture has none. Default false. */
  alpha?: boolean;
  /** Largest picture in pixels. Default 100 million. */
  pixelLimit?: number;
  signal?: AbortSignal;
  /** Where the milliseconds of decoding are added up, without those of waiting for other pictures. */
  work?: { decode: number };
}

type SharpModule = (input: Uint8Array, options?: SharpOptions) => Sharp;
let decoder: Promise<SharpModule> | undefined;

/** sharp, imported when the first picture is read. */
function loadDecoder(): Promise<SharpModule> {
  decoder ??= import('sharp').then(
    ({ default: sharp }) => {
      // Every picture is read once: sharp's cache of operations would hold pixels for nothing.
      sharp.cache(false);
      return sharp;
    },
    (cause: unknown) => {
      decoder = undefined;
      const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
      const fix = "pictures are decoded by the package 'sharp', which could not be loaded: run `npm install sharp`";
      throw new ThawError('ERR_DECODER_MISSING', `${fix} (${why})`, { cause });
    },
  );
  return decoder;
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new ThawError('ERR_ABORTED', 'the operation was aborted', { cause: signal.reason });
}

const fileError = (file: string, cause: unknown): ThawError =>
  new ThawError('ERR_FILE_READ', `cannot read ${file}: ${cause instanceof Error ? cause.message : cause}`, { cause });

async function openFile(file: string): Promise<{ handle: FileHandle; size: number }> {
  try {
    const info = await stat(file);
    // Opening a pipe would wait for its writer.
    if (!info.isFile()) throw new Error('it is not a regular file');
    return { handle: await open(file), size: info.size };
  } catch (cause) {
    throw fileError(file, cause);
  }
}

/** The first bytes of a file. Throws ERR_FILE_READ. */
export async function readHead(file: string): Promise<{ head: Uint8Array; size: number }> {
  const { handle, size } = await openFile(file);
  try {
    const head = new Uint8Array(HEAD_BYTES);
    const { bytesRead } = await handle.read(head, 0, HEAD_BYTES, 0);
    return { head: head.subarray(0, bytesRead), size };
  } catch (cause) {
    throw fileError(file, cause);
  } finally {
    await handle.close();
  }
}

/** Throws ERR_PICTURE_FORMAT, with the reason, where the first bytes are not those of an allowed picture. */
export function checkPictureHead(head: Uint8Array, name: string): void {
  if (pictureType(head) !== undefined) return;
  throw new ThawError('ERR_PICTURE_FORMAT', `cannot read ${name} as a picture: ${whyNotDecoded(head)}`);
}

/**
 * The bytes of a picture file. Throws ERR_FILE_READ, ERR_PICTURE_FORMAT (before the whole file is read),
 * ERR_PICTURE_TOO_LARGE.
 */
export async function readPictureFile(file: string): Promise<Uint8Array> {
  const { handle, size } = await openFile(file);
  try {
    // The size is fixed at the start: a file that grows meanwhile cannot take more memory.
    const head = await readAll(handle, file, new Uint8Array(Math.min(size, FIRST_BYTES)), 0);
    checkPictureHead(head.subarray(0, HEAD_BYTES), file);
    if (size > FILE_LIMIT) throw expected('ERR_PICTURE_TOO_LARGE', `at most ${FILE_LIMIT} bytes`, file, size);
    if (size === head.length) return head;
    const bytes = new Uint8Array(size);
    bytes.set(head);
    return await readAll(handle, file, bytes, head.length);
  } finally {
    await handle.close();
  }
}

async function readAll(handle: FileHandle, file: string, bytes: Uint8Array, from: number): Promise<Uint8Array> {
  for (let at = from; at < bytes.length;) {
    const part = Math.min(bytes.length - at, READ_BYTES);
    const { bytesRead } = await handle.read(bytes, at, part, at).catch((cause: unknown) => {
      throw fileError(file, cause);
    });
    if (bytesRead === 0) throw fileError(file, 'it became shorter while it was read');
    at += bytesRead;
  }
  return bytes;
}

/** Runs at most `limit` tasks at a time, in the order of their calls. */
class Gate {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly limit: number) {}

  async pass<T>(task: () => Promise<T>): Promise<T> {
    if (this.running >= this.limit) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.running++;
    try {
      return await task();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.running--;
    }
  }
}

/** Pictures decoded at a time: libuv, whose threads sharp uses, has four. */
export const DECODERS = Math.max(1, Math.min(4, availableParallelism()));
const gate = new Gate(DECODERS);

/** a * b / 255, rounded, in whole numbers. */
function share(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

async function fromCmyk(image: Sharp): Promise<RawPicture> {
  const { data: ink, info } = await image
    .pipelineColourspace('cmyk')
    .toColourspace('cmyk')
    .raw()
    .toBuffer({ resolveWithObject: true });
  const data = new Uint8Array(info.width * info.height * 3);
  await inSlices(info.width * info.height, (from, to) => {
    for (let i = from; i < to; i++) {
      const white = 255 - ink[i * info.channels + 3]!;
      for (let c = 0; c < 3; c++) data[i * 3 + c] = Math.max(0, white - share(ink[i * info.channels + c]!, white));
    }
  });
  return { data, width: info.width, height: info.height, channels: 3 };
}

async function fromDeepGrey(image: Sharp): Promise<RawPicture> {
  const { data: bytes, info } = await image
    .toColourspace('grey16')
    .raw({ depth: 'ushort' })
    .toBuffer({ resolveWithObject: true });
  const grey = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  const data = new Uint8Array(info.width * info.height * 3);
  await inSlices(info.width * info.height, (from, to) => {
    for (let i = from; i < to; i++) data.fill(Math.min(255, grey[i * info.channels]!), i * 3, i * 3 + 3);
  });
  return { data, width: info.width, height: info.height, channels: 3 };
}

async function withAlpha(picture: RawPicture): Promise<RawPicture> {
  const { width, height, data: colours } = picture;
  const data = new Uint8Array(width * height * 4).fill(255);
  await inSlices(width * height, (from, to) => {
    for (let i = from; i < to; i++) data.set(colours.subarray(i * 3, i * 3 + 3), i * 4);
  });
  return { data, width, height, channels: 4 };
}

function checkSize(width: number, height: number, limit: number, name: string): void {
  if (width * height > limit) {
    throw expected('ERR_PICTURE_TOO_LARGE', `at most ${limit} pixels`, name, `${width} x ${height}`);
  }
}

async function decodeWithSharp(
  bytes: Uint8Array,
  options: DecodeOptions,
  limit: number,
  name: string,
): Promise<RawPicture> {
  const sharp = await loadDecoder();
  throwIfAborted(options.signal);
  const common: SharpOptions = { failOn: 'error', ignoreIcc: true, limitInputPixels: false };
  const metadata = await sharp(bytes, common).metadata();
  checkSize(metadata.width, metadata.height, limit, name);
  throwIfAborted(options.signal);
  const image = sharp(bytes, { ...common, limitInputPixels: limit, sequentialRead: true }).autoOrient();
  const deepGrey = metadata.depth === 'ushort' && metadata.space === 'grey16';
  // PNG: 16 bits and colour type 0 (grey), also where a transparent value makes libvips add alpha.
  const isPng = metadata.format === 'png';
  const clipped = deepGrey && (isPng ? bytes[24] === 16 && bytes[25] === 0 : metadata.channels === 1);
  if (metadata.space === 'cmyk' || clipped) {
    const picture = await (clipped ? fromDeepGrey(image) : fromCmyk(image));
    return options.alpha ? withAlpha(picture) : picture;
  }
  const coloured = image.toColourspace('srgb');
  const pixels = options.alpha ? coloured.ensureAlpha() : coloured.removeAlpha();
  const { data, info } = await pixels.raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels as 1 | 3 | 4 };
}

function checkRaw(picture: RawPicture, name: string): RawPicture {
  const { data, width, height, channels } = picture;
  if (![1, 3, 4].includes(channels)) throw expected('ERR_PICTURE', '1, 3 or 4 channels', name, channels);
  const whole = Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0;
  if (!whole) throw expected('ERR_PICTURE', 'a width and a height', name, `${width} x ${height}`);
  if (!(data instanceof Uint8Array) || data.length !== width * height * channels) {
    const bytes = data instanceof Uint8Array ? `${data.length} bytes` : data;
    throw expected('ERR_PICTURE', `a Uint8Array of ${width * height * channels} bytes`, name, bytes);
  }
  return picture;
}

/** Turns whatever went wrong into an error of ours that names the picture. */
function named(cause: unknown, name: string): ThawError {
  if (cause instanceof ThawError) return cause;
  const reason = cause instanceof Error ? cause.message.trim().split('\n')[0] : String(cause);
  return new ThawError('ERR_PICTURE_CORRUPT', `cannot decode ${name}: ${reason}`, { cause });
}

/** Decodes the bytes of a picture file; `name` is for messages. */
export async function decodeBytes(bytes: Uint8Array, name: string, options: DecodeOptions = {}): Promise<RawPicture> {
  checkPictureHead(bytes.subarray(0, HEAD_BYTES), name);
  const limit = options.pixelLimit ?? DEFAULT_PIXEL_LIMIT;
  return gate.pass(async () => {
    throwIfAborted(options.signal);
    const begun = performance.now();
    try {
      if (pictureType(bytes) !== 'gif') return await decodeWithSharp(bytes, options, limit, name);
      const { width, height } = gifSize(bytes);
      checkSize(width, height, limit, name);
      const picture = await decodeGif(bytes, limit);
      return options.alpha ? await withAlpha(picture) : picture;
    } catch (cause) {
      throw named(cause, name);
    } finally {
      if (options.work) options.work.decode += performance.now() - begun;
    }
  });
}

/**
 * Decodes one picture: a path, the bytes of a file, or pixels (returned as they are).
 * Throws ERR_FILE_READ, ERR_PICTURE_FORMAT, ERR_PICTURE_CORRUPT, ERR_PICTURE_TOO_LARGE, ERR_DECODER_MISSING,
 * ERR_ABORTED.
 */
export async function decode(source: PictureSource, options: DecodeOptions = {}): Promise<RawPicture> {
  if (typeof source === 'string') return decodeBytes(await readPictureFile(source), source, options);
  if (source instanceof Uint8Array) return decodeBytes(source, 'the picture', options);
  return checkRaw(source, 'the picture');
}
