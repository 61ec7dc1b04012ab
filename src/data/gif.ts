/**
 * The first frame of a GIF as RGB, as PIL reads it: a transparent pixel keeps its palette's colour, and what the
 * frame does not cover has the transparent index, or index 0. (libvips makes both black.)
 * Source: GIF89a specification, CompuServe 1990.
 */
import { ThawError } from '../errors.js';
import { SLICE, breathe, inSlices } from './slices.js';
import type { RawPicture } from './types.js';

const corrupt = (reason: string): ThawError =>
  new ThawError('ERR_PICTURE_CORRUPT', `the GIF picture is broken: ${reason}`);

/** Reads little-endian numbers and never beyond the end. */
class Reader {
  at = 0;

  constructor(readonly bytes: Uint8Array) {}

  byte(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw corrupt('it ends too early');
    return value;
  }

  short(): number {
    return this.byte() | (this.byte() << 8);
  }

  take(length: number): Uint8Array {
    if (this.at + length > this.bytes.length) throw corrupt('it ends too early');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** A chain of blocks, each led by its length and ended by an empty one. */
  blocks(): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let length = this.byte(); length > 0; length = this.byte()) parts.push(this.take(length));
    return Buffer.concat(parts);
  }
}

/** Codes of growing width (up to 12 bits) to palette indices. */
async function unpack(codes: Uint8Array, rootBits: number, pixels: number): Promise<Uint8Array> {
  const clear = 1 << rootBits;
  const end = clear + 1;
  const prefix = new Uint16Array(4096);
  const last = new Uint8Array(4096);
  const output = new Uint8Array(pixels);
  const stack = new Uint8Array(4097);
  let [bits, next, previous, first, filled, buffer, held, at] = [rootBits + 1, end + 1, -1, 0, 0, 0, 0, 0];
  let rest = SLICE;
  for (let i = 0; i < clear; i++) last[i] = i;
  while (filled < pixels) {
    if (filled > rest) {
      await breathe();
      rest = filled + SLICE;
    }
    while (held < bits) {
      if (at >= codes.length) throw corrupt('its pixels end too early');
      buffer |= codes[at++]! << held;
      held += 8;
    }
    const code = buffer & ((1 << bits) - 1);
    buffer >>>= bits;
    held -= bits;
    if (code === end) throw corrupt('its pixels end too early');
    if (code === clear) {
      [bits, next, previous] = [rootBits + 1, end + 1, -1];
      continue;
    }
    if (code > next || (code === next && previous < 0)) throw corrupt('an unknown code among its pixels');
    let depth = 0;
    let link = code;
    if (code === next) {
      stack[depth++] = first;
      link = previous;
    }
    while (link >= clear) {
      stack[depth++] = last[link]!;
      link = prefix[link]!;
    }
    first = last[link]!;
    stack[depth++] = first;
    while (depth > 0 && filled < pixels) output[filled++] = stack[--depth]!;
    if (previous >= 0 && next < 4096) {
      prefix[next] = previous;
      last[next++] = first;
      if (next === 1 << bits && bits < 12) bits++;
    }
    previous = code;
  }
  return output;
}

/** Source rows of an interlaced picture, in the order they are stored. */
function interlacedRows(height: number): number[] {
  const rows: number[] = [];
  for (const [start, step] of [
    [0, 8],
    [4, 8],
    [2, 4],
    [1, 2],
  ] as const) {
    for (let row = start; row < height; row += step) rows.push(row);
  }
  return rows;
}

interface Frame {
  left: number;
  top: number;
  width: number;
  height: number;
  interlaced: boolean;
  palette: Uint8Array | undefined;
  indices: Uint8Array;
}

async function readFrame(reader: Reader, global: Uint8Array | undefined, limit: number): Promise<Frame> {
  const [left, top, width, height] = [reader.short(), reader.short(), reader.short(), reader.short()];
  const flags = reader.byte();
  const palette = flags & 0x80 ? reader.take(3 << ((flags & 7) + 1)) : global;
  const rootBits = reader.byte();
  if (rootBits < 1 || rootBits > 11) throw corrupt(`a code size of ${rootBits}`);
  if (width * height > limit) throw corrupt('its first frame is larger than the limit');
  const indices = await unpack(reader.blocks(), rootBits, width * height);
  return { left, top, width, height, interlaced: (flags & 0x40) !== 0, palette, indices };
}

async function paint(frame: Frame, width: number, height: number, background: number): Promise<RawPicture> {
  const screen = new Uint8Array(width * height).fill(background);
  const order = frame.interlaced ? interlacedRows(frame.height) : undefined;
  const visible = Math.max(0, Math.min(frame.width, width - frame.left));
  for (let stored = 0; stored < frame.height; stored++) {
    const y = frame.top + (order?.[stored] ?? stored);
    if (y >= height) continue;
    const from = stored * frame.width;
    screen.set(frame.indices.subarray(from, from + visible), y * width + frame.left);
  }
  const data = new Uint8Array(width * height * 3);
  await inSlices(screen.length, (from, to) => {
    for (let i = from; i < to; i++) {
      const index = screen[i]!;
      for (let c = 0; c < 3; c++) data[i * 3 + c] = frame.palette ? (frame.palette[index * 3 + c] ?? 0) : index;
    }
  });
  return { data, width, height, channels: 3 };
}

/** Width and height of the whole picture. */
export function gifSize(bytes: Uint8Array): { width: number; height: number } {
  const reader = new Reader(bytes);
  reader.take(6);
  return { width: reader.short(), height: reader.short() };
}

/** @param limit most pixels a frame may have */
export async function decodeGif(bytes: Uint8Array, limit: number): Promise<RawPicture> {
  const { width, height } = gifSize(bytes);
  if (width === 0 || height === 0) throw corrupt('it has no pixels');
  const reader = new Reader(bytes);
  reader.at = 10;
  const flags = reader.byte();
  reader.take(2);
  const palette = flags & 0x80 ? reader.take(3 << ((flags & 7) + 1)) : undefined;
  let background = 0;
  for (;;) {
    const block = reader.byte();
    if (block === 0x2c) return paint(await readFrame(reader, palette, limit), width, height, background);
    if (block === 0x3b) throw corrupt('it has no frame');
    if (block !== 0x21) continue;
    const label = reader.byte();
    const body = reader.blocks();
    // Graphic control: the transparent index.
    if (label === 0xf9 && body.length >= 4 && body[0]! & 1) background = body[3]!;
  }
}
