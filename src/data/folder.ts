import { ThawError, expected } from '../errors.js';
import { fromPictures } from './dataset.js';
import { type Found, type FoundItem, findPictures } from './find.js';
import { aboutSkipped } from './scan.js';
import { sameFiles, unreadable, untilReadable, withoutOthers } from './inspect.js';
import { type Part, compareCodePoints } from './names.js';
import { SMALLEST_SPLIT, stratifiedSplit } from './split.js';
import { shortList } from './targets.js';
import type { DataReport, Dataset, ImageFolderOptions, PictureFolder, SkippedFile, Target } from './types.js';

const DEFAULT_VALIDATION = 0.2;
/** Classes further apart than this are reported. */
const IMBALANCE = 3;
const PARTS: readonly Part[] = ['train', 'val', 'test'];
const WORDS = { train: 'training', val: 'validation', test: 'test' } as const;

/** Every training class must have something to learn from. Removes what is found unreadable on the way. */
async function checkClasses(found: Found, skipped: SkippedFile[], options: ImageFolderOptions): Promise<void> {
  const byLabel = new Map<string, FoundItem[]>();
  for (const item of found.items.filter(({ part }) => part === 'train')) {
    const [label = ''] = item.labels;
    byLabel.set(label, [...(byLabel.get(label) ?? []), item]);
  }
  for (const [label, folder] of found.folders.train) {
    if (byLabel.has(label)) continue;
    const within = skipped.filter(({ file }) => file.startsWith(folder));
    if (within.length > 0) unreadable(folder, within);
    throw new ThawError(
      'ERR_CLASS_EMPTY',
      `expected pictures for the label '${label}', received the empty folder ${folder}`,
    );
  }
  for (const [label, items] of byLabel) {
    const faults = await untilReadable(
      items.map(({ file }) => file),
      options,
    );
    skipped.push(...faults);
    if (faults.length === items.length) unreadable(found.folders.train.get(label) ?? `the label '${label}'`, faults);
    const gone = new Set(faults.map(({ file }) => file));
    found.items = found.items.filter((item) => item.part !== 'train' || !gone.has(item.file));
  }
}

function checkGivenLabels(given: readonly string[]): string[] {
  const twice = given.find((label, i) => given.indexOf(label) !== i);
  if (twice !== undefined) throw expected('ERR_LABELS', 'different names', 'labels', `'${twice}' twice`);
  return [...given];
}

function findLabels(found: Found, options: ImageFolderOptions): string[] {
  if (found.kind === 'regression') return [];
  if (options.labels) return checkGivenLabels(options.labels);
  // Data to evaluate may have no training part: then its labels are all there are.
  const source = options.training === false ? found.items : found.items.filter(({ part }) => part === 'train');
  return [...new Set(source.flatMap(({ labels }) => labels))].sort(compareCodePoints);
}

function checkLabels(found: Found, labels: readonly string[], path: string, options: ImageFolderOptions): void {
  if (found.kind === 'regression') return;
  const known = new Set(labels);
  const strange = found.items.find((item) => item.labels.some((label) => !known.has(label)));
  if (strange) {
    const label = strange.labels.find((name) => !known.has(name))!;
    const where = found.folders[strange.part].get(label) ?? strange.key;
    const wanted = `one of the labels ${options.labels ? 'given' : 'of training'} (${shortList(labels)})`;
    throw new ThawError('ERR_LABELS', `expected ${wanted} for ${WORDS[strange.part]}, received '${label}' in ${where}`);
  }
  if (options.training !== false && found.kind === 'single' && labels.length < 2) {
    const received = labels.length === 1 ? `the one label '${labels[0]}'` : 'none';
    throw new ThawError(
      'ERR_CLASSES_FEW',
      `expected at least two labels (a folder each) for ${path}, received ${received}`,
    );
  }
}

