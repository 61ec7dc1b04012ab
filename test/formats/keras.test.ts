import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { load } from '../../src/index.js';
import type { Network, Tensor } from '../../src/index.js';
import { decode } from './pixels.js';
import { temporaryFolder } from '../python.js';
import { sharedPath } from '../shared.js';
import { readBmp } from './bmp.js';

const folder = temporaryFolder();
afterAll(folder.remove);

const output = async (net: Network, input: Tensor, outputs?: string[]): Promise<Float32Array> =>
  Object.values(await net.forward(input, outputs && { outputs }))[0]!.data as Float32Array;

const resnet8 = sharedPath('weights', 'resnet8-cifar10-keras');
const lossless = sharedPath('data', 'cifar10', 'lossless20');

describe.skipIf(!resnet8 || !lossless)('ResNet-8 of Keras', () => {
  it('gives the logits that it should, from the model with its graph', async () => {
    const wanted = JSON.parse(readFileSync(path.join(resnet8!, 'expected.json'), 'utf8')) as {
      files: string[];
      logits_lossless20: number[][];
    };
    const net = await load(path.join(resnet8!, 'pretrainedResnet.h5'));
    expect(net.preprocessing).toBeNull();
    for (const [i, file] of wanted.files.entries()) {
      const scores = await output(net, await decode(path.join(lossless!, file)));
      wanted.logits_lossless20[i]!.forEach((w, k) => expect(Math.abs(scores[k]! - w)).toBeLessThan(2e-3));
    }
    expect(net.head).toMatchObject({ classifier: 'dense', outputs: 10 });
    net.dispose();
  });

  it('asks how pictures become its input, and takes the answer', async () => {
    const net = await load(path.join(resnet8!, 'pretrainedResnet.h5'));
    const picture = path.join(lossless!, 'cifar10_00_3.png');
    await expect(net.predict(picture)).rejects.toMatchObject({ code: 'ERR_PREPROCESSING_UNKNOWN' });
    net.dispose();
    const raw = { mean: [0, 0, 0], std: [1 / 255, 1 / 255, 1 / 255], resize: [32, 32] as [number, number] };
    const told = await load(path.join(resnet8!, 'pretrainedResnet.h5'), {
      preprocessing: { ...raw, crop: null, interpolation: 'bilinear', channels: 3 },
    });
    expect((await told.predict(picture))[0]!.index).toBe(3);
    told.dispose();
  });
});

const squeezenet = sharedPath(
  'weights',
  'squeezenet1_1-keras',
  'squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5',
);
const pictures = sharedPath('data', 'test-photos', 'imprinting');

describe.skipIf(!squeezenet || !pictures)('SqueezeNet of Keras, weights only', () => {
  it('has features that tell cats, dogs and hot dogs apart', async () => {
    const net = await load(squeezenet!);
    expect(net.preprocessing).toMatchObject({ source: 'assumed', resize: 227 });
    const { mean, std } = net.preprocessing!;
    const features = async (name: string): Promise<number[]> => {
      const { width, height, data } = readBmp(path.join(pictures!, `${name}.bmp`));
      const input = new Float32Array(3 * 227 * 227);
      for (let c = 0; c < 3; c++)
        for (let y = 0; y < 227; y++)
          for (let x = 0; x < 227; x++) {
            const from = Math.floor((y * height) / 227) * width + Math.floor((x * width) / 227);
            input[(c * 227 + y) * 227 + x] = (data[from * 3 + c]! / 255 - mean[c]!) / std[c]!;
          }
      const values = await output(net, { data: input, shape: [1, 3, 227, 227] });
      return Array.from(
        { length: 512 },
        (_, c) => values.subarray(c * 169, (c + 1) * 169).reduce((a, b) => a + b, 0) / 169,
      );
    };
    const cosine = (a: number[], b: number[]): number => {
      const dot = (p: number[], q: number[]): number => p.reduce((sum, v, i) => sum + v * q[i]!, 0);
      return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    };
    const kinds = ['cat', 'dog', 'hotdog'];
    const trained = await Promise.all(kinds.map((kind) => features(`${kind}_train_0`)));
    for (const kind of kinds) {
      const seen = await features(`${kind}_test_0`);
      const near = trained.map((known) => cosine(seen, known));
      expect(kinds[near.indexOf(Math.max(...near))]).toBe(kind);
    }
    net.replaceHead({ labels: kinds, preset: 'linear' });
    net.dispose();
  });
});

describe('HDF5', () => {
  it('that is damaged is an error with a code', async () => {
    const sound = squeezenet ? readFileSync(squeezenet) : Buffer.from('\x89HDF\r\n\x1a\n', 'latin1');
    const file = path.join(folder.path, 'bad.h5');
    for (const length of [8, 100, 5000, Math.floor(sound.length / 2)]) {
      writeFileSync(file, sound.subarray(0, length));
      await expect(openCheckpoint(file)).rejects.toMatchObject({ code: 'ERR_HDF5' });
    }
  });
});
