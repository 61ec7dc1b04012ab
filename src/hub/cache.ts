/**
 * The cache directory that all clients of the hub share: `models--ORG--NAME/` holds the contents by checksum (`blobs`), the
 * commits by name (`refs`), and for each commit links with the names of its files (`snapshots`).
 */
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';

export const COMMIT = /^[0-9a-f]{40}$/;

/** Systems and users that may not make links. */
const NO_LINKS = new Set(['EPERM', 'EACCES', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'UNKNOWN']);

/** The part of the cache that belongs to one repository. */
export class RepositoryCache {
  readonly #folder: string;

  constructor(
    private readonly root: string,
    private readonly name: string,
  ) {
    this.#folder = path.resolve(root, name);
  }

  blob(checksum: string): string {
    return path.join(this.#folder, 'blobs', checksum);
  }

  lock(checksum: string): string {
    return path.resolve(this.root, '.locks', this.name, `${checksum}.thaw.lock`);
  }

  snapshot(commit: string): string {
    return path.join(this.#folder, 'snapshots', commit);
  }

  file(commit: string, name: string): string {
    return path.join(this.snapshot(commit), ...name.split('/'));
  }

  /** The bytes of a file that is there; undefined for one that is not. */
  async size(commit: string, name: string): Promise<number | undefined> {
    const found = await stat(this.file(commit, name)).catch(() => null);
    return found?.isFile() ? found.size : undefined;
  }

  async blobSize(checksum: string): Promise<number | undefined> {
    return (await stat(this.blob(checksum)).catch(() => null))?.size;
  }

  /** Names of the files of a commit that are there. */
  async names(commit: string): Promise<string[]> {
    const folder = this.snapshot(commit);
    const entries = await readdir(folder, { recursive: true }).catch(() => []);
    const names = entries.map((name) => name.split(path.sep).join('/'));
    const sizes = await Promise.all(names.map((name) => this.size(commit, name)));
    return names.filter((name, i) => sizes[i] !== undefined && !name.endsWith('.incomplete')).sort();
  }

  /** The commit that a branch or tag was when it was last asked for. */
  async commit(revision: string): Promise<string | undefined> {
    if (COMMIT.test(revision)) return revision;
    const found = await readFile(path.join(this.#folder, 'refs', revision), 'utf8').catch(() => '');
    return COMMIT.test(found.trim()) ? found.trim() : undefined;
  }

  async remember(revision: string, commit: string): Promise<void> {
    if (COMMIT.test(revision) || (await this.commit(revision)) === commit) return;
    const file = path.join(this.#folder, 'refs', revision);
    await mkdir(path.dirname(file), { recursive: true });
    await replace(file, (temporary) => writeFile(temporary, commit));
  }

  /** Gives a content its name in a commit. */
  async link(commit: string, name: string, checksum: string): Promise<void> {
    const file = this.file(commit, name);
    const blob = this.blob(checksum);
    await mkdir(path.dirname(file), { recursive: true });
    await replace(file, async (temporary) => {
      try {
        await symlink(path.relative(path.dirname(file), blob), temporary);
      } catch (error) {
        if (!NO_LINKS.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
        await copyFile(blob, temporary);
      }
    });
  }
}

/** Writes a file under another name first: under its own it is whole or not there. */
async function replace(file: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${file}.${randomBytes(4).toString('hex')}.incomplete`;
  try {
    await write(temporary);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
