import { ThawError } from '../errors.js';
import { COMMIT, RepositoryCache } from './cache.js';
import { choose, hasWeights } from './choose.js';
import { download, onDisk } from './download.js';
import { hubLibrary, understood } from './library.js';
import { checksumOf, listing } from './listing.js';
import type { HubFile } from './listing.js';
import { withLock } from './lock.js';
import { checkFile, checkRevision, parseHubName } from './name.js';
import { checkSignal, fetchFor } from './request.js';
import type { Hub } from './request.js';
import { hubSettings } from './settings.js';

/** How far a download has come. */
export interface PullProgress {
  /** The file that is fetched. */
  file: string;
  /** Bytes of all files to be fetched that are here, and in all. */
  loaded: number;
  total: number;
  /** Why nothing happens for a while: the hub asks to wait, or another process fetches the same file. */
  waiting?: string;
}

/** Options of `pull`. */
export interface PullOptions {
  /** A branch, a tag or a commit. Default: that of the name, else 'main'. */
  revision?: string | undefined;
  /** A file of the repository. Default: that of the name, else the weights. */
  file?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Called as bytes arrive. */
  onProgress?: ((progress: PullProgress) => void) | undefined;
}

/** A file that is here. */
export interface PulledFile {
  /** As the repository has it. */
  name: string;
  /** Where it lies: a name in the cache that leads to its content. */
  path: string;
  bytes: number;
}

/** Files of the hub that are here. */
export interface Pulled {
  repository: string;
  revision: string;
  /** 40 hexadecimal digits. */
  commit: string;
  folder: string;
  /** The weights, or the file asked for: the first of `files`. */
  path: string;
  /** With the weights come the files that belong to them and the repository's configuration. */
  files: PulledFile[];
  /** What was not as usual, a sentence each. */
  notes: string[];
}

/** Faults of the hub that say nothing of the model: what the cache has of it is as good as before. */
const UNAVAILABLE = new Set(['ERR_HUB_NETWORK', 'ERR_HUB_RATE_LIMIT']);

/** One repository at one revision. */
interface Source {
  hub: Hub;
  cache: RepositoryCache;
  cacheRoot: string;
  repository: string;
  revision: string;
  file: string | undefined;
  onProgress: PullOptions['onProgress'];
}

/**
 * Brings the weights of a model of the hub, and what belongs to them, into the cache directory that all clients of the hub
 * share. What is there is not fetched again; what was cut goes on; every checksum is compared. `HF_HOME`, `HF_HUB_CACHE`,
 * `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE` and `HF_HUB_DOWNLOAD_TIMEOUT` are obeyed; the token goes to the endpoint's own
 * host only.
 * @param name `hf:ORG/NAME`, with `@REVISION` and `/FILE` where wanted
 * @throws ERR_HUB_NAME, ERR_HUB_MISSING, ERR_HUB_ACCESS, ERR_HUB_NOT_FOUND, ERR_HUB_FILE, ERR_HUB_RATE_LIMIT,
 *   ERR_HUB_NETWORK, ERR_HUB_OFFLINE, ERR_HUB_CHECKSUM, ERR_HUB_DISK, ERR_OPTION, ERR_ABORTED
 */
export async function pull(name: string, options: PullOptions = {}): Promise<Pulled> {
  const source = await sourceOf(name, options);
  const { hub, repository } = source;
  checkSignal(hub);
  try {
    return await (hub.offline ? fromCache(source, offline(source)) : fromHub(source));
  } catch (error) {
    checkSignal(hub);
    if (!(error instanceof ThawError) || !UNAVAILABLE.has(error.code)) throw error;
    const kept = await fromCache(source, error);
    return { ...kept, notes: [`'${repository}' is taken from the cache as it is: ${error.message}`] };
  }
}

async function sourceOf(name: string, { signal, onProgress, ...options }: PullOptions): Promise<Source> {
  const { repo, revision: named, file } = parseHubName(name);
  const revision = options.revision === undefined ? (named ?? 'main') : checkRevision(options.revision);
  const settings = hubSettings();
  const { getHFHubCachePath, getRepoFolderName } = await hubLibrary();
  const cacheRoot = getHFHubCachePath();
  const subject = `'${repo}' at '${revision}' of ${settings.endpoint}`;
  let current: PullProgress = { file: '', loaded: 0, total: 0 };
  return {
    hub: { ...settings, subject, signal, onWait: (waiting) => onProgress?.({ ...current, waiting }) },
    cache: new RepositoryCache(cacheRoot, getRepoFolderName({ type: 'model', name: repo })),
    cacheRoot,
    repository: repo,
    revision,
    file: options.file === undefined ? file : checkFile(options.file),
    onProgress: (progress) => onProgress?.((current = progress)),
  };
}

