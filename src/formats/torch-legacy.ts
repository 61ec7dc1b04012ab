/**
 * torch.save before PyTorch 1.6: pickles one after the other (magic number, protocol version, system, the object with
 * tensors by reference, keys of the storages), then for each key the number of elements (i64) and the elements.
 * Source: _legacy_save in torch/serialization.py.
 */
import { ThawError } from '../errors.js';
import { fault } from './fault.js';
import type { RangeFile } from './file.js';
import { readPickle } from './pickle.js';
import { collect, torchWorld } from './torch.js';
import type { Checkpoint } from './types.js';

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;
const FIRST_READ = 1 << 20;
const MAX_PICKLE = 1 << 26;

interface Pickles {
  value: unknown;
  keys: string[];
  /** Bytes of an element of each storage. */
  widths: Map<string, number>;
  /** Offset of the first storage. */
  end: number;
}

/** A pickle of protocol 2 to 5. */
export function isPickle(head: Buffer): boolean {
  return head.length >= 2 && head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5;
}

/** Throws ERR_FORMAT_UNKNOWN for other pickles, ERR_TORCH_FILE, ERR_PICKLE_UNSAFE, ERR_FILE_TRUNCATED. */
export async function readTorchLegacy(file: RangeFile): Promise<Checkpoint> {
  const { value, keys, widths, end } = await readPickles(file);
  const places = new Map<string, { offset: number; bytes: number }>();
  let at = end;
  for (const key of keys) {
    const width = widths.get(key);
    if (width === undefined) throw fail(file, `a tensor that uses storage ${key}`, 'none');
    const count = (await file.read(at, 8, `storage ${key}`)).readBigInt64LE(0);
    const bytes = Number(count) * width;
    if (count < 0n || at + 8 + bytes > file.size) throw file.truncated(`storage ${key}`, at + 8 + bytes);
    places.set(key, { offset: at + 8, bytes });
    at += 8 + bytes;
  }
  return collect(file, 'torch-legacy', value, async (key) => {
    const place = places.get(key);
    if (!place) throw fail(file, `storage ${key}`, 'none');
    return place;
  });
}

function fail(file: RangeFile, what: string, received: unknown): Error {
  return fault('ERR_TORCH_FILE', what, `'${file.path}'`, received);
}

/** The length of the pickles is written nowhere: reads more of the file until they are whole. */
async function readPickles(file: RangeFile): Promise<Pickles> {
  for (let length = FIRST_READ; ; length *= 4) {
    const bytes = await file.read(0, Math.min(length, file.size), 'pickles');
    try {
      return parsePickles(file, bytes);
    } catch (error) {
      const short = error instanceof ThawError && error.code === 'ERR_FILE_TRUNCATED';
      if (!short) throw error;
      if (length >= file.size) throw file.truncated('pickles', file.size + 1);
      if (length >= MAX_PICKLE) throw fail(file, `pickles of at most ${MAX_PICKLE} bytes`, 'more');
    }
  }
}

function parsePickles(file: RangeFile, bytes: Buffer): Pickles {
  const widths = new Map<string, number>();
  const world = torchWorld(widths);
  let end = 0;
  const next = (): unknown => {
    const read = readPickle(bytes, end, world);
    end = read.end;
    return read.value;
  };
  if (next() !== MAGIC)
    throw fault('ERR_FORMAT_UNKNOWN', 'a weight file', `'${file.path}'`, 'a pickle without tensors');
  const protocol = next();
  if (protocol !== PROTOCOL) throw fail(file, `protocol ${PROTOCOL}`, protocol);
  const system = next();
  const little = !(system instanceof Map) || system.get('little_endian') !== false;
  if (!little) throw fail(file, 'little-endian numbers', 'big-endian numbers');
  const value = next();
  const keys = next();
  if (!Array.isArray(keys)) throw fail(file, 'the keys of storages', keys);
  return { value, keys: keys.map(String), widths, end };
}
