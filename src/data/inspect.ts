/**
 * Looks at found pictures before any training: which are readable, which appear twice, how the classes are balanced.
 */
import { stat } from 'node:fs/promises';

import { ThawError } from '../errors.js';
import { DECODERS, checkPictureHead, decode, readHead, readPictureFile, throwIfAborted } from './decode.js';
import { contentId } from './identity.js';
import { isPictureFault, skippedFile } from './pictures.js';
import type { SkippedFile } from './types.js';

export interface InspectOptions {
  strict?: boolean | undefined;
  pixelLimit?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** Runs `work` over items, several at a time, and keeps the order of the results. */
async function over<T, R>(items: readonly T[], parallel: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const at = next++;
      results[at] = await work(items[at]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, worker));
  return results;
}

async function attempt(
  file: string,
  options: InspectOptions,
  read: () => Promise<unknown>,
): Promise<SkippedFile | undefined> {
  throwIfAborted(options.signal);
  try {
    await read();
    return undefined;
  } catch (error) {
    if (options.strict || !isPictureFault(error)) throw error;
    return skippedFile(file, error);
  }
}

/** Leaves out what is no picture by its first bytes. With `strict` the first such file throws. */
export async function withoutOthers<T extends { file: string }>(
  items: readonly T[],
  options: InspectOptions,
): Promise<{ pictures: T[]; skipped: SkippedFile[] }> {
  const faults = await over(items, 2 * DECODERS, ({ file }) =>
    attempt(file, options, async () => checkPictureHead((await readHead(file)).head, file)),
  );
  return { pictures: items.filter((_, i) => !faults[i]), skipped: faults.filter((fault) => fault !== undefined) };
}

/** Decodes pictures in order until one can be read. @returns those that could not */
export async function untilReadable(files: readonly string[], options: InspectOptions): Promise<SkippedFile[]> {
  const skipped: SkippedFile[] = [];
  const how = {
    ...(options.pixelLimit && { pixelLimit: options.pixelLimit }),
    ...(options.signal && { signal: options.signal }),
  };
  for (const file of files) {
    const fault = await attempt(file, options, () => decode(file, how));
    if (!fault) break;
    skipped.push(fault);
  }
  return skipped;
}

async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => undefined))?.size ?? -1;
}

/** Pairs of files with the same bytes, one of each side. Only files whose sizes meet are read. */
export async function sameFiles(left: readonly string[], right: readonly string[]): Promise<[string, string][]> {
  const sizes = new Map<string, number>();
  await over([...left, ...right], 2 * DECODERS, async (file) => void sizes.set(file, await sizeOf(file)));
  const meet = (files: readonly string[]): Set<number> => new Set(files.map((file) => sizes.get(file)!));
  const [lefts, rights] = [meet(left), meet(right)];
  const hash = async (files: readonly string[], others: Set<number>): Promise<[string, string][]> => {
    const candidates = files.filter((file) => others.has(sizes.get(file)!));
    const ids = await over(candidates, DECODERS, async (file) =>
      contentId(await readPictureFile(file)).catch(() => ''),
    );
    return candidates.map((file, i): [string, string] => [file, ids[i]!]).filter(([, id]) => id !== '');
  };
  const byId = new Map((await hash(left, rights)).map(([file, id]) => [id, file]));
  return (await hash(right, lefts)).flatMap(([file, id]): [string, string][] => {
    const same = byId.get(id);
    return same === undefined ? [] : [[same, file]];
  });
}

/** Throws ERR_CLASS_UNREADABLE naming the folder or label, with the first reason. */
export function unreadable(where: string, skipped: readonly SkippedFile[]): never {
  const reason = skipped[0]?.reason ?? 'it has no picture';
  throw new ThawError(
    'ERR_CLASS_UNREADABLE',
    `expected at least one readable picture for ${where}, received none: ${reason}`,
  );
}
