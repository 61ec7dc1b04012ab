import { ThawError } from '../errors.js';
import { networkError } from './request.js';

interface Query {
  hubUrl: string;
  fetch: typeof fetch;
  revision: string;
}

/** A file or folder in the hub's list. */
interface Entry {
  type: string;
  path: string;
  size: number;
  /** Git's SHA-1; of a large file it is that of a pointer. */
  oid?: string;
  lfs?: { oid: string; size: number };
  xetHash?: string;
}

/** The part of the hub's own client library that is used. Its types do not pass TypeScript's check of libraries. */
interface HubLibrary {
  getHFHubCachePath(): string;
  getRepoFolderName(id: { type: 'model'; name: string }): string;
  modelInfo(query: Query & { name: string; additionalFields: ['sha'] }): Promise<{ sha: string }>;
  listFiles(query: Query & { repo: string; recursive: boolean }): AsyncIterable<Entry>;
  fileDownloadInfo(query: Query & { repo: string; path: string }): Promise<{ etag: string } | null>;
}

/** The library, loaded when a name of the hub is first used. Throws ERR_HUB_MISSING. */
export async function hubLibrary(): Promise<HubLibrary> {
  const name = '@huggingface/hub';
  try {
    return (await import(name)) as HubLibrary;
  } catch (cause) {
    throw new ThawError(
      'ERR_HUB_MISSING',
      `expected the package ${name} for a name that begins with hf:, received none; install it: npm install ${name}`,
      { cause },
    );
  }
}

/** What the library makes of the hub's answers; where it cannot, they were not the hub's. Throws ERR_HUB_NETWORK. */
export async function understood<T>(endpoint: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (cause instanceof ThawError) throw cause;
    throw networkError(endpoint, `an answer of another form (${(cause as Error).message})`, cause);
  }
}
