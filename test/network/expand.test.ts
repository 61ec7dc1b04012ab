/**
 * A 1x1 convolution and the depthwise one that alone reads it are computed together, a few rows at a time. Where the
 * caller wants what lies between, they are not: both ways give the same bits.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { fromGraph, GraphBuilder } from '../../src/index.js';
import type { GraphDescription, Network, Precision, Tensor } from '../../src/index.js';

const nets: Network[] = [];
afterEach(() => nets.splice(0).forEach((net) => net.dispose()));

const SIDE = 112;

function network(kernel: number, stride: number): GraphDescription {
  const g = new GraphBuilder();
  let x = g.input('image', 'f32', ['N', 20, SIDE, SIDE]);
  x = g.relu6('wide.relu', g.conv2d('wide', x, { in: 20, out: 200, kernel: 1 }));
  const padding = (kernel - 1) / 2;
  x = g.relu6('deep.relu', g.conv2d('deep', x, { in: 200, out: 200, kernel, stride, padding, groups: 200 }));
  return g.build([x]);
}

function pictures(count: number): Tensor {
  let state = 9;
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
  return { data: Float32Array.from({ length: count * 20 * SIDE * SIDE }, next), shape: [count, 20, SIDE, SIDE] };
}

const bytes = ({ data }: Tensor) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

describe.each<Precision>(['fp32', 'bf16'])('%s', (precision) => {
  it.each([
    { kernel: 3, stride: 1, threads: 1, count: 2 },
    { kernel: 3, stride: 2, threads: 2, count: 1 },
    { kernel: 5, stride: 2, threads: 3, count: 3 },
  ])('the same bits joined and apart: %o', async ({ kernel, stride, threads, count }) => {
    const net = await fromGraph(network(kernel, stride), { seed: 4, precision, threads });
    nets.push(net);
    const image = pictures(count);
    const { reply } = await net.execute('run', { image }, { profile: true });
    const suffix = precision === 'bf16' ? '_bf16' : '';
    const { launches } = reply as unknown as { launches: { kernel: string }[] };
    expect(launches.map(({ kernel }) => kernel)).toContain(`expand_depthwise${suffix}`);

    const joined = await net.forward({ image }, { outputs: ['deep.relu'] });
    const apart = await net.forward({ image }, { outputs: ['wide.relu', 'deep.relu'] });
    expect(bytes(joined['deep.relu']!).equals(bytes(apart['deep.relu']!))).toBe(true);
    expect((joined['deep.relu']!.data as Float32Array).some((value) => value > 0)).toBe(true);
  });
});
