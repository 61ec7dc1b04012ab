import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { fromArrays, fromPictures } from '../../src/data/dataset.js';
import { batches, preparePictures } from '../../src/data/loader.js';
import { pictureStore } from '../../src/data/store.js';
import type {
  Batch,
  Dataset,
  LoaderOptions,
  PicturePreprocessing,
  RawPicture,
  SkippedFile,
} from '../../src/data/types.js';
import type { ThawError } from '../../src/errors.js';
import { temporaryFolder } from '../python.js';
import { fakeSession, jpeg } from './pictures.js';

const preprocessing: PicturePreprocessing = {
  resize: null,
  crop: 1,
  interpolation: 'bilinear',
  mean: [0, 0, 0],
  std: [1, 1, 1],
  channels: 3,
};
const raw = (value: number, side = 1): RawPicture => {
  return { data: new Uint8Array(side * side * 3).fill(value), width: side, height: side, channels: 3 };
};
const pictures = (count: number): Dataset =>
  fromPictures(Array.from({ length: count }, (_, i) => ({ picture: raw(i), target: i % 2 })));
const collect = async (data: Dataset, options: Partial<LoaderOptions> = {}): Promise<Batch[]> => {
  const all: Batch[] = [];
  for await (const batch of batches(data, { session: fakeSession(), preprocessing, ...options })) all.push(batch);
  return all;
};
const values = (batch: Batch): number[] => Array.from(batch.inputs['image']?.data ?? [], Number);
const failure = (promise: Promise<unknown>): Promise<ThawError> =>
  promise.then(
    () => expect.fail('expected an error'),
    (error: ThawError) => error,
  );

