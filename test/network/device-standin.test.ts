/** Networks on GPUs that the processor stands in for (test/cuda/standin): the same answers as on the processor, within rounding. */
import { beforeAll, describe, expect, it } from 'vitest';
import { fromGraph, GraphBuilder } from '../../src/index.js';
import type { Network, Tensor } from '../../src/index.js';
import { coreInfo, cudaPath } from '../../src/native.js';
import { featureKey } from '../../src/train/cache-key.js';
import { json } from '../cli/thaw.js';
import { buildStandin } from '../standin.js';

const MEMORY = 32 * 2 ** 20;
beforeAll(() => {
  // The stand-in reads its own variables when it is loaded, which happens when a network first moves.
  const env = { THAW_CUDA_BINARY: buildStandin(), THAW_STANDIN_DEVICES: '2', THAW_STANDIN_MEMORY: String(MEMORY) };
  Object.assign(process.env, env);
}, 1_800_000);

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
// Sums of at most 40 products in another order: a few units in the last of 24 bits.
const ROUNDING = 40 * 2 ** -24;

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
