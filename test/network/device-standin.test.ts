/** Networks on GPUs that the processor stands in for (test/cuda/standin): the same answers as on the processor, within rounding. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromArrays, fromGraph, GraphBuilder, load } from '../../src/index.js';
import type { Network, Tensor } from '../../src/index.js';
import { coreInfo, cudaPath } from '../../src/native.js';
import { featureKey } from '../../src/train/cache-key.js';
import { json } from '../cli/thaw.js';
import { buildStandin } from '../standin.js';

const folder = mkdtempSync(path.join(tmpdir(), 'thaw-standin-'));
const MEMORY = 8 * 2 ** 20;
beforeAll(() => {
  // The stand-in reads its own variables when it is loaded, which happens when a network first moves.
  const env = { THAW_CUDA_BINARY: buildStandin(), THAW_STANDIN_DEVICES: '2', THAW_STANDIN_MEMORY: String(MEMORY) };
  Object.assign(process.env, env);
}, 1_800_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const WIDTH = 40;
const ROWS = 37;

/** Two layers below, two above: rows of odd numbers, so that tiles have edges. */
function perceptron(options: Parameters<typeof fromGraph>[1] = {}): Promise<Network> {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['N', 11]);
  const body = g.relu('relu', g.linear('below', x, { in: 11, out: WIDTH }));
  const top = g.tanh('tanh', g.linear('above', body, { in: WIDTH, out: 19 }));
  const graph = g.build([g.linear('last', top, { in: 19, out: 3 })]);
  return fromGraph(graph, { labels: ['a', 'b', 'c'], precision: 'fp32', seed: 7, ...options });
}

const wave = (rows: number, columns: number): Tensor => ({
  data: Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * 0.37) + Math.cos(i * i * 0.011)),
  shape: [rows, columns],
});
const target = (rows: number): Tensor => ({ data: Int32Array.from({ length: rows }, (_, i) => i % 3), shape: [rows] });
const x = wave(ROWS, 11);

const scores = async (net: Network, input = x): Promise<Float32Array> =>
  (await net.forward({ x: input }))['last']!.data as Float32Array;

/** The largest difference, beside the largest number. */
function apart(one: ArrayLike<number>, other: ArrayLike<number>): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < one.length; i++) {
    difference = Math.max(difference, Math.abs(one[i]! - other[i]!));
    size = Math.max(size, Math.abs(one[i]!));
  }
  return difference / size;
}
// Sums of at most 40 products in another order: a few units in the last of 24 bits, and after training some times more.
const ROUNDING = 40 * 2 ** -24;

async function weights(net: Network): Promise<Record<string, Float32Array>> {
  const all: Record<string, Float32Array> = {};
  for (const { name } of net.parameters()) all[name] = (await net.tensor(name)).data as Float32Array;
  return all;
}

async function steps(net: Network, count: number): Promise<number[]> {
  const update = { optimizer: 'adam', learningRate: 0.01 } as const;
  const losses: number[] = [];
  for (let epoch = 0; epoch < count; epoch++)
    losses.push((await net.step({ x, target: target(ROWS) }, { update, epoch })).loss);
  return losses;
}

