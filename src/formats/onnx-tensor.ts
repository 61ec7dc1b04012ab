/** TensorProto: where a tensor's bytes lie, and the numbers of small ones. */
import { stat } from 'node:fs/promises';
import { fault } from './fault.js';
import { RangeFile } from './file.js';
import { besideModel } from './inside.js';
import type { OnnxConstant } from './onnx-model.js';
import type { Field, ProtoFile } from './protobuf.js';
import { ELEMENT_BYTES, elements, MAX_RANK } from './types.js';
import type { FileSource, StorageDType, TensorEntry } from './types.js';

/** TensorProto.DataType → storage type. */
export const ONNX_TYPES: Readonly<Record<number, StorageDType>> = {
  1: 'F32',
  2: 'U8',
  3: 'I8',
  5: 'I16',
  6: 'I32',
  7: 'I64',
  9: 'BOOL',
  10: 'F16',
  11: 'F64',
  16: 'BF16',
};

/** Tensors of so many elements are read at once: shapes, axes, limits, and what belongs to one layer's channels. */
const SMALL = 4096;
/** Elements stored as varints, which have to be decoded. */
const MAX_VARINTS = 1 << 22;

type KeyAndValue = (proto: ProtoFile, field: Field) => Promise<[string, string]>;

interface Parts {
  dims: number[];
  type: number;
  name: string;
  raw?: Field;
  packed: Field[];
  external: Record<string, string>;
  isExternal: boolean;
}

/** dims 1, data_type 2, float_data 4, int32_data 5, int64_data 7, name 8, raw_data 9, double_data 10, external_data 13. */
export async function readTensor(proto: ProtoFile, field: Field, keyAndValue: KeyAndValue): Promise<OnnxConstant> {
  if (field.wire !== 2) throw proto.fail('a tensor', 'graph', `wire type ${field.wire}`);
  const parts: Parts = { dims: [], type: 0, name: '', packed: [], external: {}, isExternal: false };
  for (const part of await proto.fields(field.start, field.end)) {
    if (part.number === 1) parts.dims.push(...(await proto.integers(part, MAX_RANK, 'dims')));
    else if (part.number === 2) parts.type = part.value;
    else if ([4, 5, 7, 10].includes(part.number)) parts.packed.push(part);
    else if (part.number === 8) parts.name = await proto.string(part);
    else if (part.number === 9) parts.raw = part;
    else if (part.number === 13) {
      const [key, value] = await keyAndValue(proto, part);
      parts.external[key] = value;
    } else if (part.number === 14) parts.isExternal = part.value === 1;
  }
  return toConstant(proto, parts);
}

async function toConstant(proto: ProtoFile, parts: Parts): Promise<OnnxConstant> {
  const { dims: shape, name } = parts;
  const subject = `tensor '${name}'`;
  const dtype = ONNX_TYPES[parts.type];
  if (!dtype) throw proto.fail('a type of f64, f32, f16, bf16, i64 … i8, u8 or bool', subject, `type ${parts.type}`);
  const sound = shape.length <= MAX_RANK && shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  if (!sound || elements(shape) > 2 ** 40) throw proto.fail(`at most ${MAX_RANK} sizes`, subject, shape);
  const bytes = elements(shape) * ELEMENT_BYTES[dtype];
  const source = await sourceOf(proto, parts, dtype, bytes);
  const entry: TensorEntry = { name, dtype, shape, source };
  if (elements(shape) > SMALL) return { entry };
  return { entry, numbers: decode(await bytesOf(proto, source, bytes, subject), dtype) };
}

