import { open, stat, type FileHandle } from 'node:fs/promises';
import { ThawError } from '../errors.js';
import { fault } from './fault.js';

/** A file of known size, read by ranges. */
export class RangeFile {
  private constructor(
    readonly path: string,
    readonly size: number,
    private readonly handle: FileHandle,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /**
   * Throws ERR_FILE_NOT_FOUND, ERR_FILE_READ (no permission, …), ERR_FORMAT_UNKNOWN for what is no file, and
   * ERR_FILE_TRUNCATED for an empty one.
   */
  static async open(path: string, signal?: AbortSignal): Promise<RangeFile> {
    try {
      // Looked at before it is opened: opening a named pipe would wait for a writer.
      const { size } = await regular(path);
      return new RangeFile(path, size, await open(path, 'r'), signal);
    } catch (cause) {
      throw fileError(path, cause);
    }
  }

  /** Bytes from `offset` on. Throws ERR_FILE_TRUNCATED where the file ends before, ERR_ABORTED. */
  async read(offset: number, length: number, what: string): Promise<Buffer> {
    if (this.signal?.aborted) throw new ThawError('ERR_ABORTED', `reading '${this.path}' was aborted`);
    if (offset + length > this.size) throw this.truncated(what, offset + length);
    const bytes = Buffer.alloc(length);
    for (let filled = 0; filled < length;) {
      const { bytesRead } = await this.handle.read(bytes, filled, length - filled, offset + filled);
      if (bytesRead === 0) throw this.truncated(what, offset + length);
      filled += bytesRead;
    }
    return bytes;
  }

  truncated(what: string, needed: number): ThawError {
    return fault('ERR_FILE_TRUNCATED', `${needed} bytes or more`, `${what} of '${this.path}'`, `${this.size} bytes`);
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

async function regular(path: string): Promise<{ size: number }> {
  const info = await stat(path);
  if (info.isDirectory()) throw fault('ERR_FORMAT_UNKNOWN', 'a weight file', `'${path}'`, 'a directory');
  if (!info.isFile()) throw fault('ERR_FORMAT_UNKNOWN', 'a weight file', `'${path}'`, 'no regular file');
  if (info.size === 0) throw fault('ERR_FILE_TRUNCATED', 'a weight file', `'${path}'`, 'an empty file');
  return info;
}

function fileError(path: string, cause: unknown): Error {
  if (cause instanceof ThawError) return cause;
  const { code } = cause as NodeJS.ErrnoException;
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  return new ThawError(
    missing ? 'ERR_FILE_NOT_FOUND' : 'ERR_FILE_READ',
    `expected a readable file for '${path}', received ${missing ? 'no such file' : String(code ?? cause)}`,
    { cause },
  );
}
