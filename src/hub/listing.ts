import { ThawError } from '../errors.js';
import { hubLibrary, understood } from './library.js';
import { isInside } from './name.js';
import { fetchFor, networkError } from './request.js';
import type { Hub } from './request.js';

/** A file of a repository. */
export interface HubFile {
  name: string;
  size: number;
  /**
   * Of the content: SHA-256 (64 hexadecimal digits) of large files, the SHA-1 of git's blob (40) of others; undefined where
   * the list does not say.
   */
  checksum: string | undefined;
}

const MOST_FILES = 100_000;

/** The files of a commit by name. Names that lead out of a folder are left out. Throws what `request` throws. */
export async function listing(hub: Hub, repository: string, commit: string): Promise<Map<string, HubFile>> {
  const { listFiles } = await hubLibrary();
  const query = { repo: repository, revision: commit, recursive: true, hubUrl: hub.endpoint, fetch: fetchFor(hub) };
  const files = new Map<string, HubFile>();
  const read = async (): Promise<void> => {
    for await (const { type, path, size, oid, lfs, xetHash } of listFiles(query)) {
      if (type !== 'file' || !isInside(path)) continue;
      const bytes = lfs?.size ?? size;
      if (!Number.isSafeInteger(bytes) || bytes < 0) throw new Error(`size ${bytes}`);
      // Of a file in the newer storage, git has a pointer, whose checksum says nothing.
      files.set(path, { name: path, size: bytes, checksum: lfs?.oid ?? (xetHash ? undefined : oid) });
      if (files.size > MOST_FILES) throw networkError(hub.endpoint, `more than ${MOST_FILES} files of '${repository}'`);
    }
  };
  await understood(hub.endpoint, read());
  return files;
}

/** The checksum of a file; where the list has none, the one that its download is announced with. Throws ERR_HUB_CHECKSUM. */
export async function checksumOf(hub: Hub, repository: string, commit: string, file: HubFile): Promise<string> {
  const { fileDownloadInfo } = await hubLibrary();
  const query = { repo: repository, path: file.name, revision: commit, hubUrl: hub.endpoint, fetch: fetchFor(hub) };
  const info = file.checksum ? null : await understood(hub.endpoint, fileDownloadInfo(query));
  const checksum = file.checksum ?? info?.etag.replaceAll('"', '') ?? '';
  if (/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(checksum)) return checksum;
  throw new ThawError(
    'ERR_HUB_CHECKSUM',
    `expected a SHA-256 or SHA-1 for '${file.name}' of '${repository}', received none`,
  );
}
