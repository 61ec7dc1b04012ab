import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { fromPictures } from '../../src/data/dataset.js';
import { batches, preparePictures } from '../../src/data/loader.js';
import type { LoaderOptions, PicturePreprocessing, RawPicture } from '../../src/data/types.js';
import type { ThawError } from '../../src/errors.js';
import { type NativeSession, createSession } from '../../src/native.js';
import { hasTorch, python, temporaryFolder } from '../python.js';
import { jpeg } from './pictures.js';

interface Case {
  width: number;
  height: number;
  channels: 1 | 3;
  request: Record<string, unknown>;
  shape: number[];
  /** False where the last bit of a cosine decides. */
  exact: boolean;
}

const imagenet: PicturePreprocessing = {
  resize: 40,
  crop: 32,
  interpolation: 'bilinear',
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
  channels: 3,
};
const folder = temporaryFolder();
const sessions: NativeSession[] = [];
const open = (threads?: number): NativeSession => {
  const session = createSession(threads ? { threads } : {});
  sessions.push(session);
  return session;
};
const noise = (seed: number, width: number, height: number, channels: 1 | 3 | 4 = 3): RawPicture => {
  let state = seed + 1;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
  return { data: Uint8Array.from({ length: width * height * channels }, next), width, height, channels };
};
const failure = (promise: Promise<unknown>): Promise<ThawError> =>
  promise.then(
    () => expect.fail('expected an error'),
    (error: ThawError) => error,
  );
const firstBatch = async (pictures: RawPicture[], options: Partial<LoaderOptions>): Promise<Uint8Array> => {
  const all = batches(fromPictures(pictures), { session: open(), preprocessing: imagenet, ...options });
  const { data } = (await all.next()).value!.inputs['image']!;
  await all.return(undefined);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
};

afterAll(() => {
  sessions.forEach((session) => session.dispose());
  folder.remove();
});

describe.skipIf(!hasTorch())('images, beside torchvision on PIL', () => {
  let cases: Case[] = [];
  beforeAll(() => {
    cases = JSON.parse(python(join(import.meta.dirname, 'images.py'), folder.path)) as Case[];
  });

  it('resizes, crops, augments and normalises to the same bits', async () => {
    const session = open();
    let worst = 0;
    for (const [number, { width, height, channels, request, shape, exact }] of cases.entries()) {
      const raw = readFileSync(join(folder.path, `${number}.raw`));
      const { reply, buffers } = await session.submit('images', { ...request, items: [{ width, height, channels }] }, [
        raw,
      ]);
      expect((reply as { shape: number[] }).shape).toEqual([1, ...shape]);
      const wanted = readFileSync(join(folder.path, `${number}.f32`));
      const [got, expected] = [buffers[0]!, wanted].map((bytes) => new Float32Array(new Uint8Array(bytes).buffer)) as [
        Float32Array,
        Float32Array,
      ];
      const most = got.reduce((a, value, i) => Math.max(a, Math.abs(value - expected[i]!)), 0);
      if (exact) expect([number, most]).toEqual([number, 0]);
      worst = Math.max(worst, most);
    }
    // One step of 8 bits over the smallest deviation.
    expect(worst).toBeLessThanOrEqual(1 / 255 / 0.224 + 1e-6);
  });
});

describe('images', () => {
  it('gives the same bits for any number of threads, batch and place in it', async () => {
    const pictures = Array.from({ length: 9 }, (_, i) => noise(i, 50 + i, 61 - i));
    const options = { augment: true, seed: 3, epoch: 1 };
    const all = await firstBatch(pictures, { ...options, session: open(4) });
    expect(await firstBatch(pictures, { ...options, session: open(1) })).toEqual(all);
    const alone = await firstBatch(pictures, { ...options, rows: [[7]] });
    const size = 3 * 32 * 32 * 4;
    expect(alone).toEqual(all.slice(7 * size, 8 * size));
    expect(await firstBatch(pictures, { ...options, seed: 4 })).not.toEqual(all);
    expect(await firstBatch(pictures, { ...options, epoch: 2 })).not.toEqual(all);
  });

  it('serves networks with one and with four channels', async () => {
    const session = open();
    const one = { ...imagenet, mean: [0], std: [1], channels: 1 as const };
    const grey = await preparePictures([await jpeg(100, 100, 100), noise(1, 40, 40, 1)], {
      session,
      preprocessing: one,
    });
    expect([grey.shape, grey.data[0]]).toEqual([[2, 1, 32, 32], Math.fround(100 / 255)]);
    const four = { ...imagenet, mean: [0, 0, 0, 0], std: [1, 1, 1, 1], channels: 4 as const };
    const alpha = await preparePictures([await jpeg(100), noise(1, 40, 40, 4)], { session, preprocessing: four });
    expect([alpha.shape, alpha.data[3 * 32 * 32]]).toEqual([[2, 4, 32, 32], 1]);
  });

  it('decodes files ahead', async () => {
    const files = await Promise.all(Array.from({ length: 10 }, (_, i) => jpeg(i * 20)));
    const shapes: number[][] = [];
    for await (const batch of batches(fromPictures(files), { session: open(), preprocessing: imagenet, batch: 4 })) {
      shapes.push([...batch.inputs['image']!.shape]);
    }
    expect(shapes).toEqual([
      [4, 3, 32, 32],
      [4, 3, 32, 32],
      [2, 3, 32, 32],
    ]);
  });

  it('explains what is wrong', async () => {
    const session = open();
    const submit = (request: object, ...buffers: Uint8Array[]): Promise<ThawError> =>
      failure(session.submit('images', request, buffers));
    const item = { width: 2, height: 2, channels: 3 };
    const short = await submit({ items: [item] }, new Uint8Array(11));
    expect([short.code, short.message]).toEqual(['ERR_PICTURE', 'expected 12 bytes for picture 0, received 11']);
    const sizes = await submit({ items: [item, { ...item, height: 1 }] }, new Uint8Array(12), new Uint8Array(6));
    expect(sizes.code).toBe('ERR_PICTURE_SIZE');
    expect((await submit({ items: [item] })).code).toBe('ERR_PICTURE');
    expect((await submit({ items: [{ ...item, channels: 2 }] }, new Uint8Array(8))).code).toBe('ERR_PICTURE');
    expect((await submit({ items: [item], crop: 0 }, new Uint8Array(12))).code).toBe('ERR_OPTION');
    const options: Partial<LoaderOptions> = { augment: { hue: 1 } };
    expect((await failure(firstBatch([noise(1, 40, 40)], options))).message).toBe(
      'expected 0 … 0.5 for augment.hue, received 1',
    );
    const unknown = { augment: { zoom: 2 } } as Partial<LoaderOptions>;
    expect((await failure(firstBatch([noise(1, 40, 40)], unknown))).code).toBe('ERR_OPTION');
  });
});
