/** Finds the pictures of a folder. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';

import { ThawError, expected } from '../errors.js';
import { compareCodePoints, isIgnored } from './names.js';
import type { SkippedFile } from './types.js';

/** An entry of a folder; symbolic links are followed. */
export interface FolderEntry {
  name: string;
  path: string;
  folder: boolean;
}

/** Entries by code point, without what systems leave behind and links that lead nowhere. Throws ERR_FILE_READ. */
export async function listFolder(path: string): Promise<FolderEntry[]> {
  let entries;
  try {
    entries = await readdir(path, { withFileTypes: true });
  } catch (cause) {
    throw new ThawError('ERR_FILE_READ', `cannot read the folder ${path}: ${(cause as Error).message}`, { cause });
  }
  const result: FolderEntry[] = [];
  for (const entry of entries) {
    if (isIgnored(entry.name)) continue;
    const file = join(path, entry.name);
    const info = entry.isSymbolicLink() ? await stat(file).catch(() => undefined) : entry;
    if (info?.isDirectory() || info?.isFile() || info === undefined) {
      result.push({ name: entry.name, path: file, folder: info?.isDirectory() ?? false });
    }
  }
  return result.sort((a, b) => compareCodePoints(a.name, b.name));
}

/**
 * All files below a folder, by code point. A folder that was entered already (a loop of links) is not entered again.
 */
export async function filesBelow(path: string, entered = new Set<string>()): Promise<string[]> {
  const real = await realpath(path);
  if (entered.has(real)) return [];
  entered.add(real);
  const files: string[] = [];
  for (const entry of await listFolder(path)) {
    if (entry.folder) files.push(...(await filesBelow(entry.path, entered)));
    else files.push(entry.path);
  }
  return files;
}

export interface FoundPicture {
  file: string;
  label: string;
}

/** What one part (train, val, test) of a folder holds. */
export interface FoundPart {
  pictures: FoundPicture[];
  /** One a label, also where it is empty. */
  folders: Map<string, string>;
  /** Files beside the labels' folders. */
  loose: string[];
}

/** One folder a label, with whatever folders within. */
export async function findLabelled(path: string, ignore: (name: string) => boolean = () => false): Promise<FoundPart> {
  const part: FoundPart = { pictures: [], folders: new Map(), loose: [] };
  for (const entry of await listFolder(path)) {
    if (ignore(entry.name)) continue;
    if (!entry.folder) {
      part.loose.push(entry.path);
      continue;
    }
    part.folders.set(entry.name, entry.path);
    const files = await filesBelow(entry.path);
    part.pictures.push(...files.map((file) => ({ file, label: entry.name })));
  }
  return part;
}

/** Path relative to `root`, with forward slashes: the same on every machine. */
export function keyOf(root: string, file: string): string {
  return relative(root, file).split(sep).join('/');
}

/** Does the path lead to a folder? Throws ERR_FILE_READ where it leads nowhere. */
export async function isFolder(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  if (!info) throw expected('ERR_FILE_READ', 'a folder of pictures or a list (CSV, JSON lines)', 'imageFolder', path);
  return info.isDirectory();
}

/** A sentence about files that were left out: how many, and the first of them. */
export function aboutSkipped(skipped: readonly SkippedFile[]): string {
  const shown = skipped.slice(0, 5).map(({ reason }) => reason);
  const more = skipped.length > shown.length ? `; and ${skipped.length - shown.length} more` : '';
  return `${skipped.length} file${skipped.length > 1 ? 's were' : ' was'} left out: ${shown.join('; ')}${more}`;
}