async function sourceOf(
  proto: ProtoFile,
  parts: Parts,
  dtype: StorageDType,
  bytes: number,
): Promise<FileSource | Uint8Array> {
  const { raw, packed, name } = parts;
  const subject = `tensor '${name}'`;
  if (parts.isExternal) return externalSource(proto, parts, bytes);
  const inFile = ({ start, end }: { start: number; end: number }): FileSource => {
    if (end - start !== bytes) throw proto.fail(`${bytes} bytes`, subject, `${end - start} bytes`);
    return { path: proto.file.path, offset: start };
  };
  if (raw && raw.wire === 2) return inFile(raw);
  if (bytes === 0) return new Uint8Array(0);
  const only = packed.length === 1 ? packed[0]! : undefined;
  // Packed floats and doubles are little-endian, one after the other: as good as raw bytes.
  if (only?.wire === 2 && (only.number === 4 || only.number === 10)) return inFile(only);
  const numbers: number[] = [];
  for (const field of packed) {
    const floats = field.number === 4 && dtype === 'F32';
    const more = floats
      ? await proto.floats(field, MAX_VARINTS, subject)
      : await proto.integers(field, MAX_VARINTS, subject);
    for (const value of more) numbers.push(value);
  }
  const count = bytes / ELEMENT_BYTES[dtype];
  if (numbers.length !== count) throw proto.fail(`${count} elements`, subject, `${numbers.length}`);
  return encode(numbers, dtype);
}

/** Bytes of a file beside the model: never outside of its folder, also by way of links. */
async function externalSource(
  proto: ProtoFile,
  { external, name }: Parts,
  bytes: number,
): Promise<FileSource | Uint8Array> {
  const fail = (what: string, received: string): Error =>
    fault('ERR_ONNX_EXTERNAL', what, `external data of tensor '${name}' of '${proto.file.path}'`, received);
  const { location = '', offset = '0', length } = external;
  const found = await besideModel(proto.file.path, location);
  const info = await stat(found);
  const [from, size] = [Number(offset), length === undefined ? bytes : Number(length)];
  if (!info.isFile() || !Number.isSafeInteger(from) || from < 0 || size !== bytes || from + bytes > info.size)
    throw fail(`${bytes} bytes in '${location}'`, `offset ${offset}, length ${length}, a file of ${info.size} bytes`);
  return { path: found, offset: from };
}

async function bytesOf(
  proto: ProtoFile,
  source: FileSource | Uint8Array,
  bytes: number,
  what: string,
): Promise<Uint8Array> {
  if (source instanceof Uint8Array) return source;
  if (source.path === proto.file.path)
    return proto.bytes({ number: 9, wire: 2, value: 0, start: source.offset, end: source.offset + bytes }, bytes, what);
  const file = await RangeFile.open(source.path);
  try {
    return await file.read(source.offset, bytes, what);
  } finally {
    await file.close();
  }
}

function decode(bytes: Uint8Array, dtype: StorageDType): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = ELEMENT_BYTES[dtype];
  const read: Record<StorageDType, (at: number) => number> = {
    F64: (at) => view.getFloat64(at, true),
    F32: (at) => view.getFloat32(at, true),
    F16: (at) => half(view.getUint16(at, true)),
    BF16: (at) => bfloat(view.getUint16(at, true)),
    I64: (at) => Number(view.getBigInt64(at, true)),
    I32: (at) => view.getInt32(at, true),
    I16: (at) => view.getInt16(at, true),
    I8: (at) => view.getInt8(at),
    U8: (at) => view.getUint8(at),
    BOOL: (at) => view.getUint8(at),
  };
  return Array.from({ length: bytes.length / size }, (_, i) => read[dtype](i * size));
}

function half(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

function bfloat(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;
}

/** int32_data holds the bits of f16 and bf16, and the values of smaller whole numbers. */
function encode(numbers: readonly number[], dtype: StorageDType): Uint8Array {
  const bytes = new Uint8Array(numbers.length * ELEMENT_BYTES[dtype]);
  const view = new DataView(bytes.buffer);
  numbers.forEach((value, i) => {
    if (dtype === 'F32') view.setFloat32(4 * i, value, true);
    else if (dtype === 'I64') view.setBigInt64(8 * i, BigInt(value), true);
    else if (dtype === 'I32') view.setInt32(4 * i, value, true);
    else if (ELEMENT_BYTES[dtype] === 2) view.setUint16(2 * i, value & 0xffff, true);
    else view.setUint8(i, value & 0xff);
  });
  return bytes;
}
