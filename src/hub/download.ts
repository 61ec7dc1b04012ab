/**
 * One file of the hub, from the first byte to a checked file under its final name. The client library's own download
 * neither goes on where it was cut, nor compares checksums, nor stands a second process: so the bytes are fetched here.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat, statfs } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { expected, ThawError } from '../errors.js';
import { bytesOf, checkSignal, networkError, pause, request } from './request.js';
import type { Hub } from './request.js';

/** What is fetched, and where to. */
export interface Target {
  url: string;
  size: number;
  /** 64 hexadecimal digits: SHA-256 of the content; 40: SHA-1 of git's blob. */
  checksum: string;
  /** The final name; the parts of a download lie beside it. */
  path: string;
}

const ATTEMPTS = 5;
const PARTIAL = '.thaw.incomplete';

/**
 * Fetches a file; what an earlier attempt left is taken up.
 * @param onBytes called with the bytes that are there, of `target.size`
 * @throws ERR_HUB_CHECKSUM, ERR_HUB_DISK, ERR_HUB_NETWORK and others of `request`, ERR_ABORTED
 */
export async function download(hub: Hub, target: Target, onBytes: (bytes: number) => void): Promise<void> {
  const partial = target.path + PARTIAL;
  for (;;) {
    const left = await onDisk(target, () => prepare(target, partial));
    await fill(hub, target, partial, left, onBytes);
    const found = await onDisk(target, () => checksumOf(partial, target));
    if (found === target.checksum) break;
    await rm(partial, { force: true });
    // What was left over may have been the fault; bytes fetched from the first on may not.
    if (left === 0) throw expected('ERR_HUB_CHECKSUM', `checksum ${target.checksum}`, target.url, found);
  }
  await onDisk(target, () => rename(partial, target.path));
}

/** Makes a place for the file; returns how many bytes of it an earlier attempt left. */
async function prepare({ path: file, size }: Target, partial: string): Promise<number> {
  const folder = path.dirname(file);
  await mkdir(folder, { recursive: true });
  const left = (await stat(partial).catch(() => null))?.size ?? 0;
  const free = await freeBytes(folder);
  if (size - left > free)
    throw new ThawError('ERR_HUB_DISK', `expected ${size - left} free bytes for '${file}', received ${free}`);
  if (left <= size) return left;
  await rm(partial, { force: true });
  return 0;
}

/** Some file systems do not say: there, writing will tell. */
async function freeBytes(folder: string): Promise<number> {
  const { blocks, bavail, bsize } = await statfs(folder).catch(() => ({ blocks: 0, bavail: 0, bsize: 0 }));
  return blocks > 0 ? bavail * bsize : Infinity;
}

async function fill(hub: Hub, target: Target, partial: string, left: number, onBytes: (bytes: number) => void) {
  const handle = await onDisk(target, () => open(partial, left > 0 ? 'r+' : 'w'));
  try {
    let have = left;
    onBytes(have);
    for (let failures = 0; have < target.size;) {
      const before = have;
      const fault = await piece(hub, target, have, async (bytes, from) => {
        await onDisk(target, () => write(handle, bytes, from));
        have = from + bytes.length;
        onBytes(have);
      });
      if (fault === 'anew') have = 0;
      if (have >= target.size) break;
      failures = have > before ? 1 : failures + 1;
      const error = typeof fault === 'object' ? fault : networkError(target.url, `${have} of ${target.size} bytes`);
      if (failures >= ATTEMPTS) throw error;
      await pause(hub, failures, error.message);
    }
    await onDisk(target, () => handle.sync());
  } finally {
    await handle.close();
  }
}

/**
 * One request for what is missing. Returns why it ended early: a fault of the network, 'anew' if the server cannot go on
 * from `have`, or nothing.
 */
async function piece(
  hub: Hub,
  { url, size }: Target,
  have: number,
  put: (bytes: Uint8Array, from: number) => Promise<void>,
): Promise<ThawError | 'anew' | undefined> {
  const answer = await request(hub, url, have > 0 ? { range: `bytes=${have}-` } : {});
  const range = /^bytes (\d+)-/.exec(answer.headers.get('content-range') ?? '')?.[1];
  if (answer.status === 416 || (answer.status === 206 && Number(range) !== have)) {
    await answer.body?.cancel();
    return 'anew';
  }
  // Whoever knows no ranges sends everything.
  let from = answer.status === 206 ? have : 0;
  try {
    for await (const bytes of bytesOf(hub, answer)) {
      if (from + bytes.length > size) throw networkError(url, `more than the ${size} bytes that it should have`);
      await put(bytes, from);
      from += bytes.length;
    }
  } catch (error) {
    checkSignal(hub);
    if (error instanceof ThawError && error.code === 'ERR_HUB_NETWORK') return error;
    throw error;
  }
  return undefined;
}

async function write(handle: FileHandle, bytes: Uint8Array, from: number): Promise<void> {
  for (let done = 0; done < bytes.length;)
    done += (await handle.write(bytes, done, bytes.length - done, from + done)).bytesWritten;
}

/** Read back from the disk: what was written is what will be loaded. */
async function checksumOf(file: string, { checksum, size }: Target): Promise<string> {
  const hash = checksum.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
  for await (const bytes of createReadStream(file, { highWaterMark: 2 ** 20 })) hash.update(bytes as Buffer);
  return hash.digest('hex');
}

/** Work with files, whose failures get a code. Throws ERR_HUB_DISK. */
export async function onDisk<T>({ path: file }: { path: string }, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const { code, syscall, message } = cause as NodeJS.ErrnoException;
    // What the caller's own functions throw is not the disk's.
    if (syscall === undefined) throw cause;
    const why = code === 'ENOSPC' ? 'a full disk (ENOSPC)' : message;
    throw new ThawError('ERR_HUB_DISK', `expected a file that can be written for '${file}', received ${why}`, {
      cause,
    });
  }
}
