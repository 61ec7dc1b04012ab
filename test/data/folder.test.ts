import { mkdirSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { imageFolder } from '../../src/data/folder.js';
import type { Dataset, ImageFolderOptions } from '../../src/data/types.js';
import type { ThawError } from '../../src/errors.js';
import { temporaryFolder } from '../python.js';
import { sharedPath } from '../shared.js';
import { many, writeTree } from './pictures.js';

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => (folder = temporaryFolder()));
afterEach(() => folder.remove());

const read = async (
  files: Record<string, number | string>,
  options: ImageFolderOptions = {},
  path = '',
): ReturnType<typeof imageFolder> => {
  await writeTree(folder.path, files);
  return imageFolder(join(folder.path, path), options);
};
const failure = async (...args: Parameters<typeof read>): Promise<ThawError> =>
  read(...args).then(
    () => expect.fail('expected an error'),
    (error: ThawError) => error,
  );
const namesOf = async (data: Dataset): Promise<string[]> => {
  const names: string[] = [];
  for (let i = 0; i < data.length; i++) names.push((await data.get(i)).name!.slice(folder.path.length + 1));
  return names;
};

describe('imageFolder', () => {
  it('reads one folder a label, labels by code point, and what lies deeper', async () => {
    const photos = await read({
      'b/1.jpg': 1,
      'b/deep/er/2.jpg': 2,
      'ä/3.jpg': 3,
      'Z/4.jpg': 4,
      '10/5.jpg': 5,
      '9/6.jpg': 6,
    });
    expect(photos.labels).toEqual(['10', '9', 'Z', 'b', 'ä']);
    expect(photos.kind).toBe('single');
    expect(photos.train.length).toBe(6);
    expect(photos.train.targets).toEqual([0, 1, 2, 3, 3, 4]);
    expect(await photos.train.get(4)).toMatchObject({ target: 3, name: join(folder.path, 'b/deep/er/2.jpg') });
    expect(photos.val).toBeUndefined();
  });

  it('holds out 20 % of each class by seed, none of a class under five, and says so', async () => {
    const files = { ...many('a', 10, 0), ...many('b', 20, 40), ...many('c', 4, 100) };
    const photos = await read(files);
    expect([photos.train.length, photos.val?.length]).toEqual([28, 6]);
    expect(photos.report.counts.val).toEqual({ a: 2, b: 4, c: 0 });
    expect(photos.report.notes.join(' ')).toMatch(
      /20 % of the pictures \(6 of 34\).*seed 0.*Fewer than 5 pictures \('c'\)/s,
    );
    const again = await imageFolder(folder.path);
    expect(await namesOf(again.val!)).toEqual(await namesOf(photos.val!));
    const other = await imageFolder(folder.path, { seed: 1 });
    expect(await namesOf(other.val!)).not.toEqual(await namesOf(photos.val!));
    const train = await namesOf(photos.train);
    expect((await namesOf(photos.val!)).every((name) => !train.includes(name))).toBe(true);
    const none = await imageFolder(folder.path, { validation: 0 });
    expect([none.train.length, none.val]).toEqual([34, undefined]);
  });

  it('adding a picture moves no other between training and validation', async () => {
    const before = await read({ ...many('a', 10, 0), ...many('b', 10, 40) });
    const held = new Set(await namesOf(before.val!));
    const after = await read(many('a', 11, 0));
    const moved = (await namesOf(after.train)).filter((name) => held.has(name));
    expect(moved.length).toBeLessThanOrEqual(1);
  });

  it.each(['val', 'valid', 'validation', 'Val'])('reads train/, %s/ and test/', async (val) => {
    const photos = await read({
      ...many('train/a', 6, 0),
      ...many('train/b', 6, 10),
      [`${val}/a/1.jpg`]: 50,
      'test/b/1.jpg': 60,
      'other/x.jpg': 1,
    });
    expect([photos.train.length, photos.val?.length, photos.test?.length]).toEqual([12, 1, 1]);
    expect(photos.test!.targets).toEqual([1]);
    expect(photos.report.notes.join()).toContain('other');
  });

  it('takes a label that is called like a part', async () => {
    expect((await read({ 'test/1.jpg': 1, 'car/1.jpg': 2, 'train/1.jpg': 3 })).labels).toEqual([
      'car',
      'test',
      'train',
    ]);
  });

  it('ignores what systems leave behind and names what is not decoded', async () => {
    const files = {
      'a/1.jpg': 1,
      'b/1.jpg': 2,
      'a/.DS_Store': 'x',
      'a/Thumbs.db': 'x',
      'b/desktop.ini': 'x',
      '__MACOSX/a/1.jpg': 'x',
      '.git/x': 'x',
    };
    const photos = await read({
      ...files,
      'a/notes.txt': 'words',
      'b/2.heic': '\0\0\0\x18ftypheic',
      'README.md': 'words',
      'loose.jpg': 5,
    });
    expect(photos.labels).toEqual(['a', 'b']);
    expect(photos.report.skipped.map(({ file, code }) => [basename(file), code])).toEqual([
      ['notes.txt', 'ERR_PICTURE_FORMAT'],
      ['2.heic', 'ERR_PICTURE_FORMAT'],
      ['loose.jpg', 'ERR_PICTURE_UNLABELLED'],
    ]);
    expect(photos.report.warnings.join()).toMatch(/3 files were left out: .*text file.*HEIC.*no label's folder/s);
    expect((await failure({}, { strict: true })).code).toBe('ERR_PICTURE_FORMAT');
  });

  it('follows links, but not in circles', async () => {
    await writeTree(folder.path, { 'a/1.jpg': 1, 'store/x/2.jpg': 2 });
    mkdirSync(join(folder.path, 'b'));
    symlinkSync(join(folder.path, 'store/x'), join(folder.path, 'b/x'));
    symlinkSync(join(folder.path, 'b'), join(folder.path, 'b/again'));
    symlinkSync(join(folder.path, 'nowhere'), join(folder.path, 'b/broken.jpg'));
    const photos = await imageFolder(folder.path, { validation: 0 });
    expect(photos.report.counts.train).toEqual({ a: 1, b: 1, store: 1 });
    expect(photos.report.skipped.map(({ code }) => code)).toEqual(['ERR_FILE_READ']);
  });

  it('warns of a single picture, of imbalance and of the same picture on both sides', async () => {
    const files = { ...many('train/a', 7, 0), 'train/b/1.jpg': 50, 'val/a/copy.jpg': 3, 'val/b/1.jpg': 60 };
    const { warnings } = (await read(files)).report;
    expect(warnings).toHaveLength(3);
    expect(warnings[0]).toMatch(/Only one training picture has the label 'b'/);
    expect(warnings[1]).toMatch(/'a' has 7 training pictures, 'b' has 1.*classWeights/);
    expect(warnings[2]).toMatch(/One picture is in training and in validation.*003.jpg = .*copy.jpg/);
    expect((await read({ ...many('train/b', 3, 50) })).report.warnings).toHaveLength(1);
  });

  it('takes labels in a given order', async () => {
    const photos = await read({ 'a/1.jpg': 1, 'b/1.jpg': 2 }, { labels: ['b', 'c', 'a'] });
    expect([photos.labels, photos.train.targets]).toEqual([
      ['b', 'c', 'a'],
      [2, 0],
    ]);
    expect(photos.report.warnings.join()).toMatch(/No training picture has the label 'c'/);
    expect((await failure({}, { labels: ['a'] })).message).toMatch(/labels given \('a'\).*received 'b' in .*b/);
  });

  it('reads data to evaluate on', async () => {
    const photos = await read({ 'test/a/1.jpg': 1, 'test/b/1.jpg': 2 }, { training: false });
    expect([photos.train.length, photos.test?.length, photos.labels]).toEqual([0, 2, ['a', 'b']]);
    const one = await read({ 'a/1.jpg': 1 }, { training: false }, 'test');
    expect([one.train.length, one.val]).toEqual([2, undefined]);
  });
});

describe('errors of imageFolder name the folder', () => {
  it.each([
    ['an empty class', { 'a/1.jpg': 1, 'b/.keep': '' }, 'ERR_CLASS_EMPTY', /'b'.*empty folder .*b$/],
    ['a class of text', { 'a/1.jpg': 1, 'b/x.jpg': 'words' }, 'ERR_CLASS_UNREADABLE', /b, received none: .*text file/],
    [
      'a broken picture',
      { 'a/1.jpg': 1, 'b/x.jpg': '\xff\xd8\xff\xe0' },
      'ERR_CLASS_UNREADABLE',
      /b, received none: .*x.jpg/,
    ],
    ['one class', { 'a/1.jpg': 1 }, 'ERR_CLASSES_FEW', /at least two labels.*'a'/],
    ['no class', { '1.jpg': 1 }, 'ERR_DATA_EMPTY', /one folder a label/],
    ['a new label', { 'train/a/1.jpg': 1, 'train/b/1.jpg': 2, 'val/c/1.jpg': 3 }, 'ERR_LABELS', /'c' in .*val.c/],
  ])('%s', async (_, files, code, message) => {
    const error = await failure(files as Record<string, number | string>);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  it('no such folder', async () => {
    expect((await failure({}, {}, 'missing')).code).toBe('ERR_FILE_READ');
  });

  it('a share for validation that is none', async () => {
    expect((await failure({ 'a/1.jpg': 1, 'b/1.jpg': 2 }, { validation: 1 })).code).toBe('ERR_OPTION');
  });
});

describe('lists', () => {
  const files = { 'p/1.jpg': 1, 'p/2.jpg': 2, 'p/3.jpg': 3 };

  it('reads CSV with one label a picture', async () => {
    const csv = 'file,label,split\r\np/1.jpg,"a, ""b""",train\r\np/2.jpg,c,\r\n\r\np/3.jpg,c,valid\r\n';
    const photos = await read({ ...files, 'list.csv': `\ufeff${csv}` }, {}, 'list.csv');
    expect(photos.labels).toEqual(['a, "b"', 'c']);
    expect([photos.train.targets, photos.val?.targets]).toEqual([[0, 1], [1]]);
  });

  it('reads several labels, and pictures with none', async () => {
    const photos = await read(
      { ...files, 'list.csv': 'file;labels\np/1.jpg;red|round\np/2.jpg;\np/3.jpg;round\n' },
      {},
      'list.csv',
    );
    expect([photos.kind, photos.labels, photos.train.targets]).toEqual(['multi', ['red', 'round'], [[0, 1], [], [1]]]);
  });

  it('reads numbers', async () => {
    const photos = await read(
      { ...files, 'list.tsv': 'file\ttarget_x\ttarget_y\np/1.jpg\t1\t2.5\np/2.jpg\t-1e3\t0\n' },
      {},
      'list.tsv',
    );
    expect([photos.kind, photos.targetNames, photos.train.targets]).toEqual([
      'regression',
      ['target_x', 'target_y'],
      [
        [1, 2.5],
        [-1000, 0],
      ],
    ]);
    const one = await read({ 'one.csv': 'file,target\np/1.jpg,4\n' }, {}, 'one.csv');
    expect(one.train.targets).toEqual([4]);
  });

  it('reads JSON lines, and absolute paths', async () => {
    const lines = [
      { file_name: 'p/1.jpg', labels: ['x', 'y'] },
      { file_name: join(folder.path, 'p/2.jpg'), labels: 'y|z' },
    ];
    const photos = await read(
      { ...files, 'list.jsonl': lines.map((line) => JSON.stringify(line)).join('\n') },
      {},
      'list.jsonl',
    );
    expect([photos.labels, photos.train.targets]).toEqual([
      ['x', 'y', 'z'],
      [
        [0, 1],
        [1, 2],
      ],
    ]);
  });

  it('takes metadata.csv of a folder and of its parts', async () => {
    const photos = await read({ ...files, 'metadata.csv': 'file_name,label\np/1.jpg,a\np/2.jpg,b\n' });
    expect([photos.train.length, photos.labels]).toEqual([2, ['a', 'b']]);
    const parts = { ...many('x/train', 2, 0), 'x/train/metadata.csv': 'file_name,label\n000.jpg,a\n001.jpg,b\n' };
    const val = { ...many('x/val', 1, 90), 'x/val/metadata.jsonl': '{"file_name":"000.jpg","label":"b"}' };
    const inParts = await read({ ...parts, ...val }, {}, 'x');
    expect([inParts.train.targets, inParts.val?.targets]).toEqual([[0, 1], [1]]);
  });

  it.each([
    ['file,name\nx,y', /one of the columns 'label'/],
    ['name,label\nx,y', /column 'file'/],
    ['file,label\nx', /line 2: expected 2 fields/],
    ['file,label\nx,', /line 2: expected a label/],
    ['file,label\nx,"y', /line 2: expected a closing quote/],
    ['file,target\nx,1\ny,much', /line 3: expected a number in column 'target', received 'much'/],
    ['file,label,split\nx,a,later', /line 2: expected train, val or test/],
    ['file,label', /at least one picture/],
    ['{"file": 1, "label": "a"}', /line 1: expected a path/],
    ['{"file": "x"\n', /line 1: expected a JSON object/],
  ])('explains what is wrong with %j', async (text, message) => {
    const error = await failure({ 'list.csv': text }, {}, 'list.csv');
    expect([error.code, error.message]).toEqual(['ERR_LIST', expect.stringMatching(message)]);
  });

  it('skips listed files that are not there', async () => {
    const photos = await read(
      { ...files, 'list.csv': 'file,label\np/1.jpg,a\np/2.jpg,b\np/9.jpg,b\n' },
      {},
      'list.csv',
    );
    expect([photos.train.length, photos.report.skipped.map(({ code }) => code)]).toEqual([2, ['ERR_FILE_READ']]);
  });

  const split86 = sharedPath('data', 'cucumber-zucchini', 'split86.tsv');
  it.skipIf(!split86)('reads split86', async () => {
    const photos = await imageFolder(split86!, { validation: 0 });
    expect([photos.labels, photos.train.length]).toEqual([['cucumber', 'zucchini'], 86]);
    expect([photos.val, photos.test?.length]).toEqual([undefined, 38]);
  });
});
