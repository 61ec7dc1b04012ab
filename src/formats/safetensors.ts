/**
 * safetensors: u64 header length (little-endian), JSON header {name: {dtype, shape, data_offsets: [begin, end]}}, then
 * the tensors' bytes, which the offsets tile without gap or overlap. `__metadata__` maps strings to strings.
 * Source: https://github.com/huggingface/safetensors (format section of its README).
 */
import { fault } from './fault.js';
import type { RangeFile } from './file.js';
import { duplicateKey } from './json.js';
import { ELEMENT_BYTES, elements, MAX_RANK, type Checkpoint, type StorageDType, type TensorEntry } from './types.js';

const MAX_HEADER = 100_000_000;
const METADATA = '__metadata__';
const ALIGNMENT = 64;

/** A plausible length and an opening brace. */
export function isSafetensors(head: Buffer): boolean {
  return head.length > 8 && head.readBigUInt64LE(0) > 1n && head[8] === 0x7b;
}

/** Throws ERR_SAFETENSORS, ERR_FILE_TRUNCATED. */
export async function readSafetensors(file: RangeFile): Promise<Checkpoint> {
  const { header, start } = await readHeader(file);
  const { [METADATA]: metadata, ...rest } = header;
  const found = Object.entries(rest).map(([name, entry]) => parseEntry(file, name, entry));
  checkTiling(file, found, start);
  const tensors = found.map(({ name, dtype, shape, begin }): [string, TensorEntry] => [
    name,
    { name, dtype, shape, source: { path: file.path, offset: start + begin } },
  ]);
  const checked = parseMetadata(file, metadata);
  return { path: file.path, format: 'safetensors', tensors: new Map(tensors), metadata: checked, aliases: new Map() };
}

function fail(what: string, subject: string, received: unknown): Error {
  return fault('ERR_SAFETENSORS', what, subject, received);
}

async function readHeader(file: RangeFile): Promise<{ header: Record<string, unknown>; start: number }> {
  const length = (await file.read(0, 8, 'header length')).readBigUInt64LE(0);
  if (length > BigInt(MAX_HEADER)) {
    throw fail(`at most ${MAX_HEADER} bytes`, `header of '${file.path}'`, `${length} bytes`);
  }
  const bytes = await file.read(8, Number(length), 'header');
  return { header: parseHeader(file, bytes), start: 8 + bytes.length };
}

function parseHeader(file: RangeFile, bytes: Buffer): Record<string, unknown> {
  const subject = `header of '${file.path}'`;
  let header: unknown;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (cause) {
    throw fail('JSON', subject, (cause as Error).message);
  }
  if (!isObject(header)) throw fail('a JSON object', subject, header);
  const twice = duplicateKey(text);
  if (twice !== undefined) throw fail('each name once', subject, `${JSON.stringify(twice)} twice`);
  return header;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseMetadata(file: RangeFile, metadata: unknown): Record<string, string> {
  if (metadata === undefined) return {};
  const strings = isObject(metadata) && Object.values(metadata).every((v) => typeof v === 'string');
  if (!strings) throw fail('strings by name', `__metadata__ of '${file.path}'`, metadata);
  return metadata as Record<string, string>;
}

interface Range {
  name: string;
  dtype: StorageDType;
  shape: number[];
  begin: number;
  end: number;
}

function parseEntry(file: RangeFile, name: string, entry: unknown): Range {
  const subject = `tensor '${name}' of '${file.path}'`;
  if (!isObject(entry)) throw fail('dtype, shape and data_offsets', subject, entry);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(ELEMENT_BYTES, dtype)) {
    throw fail(`dtype ${Object.keys(ELEMENT_BYTES).join(', ')}`, subject, dtype);
  }
  if (!isSizes(shape) || shape.length > MAX_RANK) throw fail(`a shape of at most ${MAX_RANK} sizes`, subject, shape);
  if (!isSizes(offsets) || offsets.length !== 2) throw fail('data_offsets [begin, end]', subject, offsets);
  const [begin, end] = offsets as [number, number];
  const bytes = elements(shape) * ELEMENT_BYTES[dtype as StorageDType];
  if (end - begin !== bytes) throw fail(`${bytes} bytes for shape [${shape}]`, subject, `${end - begin} bytes`);
  return { name, dtype: dtype as StorageDType, shape, begin, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((v) => Number.isSafeInteger(v) && v >= 0);
}

function checkTiling(file: RangeFile, ranges: Range[], start: number): void {
  let at = 0;
  for (const { name, begin, end } of [...ranges].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== at) throw fail(`data from byte ${at} on`, `tensor '${name}' of '${file.path}'`, `byte ${begin}`);
    at = end;
  }
  if (start + at > file.size) throw file.truncated('tensors', start + at);
  if (start + at < file.size) throw fail(`${start + at} bytes`, `size of '${file.path}'`, `${file.size} bytes`);
}

/**
 * The head of a safetensors file whose tensors follow in the order given: length and JSON, filled up with spaces to a
 * multiple of 64 bytes, so that the first tensor is aligned. Throws ERR_SAFETENSORS for a name used twice.
 */
export function safetensorsHeader(
  tensors: readonly { name: string; dtype: StorageDType; shape: readonly number[] }[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const names = new Set<string>([METADATA]);
  // Written member by member: an object would reorder names such as '0' and lose '__proto__'.
  const members = Object.keys(metadata).length > 0 ? [`"${METADATA}":${JSON.stringify(metadata)}`] : [];
  let begin = 0;
  for (const { name, dtype, shape } of tensors) {
    if (names.has(name)) throw fail('each name once', 'safetensors header', name);
    names.add(name);
    const end = begin + elements(shape) * ELEMENT_BYTES[dtype];
    members.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
    begin = end;
  }
  const json = Buffer.from(`{${members.join(',')}}`);
  const head = Buffer.alloc(Math.ceil((8 + json.length) / ALIGNMENT) * ALIGNMENT, ' ');
  head.writeBigUInt64LE(BigInt(head.length - 8), 0);
  json.copy(head, 8);
  return head;
}
