/**
 * Layers whose maps are larger than the second-level cache run for a band of rows at a time. Where the caller wants what
 * lies between them, they do not: both ways give the same bits.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { fromGraph, GraphBuilder } from '../../src/index.js';
import type { GraphDescription, Network, Precision, Tensor } from '../../src/index.js';

const nets: Network[] = [];
afterEach(() => nets.splice(0).forEach((net) => net.dispose()));

interface Case {
  graph: GraphDescription;
  shape: [number, number, number];
  /** All that could lie between two layers. */
  between: string[];
  result: string;
}

function made(
  [channels, height, width]: [number, number, number],
  layers: (g: GraphBuilder, image: string) => string[],
): Case {
  const g = new GraphBuilder();
  const names = layers(g, g.input('image', 'f32', ['N', channels, height, width]));
  const result = names.pop()!;
  return {
    graph: g.build([result]),
    shape: [channels, height, width],
    between: names,
    result,
  };
}

const CASES: Record<string, () => Case> = {
  'a stem: stride, a pool in ceil mode, odd heights': () =>
    made([3, 1031, 509], (g, image) => {
      const a = g.relu('a', g.conv2d('stem', image, { in: 3, out: 32, kernel: 3, stride: 2, padding: 1 }));
      const b = g.maxPool('b', a, { kernel: 3, stride: 2, ceilMode: true });
      return [a, b, g.relu('c', g.conv2d('narrowing', b, { in: 32, out: 16, kernel: 1 }))];
    }),
  'two of 3x3 and a pool, as in VGG': () =>
    made([3, 226, 222], (g, image) => {
      const a = g.relu('a', g.conv2d('first', image, { in: 3, out: 64, kernel: 3, padding: 1 }));
      const b = g.relu('b', g.conv2d('second', a, { in: 64, out: 64, kernel: 3, padding: 1 }));
      return [a, b, g.maxPool('c', b, { kernel: 2 })];
    }),
  'averages over padding, three of 3x3 in a row, overlapping windows': () =>
    made([16, 611, 300], (g, image) => {
      const a = g.averagePool('a', image, { kernel: 3, stride: 1, padding: 1 });
      const b = g.relu('b', g.conv2d('b.conv', a, { in: 16, out: 16, kernel: 3, padding: 1 }));
      const c = g.relu('c', g.conv2d('c.conv', b, { in: 16, out: 16, kernel: 3, padding: 1 }));
      const d = g.averagePool('d', c, { kernel: 3, stride: 2, padding: 1, ceilMode: true, countIncludePad: false });
      return [a, b, c, d, g.relu('e', g.conv2d('e.conv', d, { in: 16, out: 8, kernel: 1, stride: 2 }))];
    }),
  'depthwise, dilated, across channels and joined': () =>
    made([16, 515, 402], (g, image) => {
      const a = g.relu6('a', g.conv2d('a.conv', image, { in: 16, out: 16, kernel: 5, padding: 2, groups: 16 }));
      const b = g.relu('b', g.conv2d('b.conv', a, { in: 16, out: 16, kernel: 3, padding: 2, dilation: 2, groups: 4 }));
      const c = g.localResponseNorm('c', b, { size: 5 });
      const d = g.concat('d', [c, g.sigmoid('c.gate', c)]);
      const e = g.maxPool('e', d, { kernel: [5, 3], stride: [3, 2], padding: [2, 1] });
      return [a, b, c, 'c.gate', d, e, g.hardSwish('f', g.conv2d('f.conv', e, { in: 32, out: 8, kernel: 1 }))];
    }),
  'a wide depthwise layer behind a 1x1, a shortcut around 1x1s': () =>
    made([16, 450, 400], (g, image) => {
      const a = g.relu('a', g.conv2d('a.conv', image, { in: 16, out: 16, kernel: 3, padding: 1 }));
      const b = g.relu('b', g.conv2d('b.conv', a, { in: 16, out: 16, kernel: 1 }));
      const c = g.relu('c', g.add('c.sum', a, g.conv2d('c.conv', b, { in: 16, out: 16, kernel: 1 })));
      const wide = g.relu6('wide.relu', g.conv2d('wide', c, { in: 16, out: 48, kernel: 1 }));
      const deep = { in: 48, out: 48, kernel: 3, stride: 2, padding: 1, groups: 48 };
      const d = g.relu6('d', g.conv2d('d.conv', wide, deep));
      return [a, b, c, d, g.conv2d('e', d, { in: 48, out: 8, kernel: 1 })];
    }),
};

function pictures(count: number, shape: number[]): Tensor {
  let state = 9;
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
  const size = shape.reduce((a, b) => a * b, count);
  return { data: Float32Array.from({ length: size }, next), shape: [count, ...shape] };
}

const bytes = ({ data }: Tensor) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

describe.each<Precision>(['fp32', 'bf16'])('%s', (precision) => {
  describe.each(Object.keys(CASES))('%s', (name) => {
    const { graph, shape, between, result } = CASES[name]!();

    it.each([
      { threads: 1, count: 1 },
      { threads: 2, count: 3 },
      { threads: 3, count: 1 },
    ])('the same bits: %o', async ({ threads, count }) => {
      const net = await fromGraph(graph, { seed: 4, precision, threads });
      nets.push(net);
      const image = pictures(count, shape);
      const banded = await net.forward({ image }, { outputs: [result] });
      const whole = await net.forward({ image }, { outputs: [...between, result] });
      expect(bytes(banded[result]!).equals(bytes(whole[result]!))).toBe(true);
      const values = new Set(banded[result]!.data as Float32Array);
      expect(values.size).toBeGreaterThan(100);
    });
  });
});

it('has no whole map of a stem in memory', async () => {
  const { graph, shape } = CASES['a stem: stride, a pool in ceil mode, odd heights']!();
  const net = await fromGraph(graph, { seed: 4, precision: 'fp32', threads: 1 });
  nets.push(net);
  const inputs = { image: [1, ...shape] };
  const { reply } = await net.session.submit('compile', {
    graph,
    mode: 'run',
    inputs,
    trainable: [],
    precision: 'fp32',
  });
  const input = 4 * shape[0] * shape[1] * shape[2];
  expect(reply.bytes.arena - input).toBeLessThan(4 * 32 * 516 * 255);
});
