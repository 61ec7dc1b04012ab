/**
 * Where two convolutions are added and one of them is 1x1, one node computes both. Where the caller wants one of the two,
 * they are apart.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { fromGraph, GraphBuilder } from '../../src/index.js';
import type { GraphDescription, Network, Precision, Tensor } from '../../src/index.js';
import { build } from '../../src/zoo/index.js';

const nets: Network[] = [];
afterEach(() => nets.splice(0).forEach((net) => net.dispose()));

interface Block {
  kernel: number;
  stride: number;
  side: number;
  groups?: number;
}

/** Two convolutions and, beside them, a 1x1. */
function block({ kernel, stride, side, groups }: Block): GraphDescription {
  const g = new GraphBuilder();
  const image = g.input('image', 'f32', ['N', 20, side, side]);
  const inside = g.relu('inside', g.conv2d('first', image, { in: 20, out: 36, kernel: 3, stride, padding: 1 }));
  const last = g.conv2d('last', inside, { in: 36, out: 44, kernel, padding: (kernel - 1) / 2, groups });
  const shortcut = g.conv2d('shortcut', image, { in: 20, out: 44, kernel: 1, stride });
  return g.build([g.relu('relu', g.add('sum', last, shortcut))]);
}

function noise(shape: number[]): Tensor {
  let state = 9;
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
  return { data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, next), shape };
}

async function made(graph: GraphDescription, precision: Precision, threads = 2): Promise<Network> {
  const net = await fromGraph(graph, { seed: 4, precision, threads });
  nets.push(net);
  return net;
}

async function joinedNodes(net: Network, shape: number[], kernel: string): Promise<string[]> {
  const { launches } = await net.compile('run', { image: shape });
  return launches.filter((launch) => launch.kernel === kernel).map(({ node }) => node);
}

const forward = async (net: Network, image: Tensor, outputs: string[]) =>
  (await net.forward({ image }, { outputs }))['relu']!.data as Float32Array;

describe.each<Precision>(['fp32', 'bf16'])('%s', (precision) => {
  const joined = precision === 'bf16' ? 'shortcut_bf16' : 'shortcut';

  it.each<Block>([
    { kernel: 1, stride: 1, side: 9 },
    { kernel: 1, stride: 2, side: 13 },
    { kernel: 1, stride: 2, side: 14 },
    // In fp32 so few pixels are no task for Winograd's tiles.
    { kernel: 3, stride: 2, side: 5 },
  ])('close to both apart, the same bits in any batch and on any threads: %o', async (shape) => {
    const image = noise([16, 20, shape.side, shape.side]);
    const first = (count: number): Tensor => ({
      data: (image.data as Float32Array).subarray(0, count * 20 * shape.side ** 2),
      shape: [count, 20, shape.side, shape.side],
    });
    const net = await made(block(shape), precision);
    expect(await joinedNodes(net, image.shape, joined)).toEqual(['shortcut']);

    const together = await forward(net, image, ['relu']);
    const apart = await forward(net, image, ['relu', 'last', 'shortcut']);
    const scale = Math.max(...apart);
    const error = Math.max(...together.map((value, i) => Math.abs(value - apart[i]!)));
    expect(scale).toBeGreaterThan(0.1);
    expect(error / scale).toBeLessThan(precision === 'bf16' ? 2 ** -7 : 1e-6);

    for (const [threads, count] of [
      [1, 16],
      [2, 3],
      [3, 1],
      [3, 16],
    ] as const) {
      const other = await forward(await made(block(shape), precision, threads), first(count), ['relu']);
      expect(other).toEqual(together.subarray(0, other.length));
    }
  });

  it('not with groups, and the plan says why', async () => {
    const net = await made(block({ kernel: 1, stride: 1, side: 8, groups: 2 }), precision);
    expect(await joinedNodes(net, [1, 20, 8, 8], joined)).toEqual([]);
    const { declined } = await net.compile('run', { image: [1, 20, 8, 8] });
    expect(declined).toContainEqual({
      node: 'shortcut',
      kernel: 'shortcut',
      why: 'expected one group, received groups',
    });
  });

  it('the first block of each stage of ResNet-50, for any batch', async () => {
    const net = await made(build('resnet50').graph, precision);
    // In bf16 the third stage's weights fit the first-level cache only apart.
    const stages = precision === 'bf16' ? [1, 2, 4] : [1, 2, 3, 4];
    const blocks = stages.map((stage) => `layer${stage}.0.downsample.0`);
    for (const count of [1, 16]) expect(await joinedNodes(net, [count, 3, 224, 224], joined)).toEqual(blocks);
  });
});
