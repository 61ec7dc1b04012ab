/**
 * The directory of a zip archive, zip64 included. Members are not unpacked: what is stored without compression can be
 * read in place. Source: PKWARE's APPNOTE.TXT, sections 4.3 and 4.5.3.
 */
import { fault } from './fault.js';
import type { RangeFile } from './file.js';

export interface ZipMember {
  name: string;
  /** Bytes of the contents. */
  size: number;
  /** Bytes that they take in the archive. */
  packed: number;
  /** 0: stored. */
  method: number;
  encrypted: boolean;
  /** Where its local header starts. */
  header: number;
}

const LOCAL = 0x04034b50;
const ENTRY = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const MAX_DIRECTORY = 1 << 26;
const MAX_COMMENT = 0xffff;
const MAX_NAME = 1 << 10;

/** Begins with the header of a member. */
export function isZip(head: Buffer): boolean {
  return head.length >= 4 && head.readUInt32LE(0) === LOCAL;
}

/** Name of the member whose header the file begins with; cut off where the file is. */
export async function firstName(file: RangeFile): Promise<string> {
  const header = await file.read(0, Math.min(30 + MAX_NAME, file.size), 'archive header');
  return header.length < 30 ? '' : header.toString('utf8', 30, 30 + header.readUInt16LE(26));
}

/** Members by name. Throws `code`, and ERR_FILE_TRUNCATED where the directory at the file's end is missing. */
export async function readDirectory(file: RangeFile, code: string): Promise<Map<string, ZipMember>> {
  const fail = failing(file, code);
  const { offset, size } = await findDirectory(file, fail);
  if (size > MAX_DIRECTORY) throw fail(`a directory of at most ${MAX_DIRECTORY} bytes`, `${size} bytes`);
  const bytes = await file.read(offset, size, 'archive directory');
  const members = new Map<string, ZipMember>();
  for (let at = 0; at < size;) {
    if (at + 46 > size || bytes.readUInt32LE(at) !== ENTRY) throw fail('an entry of the directory', 'other bytes');
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => bytes.readUInt16LE(at + field));
    const end = at + 46 + nameLength! + extraLength! + commentLength!;
    if (end > size) throw fail('a whole directory', 'an entry that is cut off');
    const member = readEntry(bytes.subarray(at, end), nameLength!, extraLength!);
    if (members.has(member.name)) throw fail('each name once', `'${member.name}' twice`);
    members.set(member.name, member);
    at = end;
  }
  return members;
}

/** Where the contents of a stored member start. Throws for compressed members and for those beyond the file's end. */
export async function contentOffset(file: RangeFile, member: ZipMember, code: string): Promise<number> {
  if (member.method !== 0 || member.encrypted) {
    const how = member.encrypted ? 'encryption' : `compression method ${member.method}`;
    throw failing(file, code)(`'${member.name}' stored as it is (torch.save never compresses)`, how);
  }
  const start = await memberStart(file, member, code);
  if (start + member.size > file.size) throw file.truncated(`'${member.name}'`, start + member.size);
  return start;
}

/** Where the bytes of a member start, packed or not. */
export async function memberStart(file: RangeFile, member: ZipMember, code: string): Promise<number> {
  const local = await file.read(member.header, 30, `'${member.name}'`);
  if (local.readUInt32LE(0) !== LOCAL) throw failing(file, code)(`the header of '${member.name}'`, 'other bytes');
  return member.header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
}

type Fail = (what: string, received: string) => Error;

const failing =
  (file: RangeFile, code: string): Fail =>
  (what, received) =>
    fault(code, what, `zip archive '${file.path}'`, received);

async function findDirectory(file: RangeFile, fail: Fail): Promise<{ offset: number; size: number }> {
  const start = Math.max(0, file.size - 22 - MAX_COMMENT);
  const tail = await file.read(start, file.size - start, 'archive directory');
  for (let at = tail.length - 22; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== END || at + 22 + tail.readUInt16LE(at + 20) !== tail.length) continue;
    const [size, offset] = [tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)];
    const zip64 = size === 0xffffffff || offset === 0xffffffff || tail.readUInt16LE(at + 10) === 0xffff;
    return zip64 ? findDirectory64(file, start + at, fail) : { offset, size };
  }
  throw fault('ERR_FILE_TRUNCATED', 'a directory at the end', `zip archive '${file.path}'`, 'none');
}

async function findDirectory64(file: RangeFile, end: number, fail: Fail): Promise<{ offset: number; size: number }> {
  const locator = await file.read(Math.max(0, end - 20), 20, 'archive directory');
  if (locator.readUInt32LE(0) !== LOCATOR64) throw fail('a zip64 locator', 'other bytes');
  const record = await file.read(Number(locator.readBigUInt64LE(8)), 56, 'archive directory');
  if (record.readUInt32LE(0) !== END64) throw fail('a zip64 directory', 'other bytes');
  return { size: Number(record.readBigUInt64LE(40)), offset: Number(record.readBigUInt64LE(48)) };
}

function readEntry(entry: Buffer, nameLength: number, extraLength: number): ZipMember {
  const extra = findZip64Extra(entry.subarray(46 + nameLength, 46 + nameLength + extraLength));
  let next = 0;
  // A field of all ones stands for the next eight bytes of the zip64 extra field, in this order.
  const wide = (field: number): number => {
    const value = entry.readUInt32LE(field);
    if (value !== 0xffffffff || next + 8 > extra.length) return value;
    next += 8;
    return Number(extra.readBigUInt64LE(next - 8));
  };
  const size = wide(24);
  const packed = wide(20);
  return {
    name: entry.toString('utf8', 46, 46 + nameLength),
    size,
    packed,
    method: entry.readUInt16LE(10),
    encrypted: (entry.readUInt16LE(8) & 1) === 1,
    header: wide(42),
  };
}

function findZip64Extra(extra: Buffer): Buffer {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) === 1) return extra.subarray(at + 4, at + 4 + extra.readUInt16LE(at + 2));
  }
  return Buffer.alloc(0);
}