describe('batches', () => {
  it('goes through the data in order, with a short last batch', async () => {
    const target = { kind: 'single' as const };
    const all = await collect(pictures(7), { batch: 3, target });
    expect(all.map(values)).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
    expect(all.map(({ index, size, samples }) => [index, size, samples])).toEqual([
      [0, 3, [0, 1, 2]],
      [1, 3, [3, 4, 5]],
      [2, 1, [6]],
    ]);
    expect(all[1]!.target).toEqual({ data: Int32Array.of(1, 0, 1), shape: [3] });
    expect(all[0]!.inputs['image']!.shape).toEqual([3, 1, 1, 1]);
  });

  it('takes a batch larger than the data, and rows in any order', async () => {
    expect((await collect(pictures(3), { batch: 100 })).map(values)).toEqual([[0, 1, 2]]);
    expect((await collect(pictures(5), { rows: [Int32Array.of(4, 0), [2]] })).map(values)).toEqual([[4, 0], [2]]);
    expect(await collect(pictures(0))).toEqual([]);
  });

  it('gives equal content equal keys, and augmented pictures keys of their own', async () => {
    const data = fromPictures([raw(1), raw(2), raw(1)]);
    const [plain] = await collect(data);
    expect(plain!.keys[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(plain!.keys[0]).toBe(plain!.keys[2]);
    expect(plain!.keys[0]).not.toBe(plain!.keys[1]);
    const [varied] = await collect(data, { augment: true, epoch: 3 });
    expect(new Set(varied!.keys).size).toBe(3);
    const [id, draws, ...place] = varied!.keys[2]!.split('/');
    expect([id, ...place]).toEqual([plain!.keys[0], '2', '3']);
    // What is drawn depends on the seed and the kinds of change too.
    for (const other of [{ augment: true, seed: 1 }, { augment: { flip: 0.5 } }]) {
      const [batch] = await collect(data, { ...other, epoch: 3 });
      expect(batch!.keys[2]!.split('/')[1]).not.toBe(draws);
    }
  });

  it('asks the core for augmentation by sample', async () => {
    const session = fakeSession();
    await collect(pictures(4), { session, rows: [[3, 1]], augment: { flip: true }, seed: 9, epoch: 2 });
    expect(session.requests[0]).toMatchObject({ augment: { flip: 0.5 }, seed: 9, epoch: 2, samples: [3, 1] });
    await collect(pictures(1), { session });
    expect(session.requests[1]).not.toHaveProperty('augment');
  });

  it('does not read what is there already', async () => {
    const data = fromPictures([raw(1), raw(2), raw(3)]);
    const [first] = await collect(data);
    const asked: string[][] = [];
    const have = (keys: string[]): boolean[] => {
      asked.push(keys);
      return keys.map((key) => key === first!.keys[1]);
    };
    const [batch] = await collect(data, { have });
    expect(asked).toEqual([first!.keys]);
    expect([batch!.size, batch!.read, values(batch!), batch!.keys]).toEqual([3, [0, 2], [1, 3], first!.keys]);
    const [none] = await collect(data, { have: (keys) => keys.map(() => true) });
    expect([none!.size, none!.read, none!.inputs]).toEqual([3, [], {}]);
  });

  it('makes one batch of pictures that are too large for one command', async () => {
    const session = fakeSession();
    const data = fromPictures([1, 2, 3, 4].map((value) => raw(value, 3600)));
    const [batch] = await collect(data, { session });
    expect(session.requests.length).toBeGreaterThan(1);
    expect([values(batch!), batch!.inputs['image']!.shape]).toEqual([
      [1, 2, 3, 4],
      [4, 1, 1, 1],
    ]);
  });

  it('runs ahead within its bytes, and stops when the reader leaves', async () => {
    const session = fakeSession();
    const reader = batches(pictures(100), { session, preprocessing, batch: 2 });
    await reader.next();
    await vi.waitFor(() => expect(session.requests.length).toBeGreaterThan(4), { timeout: 5000 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    const ahead = session.requests.length;
    expect(ahead).toBeLessThan(20);
    await reader.return(undefined);
    const stopped = session.requests.length;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(session.requests.length).toBe(stopped);
    const careful = fakeSession();
    const slow = batches(pictures(100), { session: careful, preprocessing, batch: 2, aheadBytes: 0 });
    await slow.next();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(careful.requests.length).toBeLessThanOrEqual(2);
    await slow.return(undefined);
  });

  it('finishes the next batch before those further ahead', async () => {
    const [size, count] = [16, 12];
    const store = pictureStore();
    const finished: number[] = [];
    const set = store.set.bind(store);
    store.set = (index, entry) => (finished.push(Math.floor(index / size)), set(index, entry));
    const files = await Promise.all(Array.from({ length: 4 }, (_, i) => jpeg(i)));
    const data = fromPictures(Array.from({ length: size * count }, (_, i) => ({ picture: files[i % 4]!, target: 0 })));
    await collect(data, { batch: size, pictures: store });
    expect(finished).toHaveLength(size * count);
    // Some pictures of the batch after it may be under way when the last ones of a batch end.
    finished.forEach((batch, i) => expect(Math.abs(batch - Math.floor(i / size))).toBeLessThanOrEqual(1));
  });

  it('obeys a signal', async () => {
    const controller = new AbortController();
    const reader = batches(pictures(10), {
      session: fakeSession(),
      preprocessing,
      batch: 1,
      signal: controller.signal,
    });
    await reader.next();
    controller.abort();
    expect((await failure(reader.next())).code).toBe('ERR_ABORTED');
    expect((await failure(collect(pictures(1), { signal: AbortSignal.abort() }))).code).toBe('ERR_ABORTED');
  });

  it('passes on what goes wrong in a data set or the core', async () => {
    const data: Dataset = {
      length: 3,
      get: (i) => (i === 2 ? Promise.reject(new Error('no')) : { input: { picture: raw(i) } }),
    };
    expect((await failure(collect(data, { batch: 1 }))).message).toBe('no');
    const session = { submit: () => Promise.reject(new Error('core')) };
    expect((await failure(collect(pictures(3), { session }))).message).toBe('core');
  });

  it('says which sample has a wrong target', async () => {
    const data = fromPictures([
      { picture: raw(1), target: 0 },
      { picture: raw(2), target: 5, name: 'second' },
    ]);
    const error = await failure(collect(data, { target: { kind: 'single', labels: ['a', 'b'] } }));
    expect([error.code, error.message]).toEqual([
      'ERR_TARGET',
      'expected a label or an index up to 1 for the target of second, received 5',
    ]);
    const none = await failure(collect(fromPictures([raw(1)]), { target: { kind: 'single' } }));
    expect(none.message).toBe('expected a target for sample 0, received none');
  });

  it('encodes labels and numbers', async () => {
    const multi = fromPictures(
      [raw(1), raw(2)].map((picture, i) => ({ picture, target: i ? ['c', 'a'] : [] })),
      { kind: 'multi' },
    );
    const [labels] = await collect(multi, { target: { kind: 'multi', labels: ['a', 'b', 'c'] } });
    expect(labels!.target).toEqual({ data: Float32Array.of(0, 0, 0, 1, 0, 1), shape: [2, 3] });
    const numbers = fromPictures([{ picture: raw(1), target: [3, 5] }], { kind: 'regression' });
    const scaling = { mean: [1, 1], std: [2, 4] };
    const [scaled] = await collect(numbers, { target: { kind: 'regression', size: 2, scaling } });
    expect(scaled!.target).toEqual({ data: Float32Array.of(1, 1), shape: [1, 2] });
  });

  it('reads streams', async () => {
    async function* samples(): AsyncGenerator<{ input: { picture: RawPicture } }> {
      for (let i = 0; i < 5; i++) yield await Promise.resolve({ input: { picture: raw(i) } });
    }
    const all: Batch[] = [];
    const stream = { [Symbol.asyncIterator]: samples };
    for await (const batch of batches(stream, { session: fakeSession(), preprocessing, batch: 2 })) all.push(batch);
    expect(all.map(({ samples }) => samples)).toEqual([[0, 1], [2, 3], [4]]);
  });
});

describe('files that cannot be read', () => {
  const folder = temporaryFolder();
  let files: string[] = [];
  beforeAll(async () => {
    files = ['good.jpg', 'bad.jpg', 'also.jpg', 'missing.jpg'].map((name) => join(folder.path, name));
    writeFileSync(files[0]!, await jpeg(10));
    writeFileSync(files[1]!, (await jpeg(20, 0, 0, 64)).subarray(0, 200));
    writeFileSync(files[2]!, await jpeg(30));
  });
  afterAll(() => folder.remove());

  it.each([false, true])('are left out and named (asked what is there: %s)', async (asked) => {
    const have = asked ? { have: (keys: string[]) => keys.map(() => false) } : {};
    const [batch] = await collect(fromPictures(files), have);
    expect([batch!.size, batch!.samples, batch!.read]).toEqual([2, [0, 2], [0, 1]]);
    expect(batch!.skipped.map(({ file, code }) => [file, code]).sort()).toEqual([
      [files[1], 'ERR_PICTURE_CORRUPT'],
      [files[3], 'ERR_FILE_READ'],
    ]);
  });

  it('leave no batch where nothing is left, but are told', async () => {
    const told: SkippedFile[] = [];
    const store = pictureStore();
    const options = { batch: 1, pictures: store, onSkip: (file: SkippedFile): number => told.push(file) };
    expect((await collect(fromPictures(files), options)).map(({ index }) => index)).toEqual([0, 2]);
    expect(told.map(({ file }) => file)).toEqual([files[1], files[3]]);
    expect(store.get(1)?.skipped?.code).toBe('ERR_PICTURE_CORRUPT');
  });

  it('throw with strict', async () => {
    const error = await failure(collect(fromPictures(files), { strict: true, batch: 2 }));
    expect([error.code, error.message]).toEqual(['ERR_PICTURE_CORRUPT', expect.stringContaining(files[1]!)]);
  });

  it('throw in preparePictures', async () => {
    const session = fakeSession();
    const good = await preparePictures([files[0]!, raw(4), await jpeg(9)], { session, preprocessing });
    expect(good.shape).toEqual([3, 1, 1, 1]);
    expect((await failure(preparePictures(files, { session, preprocessing }))).code).toBe('ERR_PICTURE_CORRUPT');
    expect((await failure(preparePictures([], { session, preprocessing }))).code).toBe('ERR_PICTURE');
  });
});

describe('pictureStore', () => {
  it('keeps pixels up to its limit, and every identity', () => {
    const store = pictureStore(5000);
    for (let i = 0; i < 4; i++) store.set(i, { id: `${i}`, picture: raw(i, 24) });
    expect([0, 1, 2, 3].map((i) => [store.get(i)?.id, store.get(i)?.picture !== undefined])).toEqual([
      ['0', true],
      ['1', true],
      ['2', false],
      ['3', false],
    ]);
    store.clear();
    expect([store.bytes, store.get(0)]).toEqual([0, undefined]);
  });
});

describe('fromArrays', () => {
  it('cuts tensors into samples and joins them again', async () => {
    const image = { data: Float32Array.from({ length: 12 }, (_, i) => i), shape: [3, 2, 2] };
    const data = fromArrays(image, Int32Array.of(0, 1, 0));
    expect([data.length, data.targets]).toEqual([3, [0, 1, 0]]);
    const all = await collect(data, { batch: 2, target: { kind: 'single' } });
    expect(all.map((batch) => [values(batch), batch.inputs['image']!.shape])).toEqual([
      [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [2, 2, 2],
      ],
      [
        [8, 9, 10, 11],
        [1, 2, 2],
      ],
    ]);
    expect(all[0]!.keys).toEqual([null, null]);
  });

  it('takes several inputs and tensors of targets', async () => {
    const tokens = { data: Int32Array.of(1, 2, 3, 4), shape: [2, 2] };
    const mask = { data: Float32Array.of(1, 0), shape: [2] };
    const data = fromArrays(
      { tokens, mask },
      { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] },
      { kind: 'regression' },
    );
    expect(data.targets).toEqual([
      [1, 2],
      [3, 4],
    ]);
    const [batch] = await collect(data);
    expect(batch!.inputs).toEqual({ tokens, mask });
  });

  it('makes labels of names', () => {
    const image = { data: new Float32Array(2), shape: [2, 1] };
    expect(fromArrays(image, ['b', 'a']).labels).toEqual(['a', 'b']);
    expect(() => fromArrays(image, [1])).toThrow('expected 2 targets for fromArrays, received 1');
    expect(() => fromArrays({ data: new Float32Array(3), shape: [2, 2] })).toThrow('expected 4 numbers');
    expect(() => void fromArrays(image).get(2)).toThrow('expected an index from 0 to 1');
  });
});
