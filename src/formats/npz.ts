/** NumPy's .npz: a zip archive of .npy arrays, stored (savez) or deflated (savez_compressed). */
import { ThawError } from '../errors.js';
import { fault } from './fault.js';
import type { RangeFile } from './file.js';
import { NPY_HEADER, parseNpy, type Npy } from './npy.js';
import type { Checkpoint, TensorEntry } from './types.js';
import { memberBytes, storedAt } from './unzip.js';
import type { ZipMember } from './zip.js';

/** Bytes that all deflated arrays of a file may take together. */
const MAX_UNPACKED = 2 ** 33;

/** Tensors bear the names of the members without '.npy'. Throws ERR_NPZ, ERR_FILE_TRUNCATED. */
export async function readNpz(file: RangeFile, members: Map<string, ZipMember>): Promise<Checkpoint> {
  const tensors = new Map<string, TensorEntry>();
  let unpacked = 0;
  for (const member of members.values()) {
    if (member.method !== 0) unpacked += member.size;
    if (unpacked > MAX_UNPACKED)
      throw fault('ERR_NPZ', `at most ${MAX_UNPACKED} bytes`, `arrays of '${file.path}'`, `${unpacked} bytes`);
    const name = member.name.slice(0, -'.npy'.length);
    tensors.set(name, await readArray(file, member, name));
  }
  return { path: file.path, format: 'npz', tensors, metadata: {}, aliases: new Map() };
}

async function readArray(file: RangeFile, member: ZipMember, name: string): Promise<TensorEntry> {
  const where = `'${member.name}' of '${file.path}'`;
  const stored = await storedAt(file, member, 'ERR_NPZ');
  const head = await memberBytes(file, member, 'ERR_NPZ', stored === null ? undefined : NPY_HEADER);
  const array = parseNpy(head, where);
  const { dtype, shape, strides, start, bytes } = array;
  if (start + bytes !== member.size) throw sized(where, array, member);
  if (stored !== null)
    return { name, dtype, shape, source: { path: file.path, offset: stored + start, ...(strides && { strides }) } };
  const data = head.subarray(start);
  return { name, dtype, shape, source: strides ? { bytes: data, strides } : data };
}

const sized = (where: string, { start, bytes }: Npy, { size }: ZipMember): ThawError =>
  fault('ERR_NPZ', `${start + bytes} bytes`, where, `${size} bytes`);
