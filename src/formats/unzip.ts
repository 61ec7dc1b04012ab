/** Contents of the members of a zip archive, stored or deflated. */
import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import type { ThawError } from '../errors.js';
import { fault } from './fault.js';
import type { RangeFile } from './file.js';
import { memberStart, type ZipMember } from './zip.js';

const inflate = promisify(inflateRaw);

/** Bytes that one member may have once unpacked. */
export const MAX_MEMBER = 2 ** 31 - 1;
/** Deflate makes at most about 1,032 bytes of one. */
const MAX_RATIO = 1040;

/** Where a stored member's bytes lie; null for a deflated one. `code` is that of the errors. */
export async function storedAt(file: RangeFile, member: ZipMember, code: string): Promise<number | null> {
  if (member.encrypted || (member.method !== 0 && member.method !== 8)) {
    const how = member.encrypted ? 'encryption' : `compression method ${member.method}`;
    throw fault(code, 'members that are stored or deflated', subject(file, member), how);
  }
  const start = await memberStart(file, member, code);
  if (member.method === 8) return null;
  if (start + member.size > file.size) throw file.truncated(`'${member.name}'`, start + member.size);
  return start;
}

/** The first `most` bytes of a member (default: all). Its sizes are checked before memory is taken. */
export async function memberBytes(
  file: RangeFile,
  member: ZipMember,
  code: string,
  most = MAX_MEMBER,
): Promise<Buffer> {
  const stored = await storedAt(file, member, code);
  const wanted = Math.min(member.size, most);
  if (wanted > MAX_MEMBER || (most === MAX_MEMBER && member.size > MAX_MEMBER))
    throw fault(code, `at most ${MAX_MEMBER} bytes`, subject(file, member), `${member.size} bytes`);
  if (stored !== null) return file.read(stored, wanted, `'${member.name}'`);
  if (member.size > member.packed * MAX_RATIO)
    throw fault(code, `at most ${MAX_RATIO} times its packed size`, subject(file, member), `${member.size} bytes`);
  const packed = await file.read(await memberStart(file, member, code), member.packed, `'${member.name}'`);
  return unpack(packed, member, () => subject(file, member), code);
}

async function unpack(packed: Buffer, member: ZipMember, where: () => string, code: string): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await inflate(packed, { maxOutputLength: Math.max(member.size, 1) });
  } catch (cause) {
    throw damaged(code, where(), (cause as Error).message);
  }
  if (bytes.length !== member.size) throw damaged(code, where(), `${bytes.length} bytes`);
  return bytes;
}

const damaged = (code: string, where: string, received: string): ThawError =>
  fault(code, 'deflated bytes of the size that the directory says', where, received);

const subject = (file: RangeFile, member: ZipMember): string => `'${member.name}' in zip archive '${file.path}'`;
