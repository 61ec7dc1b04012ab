/**
 * The wire format of Protocol Buffers, as far as ONNX needs it: fields in any order, varints, 4 and 8 bytes, and
 * length-delimited bytes. Source: https://protobuf.dev/programming-guides/encoding.
 */
import { fault } from './fault.js';
import type { RangeFile } from './file.js';

/** Read at once; whatever lies in one window costs no further system call. */
const WINDOW = 256 * 1024;
/** Fields of one file. Each costs memory of ours, but may cost two bytes of the file. */
const MAX_FIELDS = 1_000_000;

/** One field of a message. */
export interface Field {
  number: number;
  wire: 0 | 1 | 2 | 5;
  /** Of a varint: its value as a signed 64-bit number. Beyond 2^53 it is rounded. */
  value: number;
  /** Bytes of the content in the file. */
  start: number;
  end: number;
}

/** Messages inside a file. The bytes of long fields are passed over and never read. */
export class ProtoFile {
  #window: Buffer = Buffer.alloc(0);
  #at = 0;
  #fields = 0;

  constructor(
    readonly file: RangeFile,
    readonly code: string,
  ) {}

  fail(what: string, subject: string, received: unknown): Error {
    return fault(this.code, what, `${subject} of '${this.file.path}'`, received);
  }

  /** The fields of the message in bytes [start, end). */
  async fields(start: number, end: number): Promise<Field[]> {
    const found: Field[] = [];
    for (let at = start; at < end;) {
      // A tag and a varint take at most 20 bytes.
      const bytes = await this.#near(at, Math.min(end, at + 20));
      const field = this.#field(bytes, at, end);
      if (++this.#fields > MAX_FIELDS) throw this.fail(`at most ${MAX_FIELDS} fields`, 'protobuf', 'more');
      found.push(field);
      at = field.end;
    }
    return found;
  }

  /** Content of a length-delimited field of at most `limit` bytes. */
  async bytes({ start, end, wire }: Field, limit: number, what: string): Promise<Buffer> {
    if (wire !== 2) throw this.fail('bytes', what, `wire type ${wire}`);
    if (end - start > limit) throw this.fail(`at most ${limit} bytes`, what, `${end - start} bytes`);
    if (end - start > WINDOW) return this.file.read(start, end - start, what);
    return Buffer.from(await this.#near(start, end));
  }

  async string(field: Field, what = 'a name'): Promise<string> {
    return (await this.bytes(field, 1 << 20, what)).toString('utf8');
  }

  /** Content of a fixed 4-byte field as a float. */
  async float({ start, end, wire }: Field): Promise<number> {
    if (wire !== 5) throw this.fail('a float', 'attribute', `wire type ${wire}`);
    return (await this.#near(start, end)).readFloatLE(0);
  }

  /** A repeated integer field: one varint, or many packed. */
  async integers(field: Field, limit: number, what: string): Promise<number[]> {
    if (field.wire === 0) return [field.value];
    const bytes = await this.bytes(field, limit * 10, what);
    const values: number[] = [];
    for (let at = 0; at < bytes.length;) {
      const read = varint(bytes, at);
      if (!read || values.length >= limit) throw this.fail(`at most ${limit} whole numbers`, what, 'others');
      values.push(read.value);
      at = read.next;
    }
    return values;
  }

  /** A repeated float field: one, or many packed. */
  async floats(field: Field, limit: number, what: string): Promise<number[]> {
    if (field.wire === 5) return [await this.float(field)];
    const bytes = await this.bytes(field, limit * 4, what);
    return Array.from({ length: Math.floor(bytes.length / 4) }, (_, i) => bytes.readFloatLE(4 * i));
  }

  #field(bytes: Buffer, at: number, end: number): Field {
    const broken = (): Error => this.fail('a field', 'protobuf', `other bytes at ${at}`);
    const tag = varint(bytes, 0);
    if (!tag || tag.value < 8 || tag.value > 2 ** 32) throw broken();
    const [number, wire] = [Math.floor(tag.value / 8), tag.value % 8];
    const place = (start: number, length: number, value = 0): Field => {
      if (length < 0 || at + start + length > end) throw broken();
      return { number, wire: wire as Field['wire'], value, start: at + start, end: at + start + length };
    };
    if (wire === 1) return place(tag.next, 8);
    if (wire === 5) return place(tag.next, 4);
    const next = wire === 0 || wire === 2 ? varint(bytes, tag.next) : undefined;
    if (!next) throw broken();
    return wire === 2 ? place(next.next, next.value) : place(tag.next, next.next - tag.next, next.value);
  }

  async #near(start: number, end: number): Promise<Buffer> {
    if (start < this.#at || end > this.#at + this.#window.length) {
      this.#window = await this.file.read(
        start,
        Math.max(end - start, Math.min(WINDOW, this.file.size - start)),
        'message',
      );
      this.#at = start;
    }
    return this.#window.subarray(start - this.#at, end - this.#at);
  }
}

/** A varint as a signed 64-bit number; undefined where it does not end within ten bytes. */
function varint(bytes: Buffer, at: number): { value: number; next: number } | undefined {
  let [low, scale] = [0, 1];
  for (let i = at; i < bytes.length && i < at + 10; i++) {
    const byte = bytes[i]!;
    // Up to 49 bits fit a double exactly.
    if (i < at + 7) {
      low += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) return { value: low, next: i + 1 };
    } else if (byte < 0x80) return { value: wide(bytes.subarray(at, i + 1)), next: i + 1 };
  }
  return undefined;
}

function wide(bytes: Buffer): number {
  let value = 0n;
  bytes.forEach((byte, i) => (value |= BigInt(byte & 0x7f) << BigInt(7 * i)));
  return Number(BigInt.asIntN(64, value));
}

// ---- writing -----------------------------------------------------------------------------------------------------

function varintBytes(value: number): Buffer {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

/** Tag and length of a length-delimited field whose content is written elsewhere. */
export function lengthPrefix(number: number, length: number): Buffer {
  return Buffer.concat([varintBytes(number * 8 + 2), varintBytes(length)]);
}

/** A field of text, bytes or a message. */
export function bytesField(number: number, content: string | Uint8Array): Buffer {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return Buffer.concat([lengthPrefix(number, bytes.length), bytes]);
}

/** A whole number, |value| < 2^53. */
export function integerField(number: number, value: number): Buffer {
  return Buffer.concat([varintBytes(number * 8), varintBytes(value)]);
}

export function floatField(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([varintBytes(number * 8 + 5), bytes]);
}

/** A message of fields. */
export function messageField(number: number, ...fields: Uint8Array[]): Buffer {
  return bytesField(number, Buffer.concat(fields));
}
