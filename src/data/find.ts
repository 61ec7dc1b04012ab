/** From a folder or a list to pictures with their parts and targets, before anything is checked. */
import { join } from 'node:path';

import { type FoundPart, findLabelled, isFolder, keyOf, listFolder } from './scan.js';
import { readList } from './list.js';
import { type Part, partOf } from './names.js';
import type { HeadKind } from './types.js';

export interface FoundItem {
  file: string;
  /** Path relative to the folder or list, with forward slashes. */
  key: string;
  part: Part;
  labels: string[];
  numbers: number[];
}

export interface Found {
  kind: HeadKind;
  targetNames: string[];
  items: FoundItem[];
  /** Folders of labels, by part: those without files too. Empty for lists. */
  folders: Record<Part, Map<string, string>>;
  /** Files beside the labels' folders. */
  loose: string[];
  notes: string[];
}

const isList = (name: string): boolean => /^metadata\.(csv|jsonl)$/i.test(name);
const empty = (): Found => ({
  kind: 'single',
  targetNames: [],
  items: [],
  folders: { train: new Map(), val: new Map(), test: new Map() },
  loose: [],
  notes: [],
});

async function addList(found: Found, path: string, part?: Part): Promise<void> {
  const list = await readList(path);
  Object.assign(found, { kind: list.kind, targetNames: list.targetNames });
  found.items.push(...list.entries.map((entry) => ({ ...entry, part: part ?? entry.part })));
}

function addFolders(found: Found, root: string, part: Part, folders: FoundPart): void {
  for (const { file, label } of folders.pictures) {
    found.items.push({ file, key: keyOf(root, file), part, labels: [label], numbers: [] });
  }
  folders.folders.forEach((path, label) => found.folders[part].set(label, path));
  found.loose.push(...folders.loose);
}

async function addPart(found: Found, root: string, path: string, part: Part): Promise<void> {
  const list = (await listFolder(path)).find(({ name, folder }) => !folder && isList(name));
  if (list) await addList(found, list.path, part);
  else addFolders(found, root, part, await findLabelled(path));
}

/** Does a folder hold folders of labels, or a list? A label may be called `train` too. */
async function holdsParts(path: string): Promise<boolean> {
  return (await listFolder(path)).some(({ name, folder }) => folder || isList(name));
}

/** @param training whether there must be pictures to train on: data to evaluate may have val/ or test/ alone */
export async function findPictures(path: string, training: boolean): Promise<Found> {
  const found = empty();
  if (!(await isFolder(path))) {
    await addList(found, path);
    return found;
  }
  const entries = await listFolder(path);
  const list = entries.find(({ name, folder }) => !folder && isList(name));
  if (list) {
    await addList(found, list.path);
    return found;
  }
  const folders = entries.filter(({ folder }) => folder);
  const train = folders.find(({ name }) => partOf(name) === 'train');
  const onlyParts = folders.length > 0 && folders.every(({ name }) => partOf(name) !== undefined);
  const inParts = train ? await holdsParts(train.path) : !training && onlyParts;
  if (!inParts) {
    addFolders(found, path, 'train', await findLabelled(path));
    return found;
  }
  for (const { name, path: folder } of folders) {
    const part = partOf(name);
    if (part) await addPart(found, path, folder, part);
    else found.notes.push(`The folder ${join(path, name)} lies beside train/ and was not read.`);
  }
  return found;
}
