/** Real weights in bf16 beside the same in float32: features, answers, accuracies. */
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromPictures, load } from '../../src/index.js';
import type { Network, Precision, Tensor } from '../../src/index.js';
import { sharedPath } from '../shared.js';

const squeezenet = sharedPath('weights', 'squeezenet1_1', 'squeezenet1_1.safetensors');
const photos = sharedPath('data', 'imagenet-sample');
const cifar = sharedPath('data', 'cifar10', 'test2000-from-jpeg.bin');
const resnets = sharedPath('weights', 'resnet-cifar10');
const cucumbers = sharedPath('data', 'cucumber-zucchini');

interface Photo {
  file: string;
  target: number;
}

/** 200 photos of every fifth class, and 20 of the validation set. */
function listPhotos(): Photo[] {
  const lines = readFileSync(path.join(photos!, 'labels.tsv'), 'utf8').trim().split('\n').slice(1);
  const classes = new Map(lines.map((line) => [line.split('\t')[3]!, Number(line.split('\t')[0])]));
  const sample = readdirSync(path.join(photos!, 'short256')).map((name) => ({
    file: path.join(photos!, 'short256', name),
    target: classes.get(name)!,
  }));
  const validation = readdirSync(path.join(photos!, 'foolbox20')).map((name) => ({
    file: path.join(photos!, 'foolbox20', name),
    target: Number(/_(\d+)\.jpg$/.exec(name)![1]),
  }));
  return [...sample, ...validation];
}

function relativeError(got: Tensor, wanted: Tensor): number {
  const [a, b] = [got.data as Float32Array, wanted.data as Float32Array];
  expect(a.length).toBe(b.length);
  let [difference, norm] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

const percent = (share: number) => `${(100 * share).toFixed(2)} %`;

describe.skipIf(!squeezenet || !photos)('SqueezeNet 1.1 on photos of ImageNet', () => {
  const nets = {} as Record<'fp32' | 'bf16', Network>;
  beforeAll(async () => {
    for (const precision of ['fp32', 'bf16'] as const) nets[precision] = await load(squeezenet!, { precision });
  });
  afterAll(() => Object.values(nets).forEach((net) => net.dispose()));

  it('has features that differ by less than 1 %', async () => {
    const files = listPhotos().map(({ file }) => file);
    const error = relativeError(await nets.bf16.features(files), await nets.fp32.features(files));
    console.log(`features of SqueezeNet 1.1 in bf16: relative L2 error ${percent(error)}`);
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(0.01);
  });

  it('gives the same first answer wherever float32 is right by a margin over 2 %', async () => {
    const all = listPhotos();
    expect(all.length).toBe(220);
    const files = all.map(({ file }) => file);
    const top = { top: 2 };
    const [wanted, got] = [await nets.fp32.predict(files, top), await nets.bf16.predict(files, top)];
    let [sure, same] = [0, 0];
    all.forEach(({ target }, i) => {
      const [first, second] = wanted[i]!;
      if (first!.index !== target || first!.probability - second!.probability <= 0.02) return;
      sure++;
      if (got[i]![0]!.index === target) same++;
    });
    console.log(`SqueezeNet 1.1 in bf16: ${same} of ${sure} first answers as in float32`);
    expect(sure).toBeGreaterThan(100);
    expect(same / sure).toBeGreaterThanOrEqual(0.99);
  });
});

/** Pictures of the CIFAR-10 binary layout, normalised, and their labels. */
function cifarBatch(bytes: Buffer, first: number, count: number): { image: Tensor; labels: number[] } {
  const [mean, std] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ];
  const data = new Float32Array(count * 3072);
  const labels: number[] = [];
  for (let n = 0; n < count; n++) {
    const at = (first + n) * 3073;
    labels.push(bytes[at]!);
    for (let i = 0; i < 3072; i++) data[n * 3072 + i] = (bytes[at + 1 + i]! / 255 - mean[i >> 10]!) / std[i >> 10]!;
  }
  return { image: { data, shape: [count, 3, 32, 32] }, labels };
}

describe.skipIf(!cifar || !resnets)('CIFAR-10 ResNets', () => {
  const bytes = cifar ? readFileSync(cifar) : Buffer.alloc(0);

  async function answers(file: string, precision: Precision): Promise<{ right: number; answers: number[] }> {
    const net = await load(file, { precision });
    const all: number[] = [];
    let right = 0;
    for (let first = 0; first < 2000; first += 250) {
      const { image, labels } = cifarBatch(bytes, first, 250);
      const scores = Object.values(await net.forward(image))[0]!.data as Float32Array;
      labels.forEach((label, i) => {
        const row = scores.subarray(i * 10, i * 10 + 10);
        all.push(row.indexOf(Math.max(...row)));
        if (all.at(-1) === label) right++;
      });
    }
    net.dispose();
    return { right, answers: all };
  }

  it.each(['resnet20-12fca82f', 'resnet56-4bfd9763'])('%s is as often right', async (name) => {
    const file = path.join(resnets!, `${name}.th`);
    const [wanted, got] = [await answers(file, 'fp32'), await answers(file, 'bf16')];
    const same = got.answers.filter((answer, i) => answer === wanted.answers[i]).length;
    console.log(`${name}: right ${wanted.right} in float32, ${got.right} in bf16, ${same} of 2000 answers alike`);
    // Two standard deviations of the answers that differ, half of which might go either way.
    expect(Math.abs(got.right - wanted.right)).toBeLessThanOrEqual(2 * Math.sqrt(2000 - same) + 1);
    expect(same / 2000).toBeGreaterThanOrEqual(0.98);
  });
});

describe.skipIf(!squeezenet || !cucumbers)('cucumbers and zucchini from 86 pictures', { timeout: 600_000 }, () => {
  function part(name: string) {
    const lines = readFileSync(path.join(cucumbers!, 'split86.tsv'), 'utf8').trim().split('\n').slice(1);
    const rows = lines.map((line) => line.split('\t')).filter((row) => (row[2] === 'train') === (name === 'train'));
    const labels = ['cucumber', 'zucchini'];
    return fromPictures(
      rows.map(([file, label]) => ({ picture: path.join(cucumbers!, file!), target: label! })),
      { labels },
    );
  }

  it('head only: at least 84 % on average of five seeds, as in float32', async () => {
    const results: number[] = [];
    for (const seed of [0, 1, 2, 3, 4]) {
      const net = await load(squeezenet!, { seed, precision: 'bf16' });
      net.freeze();
      net.replaceHead({ labels: ['cucumber', 'zucchini'] });
      await net.fit(part('train'), { seed });
      results.push(((await net.evaluate(part('test'))) as { accuracy: number }).accuracy);
      net.dispose();
    }
    const mean = results.reduce((a, b) => a + b, 0) / results.length;
    console.log(`head only in bf16: ${results.map((r) => (100 * r).toFixed(1)).join(' ')}, mean ${percent(mean)}`);
    expect(mean).toBeGreaterThanOrEqual(0.84);
  });
});
