import { randomBytes } from 'node:crypto';
import { mkdir, readdir, stat, unlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';

const SUFFIX = '.rows';
/** Files of one folder, so many at least when it is full: what is removed at a time is at most this share. */
const FILES = 16;
/** Bytes that a row takes beside itself: its label, and at most the header of a file. */
const OVERHEAD = 32 + 64;
/** A system's clock for files may lag behind the one that programs read, by this many milliseconds at most. */
const CLOCKS = 20;

/** Where features are kept on disk if nothing else is said: `features` in thaw's own folder among the user's caches. */
export function defaultCacheFolder(): string {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  const thaw = (): string => {
    if (XDG_CACHE_HOME && path.isAbsolute(XDG_CACHE_HOME)) return path.join(XDG_CACHE_HOME, 'thaw');
    if (process.platform === 'win32' && LOCALAPPDATA) return path.join(LOCALAPPDATA, 'thaw', 'Cache');
    return path.join(homedir(), '.cache', 'thaw');
  };
  return path.join(thaw(), 'features');
}

interface Found {
  file: string;
  bytes: number;
  used: number;
}

/**
 * A folder of features that several processes share: the core reads and writes the files (cpp/session/row_files.h), here they
 * are found and removed. All files together stay below a number of bytes; those that were not used for longest go first, and
 * those that any run has used since this one began stay.
 */
export class CacheFolder {
  #bytes = 0;

  private constructor(
    readonly folder: string,
    readonly limitBytes: number,
    readonly begun: number,
  ) {}

  /** @throws Error where the folder cannot be made or read */
  static async open(folder: string, limitBytes: number): Promise<CacheFolder> {
    const opened = new CacheFolder(path.resolve(folder), limitBytes, Date.now() - CLOCKS);
    // The features of private pictures are private too.
    await mkdir(opened.folder, { recursive: true, mode: 0o700 });
    await opened.#evict(0);
    return opened;
  }

  /** What the core's cache takes: the files of one network and frozen part, and how new ones are called. */
  async files(key: string): Promise<{ files: string[]; fresh: string; fileBytes: number }> {
    const own = (await this.#list()).filter(({ file }) => path.basename(file).startsWith(`${key}-`));
    return {
      files: own.sort((a, b) => a.used - b.used).map(({ file }) => file),
      fresh: path.join(this.folder, `${key}-${randomBytes(8).toString('hex')}-`),
      fileBytes: Math.ceil(this.limitBytes / FILES),
    };
  }

  /** Makes room for rows, and says for how many: fewer where only files in use are left to remove. */
  async makeRoom(rows: number, rowBytes: number): Promise<number> {
    const each = rowBytes + OVERHEAD;
    if (this.#bytes + rows * each > this.limitBytes) await this.#evict(rows * each);
    const fit = Math.max(0, Math.min(rows, Math.floor((this.limitBytes - this.#bytes) / each)));
    this.#bytes += fit * each;
    return fit;
  }

  async #evict(bytes: number): Promise<void> {
    const found = (await this.#list()).sort((a, b) => a.used - b.used);
    this.#bytes = found.reduce((sum, file) => sum + file.bytes, 0);
    for (const { file, used, bytes: freed } of found) {
      if (this.#bytes + bytes <= this.limitBytes) break;
      if (used >= this.begun) continue;
      // Whoever has it open keeps what is in it. Another process may have removed it, or forbid it.
      if (await unlink(file).then(() => true, gone)) this.#bytes -= freed;
    }
  }

  async #list(): Promise<Found[]> {
    const names = (await readdir(this.folder)).filter((name) => name.endsWith(SUFFIX));
    const found = names.map(async (name) => {
      const file = path.join(this.folder, name);
      const info = await stat(file).catch(() => null);
      return info ? [{ file, bytes: info.size, used: info.mtimeMs }] : [];
    });
    return (await Promise.all(found)).flat();
  }
}

const gone = (error: unknown): boolean => (error as { code?: string }).code === 'ENOENT';