describe.runIf(process.platform === 'linux')('a network on a GPU', { timeout: 300_000 }, () => {
  it('is found, by its number', async () => {
    const { gpus, why } = await json(['devices']);
    expect(why).toBe(null);
    expect(gpus).toMatchObject([
      { device: 'cuda:0', usable: true, memory: MEMORY },
      { device: 'cuda:1', usable: true, memory: MEMORY },
    ]);
    using net = await perceptron({ device: 'auto' });
    expect(net.deviceReport).toMatchObject({ asked: 'auto', device: 'cuda:0', gpu: gpus[0] });
    await expect(net.to('cuda:2')).rejects.toMatchObject({ code: 'ERR_DEVICE' });
    expect(net.device).toBe('cuda:0');
  });

  it('predicts as on the processor, and with the same bits on each', async () => {
    using net = await perceptron();
    const here = await scores(net);
    await net.to('cuda');
    expect((await net.compile('run', { x: x.shape })).isa).toBe('cuda');
    const there = await scores(net);
    expect(apart(here, there)).toBeLessThan(ROUNDING);
    await net.to('cuda:1');
    expect(await scores(net)).toEqual(there);
    const first = { data: x.data.slice(0, 11) as Float32Array, shape: [1, 11] };
    expect(await scores(net, first)).toEqual(there.slice(0, 3));
    await net.to('cpu');
    expect(await scores(net)).toEqual(here);
  });

  it('computes in bf16 unless it is told otherwise', async () => {
    using net = await perceptron({ precision: 'auto', device: 'cuda' });
    expect((await net.compile('run', { x: x.shape })).precision).toBe('bf16');
    using exact = await perceptron();
    expect(apart(await scores(exact), await scores(net))).toBeLessThan(2 ** -6);
  });

  it('trains as on the processor; what it learned comes along', async () => {
    using here = await perceptron();
    using there = await perceptron({ device: 'cuda' });
    const [a, b] = [await steps(here, 8), await steps(there, 8)];
    expect(a.at(-1)).toBeLessThan(a[0]!);
    expect(apart(a, b)).toBeLessThan(10 * ROUNDING);
    const learned = await scores(there);
    await there.to('cpu');
    expect(apart(learned, await scores(there))).toBeLessThan(ROUNDING);
    // The state of the optimizer too: both go on alike.
    expect(apart(await steps(here, 3), await steps(there, 3))).toBeLessThan(10 * ROUNDING);
    await there.to('cuda:1');
    expect(apart(await steps(here, 3), await steps(there, 3))).toBeLessThan(10 * ROUNDING);
  });

  it('fits, keeps what is frozen, and saves a file that knows no device', async () => {
    const data = fromArrays({ x }, target(ROWS), { labels: ['a', 'b', 'c'] });
    const options = { epochs: 3, batch: 8, learningRate: 0.01, optimizer: 'sgd', momentum: 0.9 } as const;
    const run = async (device: 'cpu' | 'cuda') => {
      const net = await perceptron({ device });
      net.freeze('below');
      const before = await weights(net);
      const fit = net.fit(data, options);
      await expect(net.to('cpu')).rejects.toMatchObject({ code: 'ERR_NETWORK_BUSY' });
      await fit;
      const file = path.join(folder, `${device}.safetensors`);
      await net.save(file);
      const after = await weights(net);
      for (const name of net.frozen) expect(after[name]).toEqual(before[name]);
      const { loss } = await net.evaluate(data);
      net.dispose();
      return { file, after, loss };
    };
    const [here, there] = [await run('cpu'), await run('cuda')];
    expect(there.loss).toBeCloseTo(here.loss, 4);
    for (const [name, values] of Object.entries(here.after))
      expect([name, apart(values, there.after[name]!) < 1e-4]).toEqual([name, true]);
    const header = readFileSync(there.file).toString('latin1', 8, 4000);
    expect(header).not.toMatch(/cuda/);
    using loaded = await load(there.file, { precision: 'fp32' });
    expect((await loaded.tensor('last.weight')).data).toEqual(there.after['last.weight']);
  });

  it('says how many bytes a GPU lacks, and goes on', async () => {
    using net = await perceptron({ device: 'cuda' });
    const before = await scores(net);
    const large = wave(Math.ceil(MEMORY / 4 / WIDTH), 11);
    const wanted = /^expected \d{7,} bytes for a block of the GPU's memory, received \d+ free bytes$/;
    const lacking = { code: 'ERR_DEVICE_MEMORY', message: expect.stringMatching(wanted) };
    for (let i = 0; i < 3; i++) await expect(net.forward({ x: large })).rejects.toMatchObject(lacking);
    expect(await scores(net)).toEqual(before);
    expect((await steps(net, 1))[0]).toBeGreaterThan(0);
    using other = await perceptron({ device: 'cuda:1' });
    expect(await scores(other)).toEqual(before);
    await net.to('cpu');
    await expect(net.forward({ x: large })).resolves.toBeDefined();
  });

  it('gives its memory back', async () => {
    const rows = Math.floor(MEMORY / 8 / WIDTH / 4);
    for (let i = 0; i < 12; i++) {
      using net = await perceptron({ device: 'cuda' });
      await net.forward({ x: wave(rows, 11) });
      if (i % 2 === 0) await net.to('cpu');
    }
  });

  it('has features of its own on disk', async () => {
    using net = await perceptron();
    net.freeze('below');
    const graph = net.trainingGraph();
    const inputShapes = { x: x.shape };
    const key = async () => featureKey(net, { graph, inputShapes } as never, await net.compile('embed', inputShapes));
    const here = await key();
    expect(await key()).toBe(here);
    await net.to('cuda');
    expect(await key()).not.toBe(here);
    expect([cudaPath(), coreInfo().isas]).toEqual([
      process.env['THAW_CUDA_BINARY'],
      expect.not.arrayContaining(['cuda']),
    ]);
  });
});