function holdOut(found: Found, options: ImageFolderOptions, notes: string[]): void {
  const share = options.validation ?? DEFAULT_VALIDATION;
  const train = found.items.filter(({ part }) => part === 'train');
  if (options.training === false || found.items.some(({ part }) => part === 'val')) return;
  const groups = train.map((item) => ({
    item,
    key: item.key,
    group: [...item.labels].sort(compareCodePoints).join('|'),
  }));
  if (found.kind === 'multi') poolRare(groups);
  const seed = options.seed ?? 0;
  const { validation, small } = stratifiedSplit(groups, share, seed);
  validation.forEach(({ item }) => (item.part = 'val'));
  if (share === 0) return;
  const percent = `${Math.round(share * 100)} %`;
  const held = `${percent} of the pictures (${validation.size} of ${train.length}) are held out, drawn by seed ${seed}`;
  notes.push(`There is no validation data: ${validation.size > 0 ? held : 'none is held out'}.`);
  const names = found.kind === 'single' ? ` (${shortList(small)})` : '';
  const reason = `Fewer than ${SMALLEST_SPLIT} pictures${names}: none of them is held out.`;
  if (small.length > 0) notes.push(reason);
}

/** Sets of labels that occur fewer than five times are drawn from together. */
function poolRare(groups: { group: string }[]): void {
  const counts = new Map<string, number>();
  for (const { group } of groups) counts.set(group, (counts.get(group) ?? 0) + 1);
  for (const entry of groups) if (counts.get(entry.group)! < SMALLEST_SPLIT) entry.group = '';
}

function countLabels(found: Found, labels: readonly string[]): DataReport['counts'] {
  const count = (part: Part): Record<string, number> => {
    const items = found.items.filter((item) => item.part === part);
    if (found.kind === 'regression') return { pictures: items.length };
    const counts = new Map(labels.map((label) => [label, 0]));
    for (const label of items.flatMap((item) => item.labels)) counts.set(label, counts.get(label)! + 1);
    return Object.fromEntries(counts);
  };
  return { train: count('train'), val: count('val'), test: count('test') };
}

function balanceWarnings(counts: Record<string, number>): string[] {
  const warnings: string[] = [];
  const entries = Object.entries(counts).filter(([, count]) => count > 0);
  const missing = Object.keys(counts).filter((label) => counts[label] === 0);
  const single = entries.filter(([, count]) => count === 1).map(([label]) => label);
  if (missing.length > 0) warnings.push(`No training picture has the label ${shortList(missing)}.`);
  if (single.length > 0) warnings.push(`Only one training picture has the label ${shortList(single)}.`);
  const ordered = entries.sort((a, b) => a[1] - b[1]);
  const [least, most] = [ordered[0], ordered.at(-1)];
  if (least && most && most[1] > IMBALANCE * least[1]) {
    const numbers = `'${most[0]}' has ${most[1]} training pictures, '${least[0]}' has ${least[1]}`;
    warnings.push(`The classes are unbalanced (${numbers}): consider classWeights: 'balanced'.`);
  }
  return warnings;
}

async function duplicateWarning(found: Found): Promise<string[]> {
  const files = (part: Part): string[] => found.items.filter((item) => item.part === part).map(({ file }) => file);
  const pairs = await sameFiles(files('train'), files('val'));
  if (pairs.length === 0) return [];
  const shown = pairs.slice(0, 3).map(([train, val]) => `${train} = ${val}`);
  const more = pairs.length > shown.length ? ', …' : '';
  const what = pairs.length === 1 ? 'One picture is' : `${pairs.length} pictures are`;
  return [
    `${what} in training and in validation, which makes validation look better than it is: ${shown.join(', ')}${more}.`,
  ];
}