async function fromHub(source: Source): Promise<Pulled> {
  const { cache, revision } = source;
  const commit = COMMIT.test(revision) ? revision : await commitOf(source);
  const all = await listing(source.hub, source.repository, commit);
  const files = choose([...all.keys()], source.file, source.repository).map((name) => all.get(name)!);
  await fetchAll(source, commit, files);
  await onDisk({ path: cache.snapshot(commit) }, () => cache.remember(revision, commit));
  return pulled(source, commit, files);
}

async function commitOf({ hub, repository, revision }: Source): Promise<string> {
  const { modelInfo } = await hubLibrary();
  const query = { name: repository, revision, hubUrl: hub.endpoint, fetch: fetchFor(hub) };
  const { sha } = await understood(hub.endpoint, modelInfo({ ...query, additionalFields: ['sha'] }));
  if (COMMIT.test(sha)) return sha;
  throw new ThawError(
    'ERR_HUB_NETWORK',
    `expected a commit for '${repository}' of ${hub.endpoint}, received another answer`,
  );
}

/** What the cache has, without a word to the hub; `otherwise` is thrown where that is not enough. */
async function fromCache(source: Source, otherwise: ThawError): Promise<Pulled> {
  const commit = await source.cache.commit(source.revision);
  const names = commit === undefined ? [] : await source.cache.names(commit);
  const enough = source.file === undefined ? hasWeights(names) : names.includes(source.file);
  if (commit === undefined || !enough) throw otherwise;
  const files = choose(names, source.file, source.repository).map(async (name) => ({
    name,
    size: (await source.cache.size(commit, name)) ?? 0,
  }));
  return pulled(source, commit, await Promise.all(files));
}

function offline({ repository, revision, file, cacheRoot }: Source): ThawError {
  const what = `${file === undefined ? '' : `'${file}' of `}'${repository}' at '${revision}'`;
  return new ThawError(
    'ERR_HUB_OFFLINE',
    `expected ${what} in the cache '${cacheRoot}', received nothing: HF_HUB_OFFLINE is set, so it is not fetched`,
  );
}

/** Files that are missing, one after the other. */
async function fetchAll(source: Source, commit: string, files: HubFile[]): Promise<void> {
  const { cache, hub } = source;
  const sizes = await Promise.all(files.map(({ name }) => cache.size(commit, name)));
  const missing = files.filter(({ size }, i) => sizes[i] !== size);
  const total = missing.reduce((sum, { size }) => sum + size, 0);
  let before = 0;
  for (const file of missing) {
    const { name } = file;
    const report = (bytes: number): void => source.onProgress?.({ file: name, loaded: before + bytes, total });
    report(0);
    const checksum = await checksumOf(hub, source.repository, commit, file);
    await fetchOne(source, commit, { ...file, checksum }, report);
    await onDisk({ path: cache.file(commit, name) }, () => cache.link(commit, name, checksum));
    checkSignal(hub);
    before += file.size;
  }
}

async function fetchOne(
  { cache, hub, repository }: Source,
  commit: string,
  { name, size, checksum }: HubFile & { checksum: string },
  report: (bytes: number) => void,
): Promise<void> {
  const blob = cache.blob(checksum);
  const address = [repository, 'resolve', commit, ...name.split('/').map(encodeURIComponent)].join('/');
  const work = async (): Promise<void> => {
    // Another commit may have the same content, or another process may just have fetched it.
    if ((await cache.blobSize(checksum)) === size) return report(size);
    await download(hub, { url: `${hub.endpoint}/${address}`, size, checksum, path: blob }, report);
  };
  const onWait = (): void => hub.onWait?.(`another process is fetching '${name}'`);
  await onDisk({ path: blob }, () => withLock(cache.lock(checksum), work, { signal: hub.signal, onWait }));
}

function pulled(source: Source, commit: string, files: readonly { name: string; size: number }[]): Pulled {
  const { cache, repository, revision } = source;
  const here = files.map(({ name, size }) => ({ name, path: cache.file(commit, name), bytes: size }));
  return { repository, revision, commit, folder: cache.snapshot(commit), path: here[0]!.path, files: here, notes: [] };
}
