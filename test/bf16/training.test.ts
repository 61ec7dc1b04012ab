/** Training in bf16 with weights, statistics, losses and updates in float32. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { fromGraph, fromPictures, GraphBuilder } from '../../src/index.js';
import type { Network, Precision } from '../../src/index.js';

const folder = mkdtempSync(path.join(tmpdir(), 'thaw-bf16-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const CLASSES = 4;
const SIDE = 16;

/** A residual network of a few layers. */
function network(precision: Precision): Promise<Network> {
  const g = new GraphBuilder();
  const conv = (name: string, x: string, ins: number, out: number, stride = 1) =>
    g.batchNorm(
      `${name}.bn`,
      g.conv2d(`${name}.conv`, x, { in: ins, out, kernel: 3, padding: 1, stride, bias: false }),
      out,
    );
  let x = g.relu('stem.relu', conv('stem', g.input('image', 'f32', ['N', 3, 'H', 'W']), 3, 16));
  x = g.relu('a.relu', conv('a', x, 16, 32, 2));
  x = g.relu('b.out', g.add('b.sum', conv('b', x, 32, 32), x));
  x = g.flatten('flat', g.globalAveragePool('pool', x));
  const graph = g.build([g.linear('fc', x, { in: 32, out: CLASSES })]);
  const preprocessing = {
    resize: SIDE,
    crop: SIDE,
    interpolation: 'bilinear' as const,
    mean: [0.5, 0.5, 0.5],
    std: [0.3, 0.3, 0.3],
    channels: 3 as const,
  };
  return fromGraph(graph, { labels: ['a', 'b', 'c', 'd'], seed: 5, precision, preprocessing });
}

/** Noisy pictures: in each class another quarter is brighter, by less than the noise. */
function drawn(count: number, seed: number) {
  let state = seed;
  const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
  return Array.from({ length: count }, (_, i) => {
    const data = new Uint8Array(SIDE * SIDE * 3);
    for (let p = 0; p < SIDE * SIDE; p++) {
      const quarter = Number(p % SIDE >= SIDE / 2) + 2 * Number(p >= (SIDE * SIDE) / 2);
      for (let c = 0; c < 3; c++) data[3 * p + c] = draw() / 2 + (quarter === i % CLASSES ? 40 : 0);
    }
    return { picture: { data, width: SIDE, height: SIDE, channels: 3 as const }, target: 'abcd'[i % CLASSES]! };
  });
}

const train = () => fromPictures(drawn(320, 1), { labels: ['a', 'b', 'c', 'd'] });

it('reaches the loss of float32 within 2 % over 200 steps', { timeout: 240_000 }, async () => {
  const losses: Record<string, number[]> = {};
  for (const precision of ['fp32', 'bf16'] as const) {
    const net = await network(precision);
    const options = { optimizer: 'sgd', learningRate: 0.01, momentum: 0.9, schedule: 'constant' } as const;
    const { epochs } = await net.fit(train(), { ...options, epochs: 10, batch: 16, seed: 1, augment: false });
    losses[precision] = epochs.map((epoch) => epoch.train.loss);
    net.dispose();
  }
  const [wanted, got] = [losses['fp32']!, losses['bf16']!];
  console.log(`loss by epoch in float32 ${wanted.map((l) => l.toFixed(4)).join(' ')}`);
  console.log(`loss by epoch in bf16    ${got.map((l) => l.toFixed(4)).join(' ')}`);
  expect(got).not.toEqual(wanted);
  expect(got.at(-1)).toBeLessThan(0.5 * got[0]!);
  expect(Math.abs(got.at(-1)! - wanted.at(-1)!)).toBeLessThan(0.02 * wanted.at(-1)!);
});

it('goes on from a checkpoint to the bits of a training that was not interrupted', async () => {
  const options = { epochs: 4, batch: 16, seed: 1 } as const;
  const weights = async (net: Network) => [...((await net.tensor('b.conv.weight')).data as Float32Array)];
  const whole = await network('bf16');
  await whole.fit(train(), options);
  const wanted = await weights(whole);
  whole.dispose();

  const checkpoint = { path: path.join(folder, 'half.safetensors'), every: 'epoch' } as const;
  const first = await network('bf16');
  const stop = new AbortController();
  const run = first.fit(train(), { ...options, checkpoint, signal: stop.signal });
  for await (const event of run) if (event.type === 'epoch' && event.epoch === 2) stop.abort();
  await expect(run).resolves.toMatchObject({ reason: 'aborted' });
  first.dispose();
  const second = await network('bf16');
  const { epochs } = await second.fit(train(), { ...options, checkpoint, resume: true });
  expect(epochs.length).toBe(4);
  expect(await weights(second)).toEqual(wanted);
  second.dispose();
});