function toDataset(found: Found, labels: readonly string[], part: Part): Dataset {
  const indices = new Map(labels.map((label, index) => [label, index]));
  const target = (item: FoundItem): Target => {
    if (found.kind === 'regression') return item.numbers.length === 1 ? item.numbers[0]! : item.numbers;
    const numbers = item.labels.map((label) => indices.get(label)!);
    return found.kind === 'single' ? numbers[0]! : numbers;
  };
  const items = found.items.filter((item) => item.part === part);
  const entries = items.map((item) => ({ picture: item.file, name: item.file, target: target(item) }));
  const names = found.kind === 'regression' ? { targetNames: found.targetNames } : { labels };
  return fromPictures(entries, { kind: found.kind, ...names });
}

/** Pictures that lie beside the folders of labels; other files there (a read-me, a licence) are nobody's mistake. */
async function looseSkips(loose: readonly string[], options: ImageFolderOptions): Promise<SkippedFile[]> {
  const { pictures } = await withoutOthers(
    loose.map((file) => ({ file })),
    { ...options, strict: false },
  );
  const skips = pictures.map(({ file }) => {
    return { file, code: 'ERR_PICTURE_UNLABELLED', reason: `${file} lies in no label's folder` };
  });
  if (options.strict && skips[0]) throw new ThawError(skips[0].code, skips[0].reason);
  return skips;
}

async function inspect(found: Found, path: string, options: ImageFolderOptions): Promise<SkippedFile[]> {
  const { pictures, skipped } = await withoutOthers(found.items, options);
  found.items = pictures;
  skipped.push(...(await looseSkips(found.loose, options)));
  if (options.training !== false && found.kind === 'single') await checkClasses(found, skipped, options);
  const wanted = options.training === false ? found.items : found.items.filter(({ part }) => part === 'train');
  if (wanted.length > 0) return skipped;
  const reason = skipped[0] ? `: ${skipped[0].reason}` : '';
  throw new ThawError(
    'ERR_DATA_EMPTY',
    `expected pictures, in one folder a label, for ${path}, received none${reason}`,
  );
}

/**
 * Pictures of a folder: one folder a label, alone or within train/, val/ (valid/, validation/) and test/; a folder
 * with metadata.csv or metadata.jsonl; or a list (CSV or JSON lines with `file` and `label` | `labels` | `target`,
 * `split`). Without validation data 20 % of each class with at least five pictures is held out, by seed. What was
 * decided and what looks wrong is said in `report`. Files that cannot be read are left out and named; those that only
 * fail when they are decoded are left out by the loader.
 *
 * Throws ERR_FILE_READ, ERR_LIST, ERR_DATA_EMPTY, ERR_CLASS_EMPTY, ERR_CLASS_UNREADABLE, ERR_CLASSES_FEW, ERR_LABELS,
 * ERR_DECODER_MISSING, ERR_ABORTED.
 */
export async function imageFolder(path: string, options: ImageFolderOptions = {}): Promise<PictureFolder> {
  if (typeof path !== 'string') throw expected('ERR_OPTION', 'the path of a folder or a list', 'imageFolder', path);
  const found = await findPictures(path, options.training !== false);
  const skipped = await inspect(found, path, options);
  const labels = findLabels(found, options);
  checkLabels(found, labels, path, options);
  const notes = [...found.notes];
  holdOut(found, options, notes);
  const counts = countLabels(found, labels);
  const warnings = skipped.length > 0 ? [`${aboutSkipped(skipped)}.`] : [];
  if (options.training !== false) {
    if (found.kind === 'single') warnings.push(...balanceWarnings(counts.train));
    warnings.push(...(await duplicateWarning(found)));
  }
  const [train, val, test] = PARTS.map((part) => toDataset(found, labels, part)) as [Dataset, Dataset, Dataset];
  return {
    train,
    ...(val.length > 0 && { val }),
    ...(test.length > 0 && { test }),
    labels,
    kind: found.kind,
    ...(found.kind === 'regression' && { targetNames: found.targetNames }),
    report: { notes, warnings, skipped, counts },
  };
}
