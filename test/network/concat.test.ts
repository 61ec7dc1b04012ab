/**
 * Concatenations along channels whose operands their producers write in place. Where the caller wants the operands too,
 * they are values of their own and copied: both ways give the same bits.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { create, fromGraph, GraphBuilder } from '../../src/index.js';
import type { GraphDescription, Isa, Network, Plan, Precision, Tensor } from '../../src/index.js';
import { coreInfo } from '../../src/native.js';

const nets: Network[] = [];
afterEach(() => nets.splice(0).forEach((net) => net.dispose()));

/** Channels of the image; every width that is a multiple ends on a block, in fp32 and in bf16. */
const WIDTH = 32;

interface Case {
  /** Adds the nodes from the first layer's output, or the image, to `end.relu`. */
  build: (g: GraphBuilder, x: string, image: string) => void;
  /** Values that are operands of a concatenation. */
  parts: string[];
  /** Concatenations that copy nothing, and those that copy. */
  inPlace: string[];
  copied?: string[];
}

const conv = (g: GraphBuilder, name: string, x: string, from: number, to: number, kernel = 1) =>
  g.relu(`${name}.relu`, g.conv2d(name, x, { in: from, out: to, kernel, padding: (kernel - 1) / 2 }));
const max = (g: GraphBuilder, name: string, x: string) => g.maxPool(name, x, { kernel: 3, stride: 1, padding: 1 });
const average = (g: GraphBuilder, name: string, x: string) =>
  g.averagePool(name, x, { kernel: 3, stride: 1, padding: 1 });
const norm = (g: GraphBuilder, name: string, x: string, channels: number) =>
  g.relu(`${name}.relu`, g.batchNorm(name, x, channels));

/** `layers` layers that each read all features before them and add WIDTH; `join` concatenates. */
function dense(
  g: GraphBuilder,
  x: string,
  layers: number,
  join: (name: string, all: string[], last: string) => string,
) {
  const features = [max(g, 'first', x)];
  let all = features[0]!;
  for (let i = 1; i <= layers; ++i) {
    features.push(conv(g, `dense${i}`, norm(g, `norm${i}`, all, i * WIDTH), i * WIDTH, WIDTH, 3));
    all = join(`cat${i}`, features, all);
  }
  conv(g, 'end', norm(g, 'norm', all, (layers + 1) * WIDTH), (layers + 1) * WIDTH, 40);
}

const DENSE_PARTS = ['first', 'dense1.relu', 'dense2.relu', 'dense3.relu', 'cat1', 'cat2'];

const CASES: Record<string, Case> = {
  'convolutions, pools and a norm; the last part ends within a block': {
    build: (g, x) => {
      const parts = [conv(g, 'a', x, WIDTH, 64), conv(g, 'b', x, WIDTH, WIDTH, 3), max(g, 'c', x), average(g, 'd', x)];
      parts.push(norm(g, 'e', max(g, 'e.max', x), WIDTH), conv(g, 'f', x, WIDTH, 20, 3));
      conv(g, 'end', g.concat('cat', parts), 64 + 4 * WIDTH + 20, 40, 3);
    },
    parts: ['a.relu', 'b.relu', 'c', 'd', 'e.relu', 'f.relu'],
    inPlace: ['cat'],
  },
  'a part off the borders of blocks': {
    build: (g, x) => {
      const cat = g.concat('cat', [conv(g, 'a', x, WIDTH, 20), conv(g, 'b', x, WIDTH, WIDTH, 3)]);
      conv(g, 'end', cat, 20 + WIDTH, 40);
    },
    parts: ['a.relu', 'b.relu'],
    inPlace: [],
    copied: ['cat'],
  },
  'one value twice': {
    build: (g, x) => {
      const [a, b] = [conv(g, 'a', x, WIDTH, WIDTH, 3), conv(g, 'b', x, WIDTH, WIDTH)];
      conv(g, 'end', g.concat('cat', [a, b, a]), 3 * WIDTH, 40);
    },
    parts: ['a.relu', 'b.relu'],
    inPlace: [],
    copied: ['cat'],
  },
  'an input, and a part that another operator reads': {
    build: (g, x, image) => {
      const [a, b] = [conv(g, 'a', x, WIDTH, WIDTH, 3), conv(g, 'b', x, WIDTH, WIDTH)];
      const cat = g.concat('cat', [image, a, b]);
      conv(g, 'end', g.add('sum', g.sigmoid('c', a), conv(g, 'd', cat, 3 * WIDTH, WIDTH)), WIDTH, 40);
    },
    parts: ['a.relu', 'b.relu'],
    inPlace: [],
    copied: ['cat'],
  },
  'concatenations of concatenations': {
    build: (g, x) => {
      const wide = g.concat('wide', [conv(g, 'a', x, WIDTH, WIDTH), conv(g, 'b', x, WIDTH, 64, 3)]);
      const last = g.concat('last', [max(g, 'c', x), conv(g, 'd', x, WIDTH, 7)]);
      conv(g, 'end', g.concat('cat', [conv(g, 'e', x, WIDTH, WIDTH, 3), wide, last]), 5 * WIDTH + 7, 40);
    },
    parts: ['a.relu', 'b.relu', 'wide', 'c', 'd.relu', 'last', 'e.relu'],
    inPlace: ['wide', 'last', 'cat'],
  },
  'the same values in two orders': {
    build: (g, x) => {
      const [a, b] = [conv(g, 'a', x, WIDTH, WIDTH, 3), conv(g, 'b', x, WIDTH, WIDTH)];
      const one = conv(g, 'one', g.concat('ab', [a, b]), 2 * WIDTH, WIDTH);
      const other = conv(g, 'other', g.concat('ba', [b, a, g.concat('bb', [b, b])]), 4 * WIDTH, WIDTH);
      conv(g, 'end', g.add('sum', one, other), WIDTH, 40);
    },
    parts: ['a.relu', 'b.relu', 'bb'],
    inPlace: ['ba'],
    copied: ['ab', 'bb'],
  },
  'a chain that joins what is there and what is new': {
    build: (g, x) => dense(g, x, 3, (name, all, before) => g.concat(name, [before, all.at(-1)!])),
    parts: DENSE_PARTS,
    inPlace: ['cat1', 'cat2', 'cat3'],
  },
  'a chain that joins all features': {
    build: (g, x) => dense(g, x, 3, (name, all) => g.concat(name, all)),
    parts: DENSE_PARTS,
    inPlace: ['cat1', 'cat2', 'cat3'],
  },
};

function network({ build }: Case): GraphDescription {
  const g = new GraphBuilder();
  const image = g.input('image', 'f32', ['N', WIDTH, 'H', 'W']);
  build(g, conv(g, 'stem', image, WIDTH, WIDTH, 3), image);
  return g.build(['end.relu']);
}

function pictures(count: number, height: number, width: number): Tensor {
  let state = 11;
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
  const shape = [count, WIDTH, height, width];
  return { data: Float32Array.from({ length: count * WIDTH * height * width }, next), shape };
}

const concats = (plan: Plan, kernel: string) =>
  plan.launches.filter((launch) => launch.op === 'concat' && launch.kernel === kernel).map(({ node }) => node);
const bytes = ({ data }: Tensor) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

async function compareWays(which: Case, precision: Precision, threads: number, image: Tensor): Promise<void> {
  const net = await fromGraph(network(which), { seed: 4, precision, threads });
  nets.push(net);
  const all = [...which.inPlace, ...(which.copied ?? [])].sort();
  const plan = await net.compile('run', { image: image.shape });
  expect(concats(plan, 'in place').sort()).toEqual([...which.inPlace].sort());
  expect(concats(plan, '').sort()).toEqual([...(which.copied ?? [])].sort());
  const declined = plan.declined.filter(({ kernel }) => kernel === 'in place').map(({ node }) => node);
  expect(declined.sort()).toEqual([...(which.copied ?? [])].sort());
  const wanted = [...which.parts, 'end.relu'];
  const other = await net.compile('run', { image: image.shape }, { outputs: wanted });
  expect(concats(other, '').sort()).toEqual(all);

  const joined = (await net.forward({ image }))['end.relu']!;
  const apart = (await net.forward({ image }, { outputs: wanted }))['end.relu']!;
  expect(bytes(joined).equals(bytes(apart))).toBe(true);
  expect(new Set(joined.data as Float32Array).size).toBeGreaterThan(100);
}

/** The last of `outputs`, computed with the instructions of that set. */
async function computed(net: Network, precision: Precision, isa: Isa, outputs: string[]): Promise<Buffer> {
  const image = pictures(3, 11, 6);
  const request = {
    graph: net.graph,
    mode: 'run',
    inputs: { image: image.shape },
    trainable: [],
    precision,
    isa,
    outputs,
  };
  const { reply: plan } = await net.session.submit('compile', request as never);
  expect(plan.isa).toBe(isa);
  const { buffers } = await net.session.submit('run', { plan: plan.plan, inputs: ['image'] }, [image.data]);
  return Buffer.from(buffers.at(-1)!);
}

const sets: Isa[] = ['scalar', 'avx2', 'avx512', 'amx'];
const usable = sets.slice(0, sets.indexOf(coreInfo().isa) + 1);

describe.each<Precision>(['fp32', 'bf16'])('%s', (precision) => {
  describe.each(Object.keys(CASES))('%s', (name) => {
    it.each([
      { threads: 1, count: 1, height: 9, width: 7 },
      { threads: 2, count: 3, height: 13, width: 17 },
      { threads: 3, count: 16, height: 7, width: 5 },
      { threads: 2, count: 16, height: 19, width: 21 },
    ])('the same bits written in place and copied: %o', async ({ threads, count, height, width }) => {
      await compareWays(CASES[name]!, precision, threads, pictures(count, height, width));
    });

    it(`on ${usable.join(', ')}`, async () => {
      const net = await fromGraph(network(CASES[name]!), { seed: 4, threads: 2 });
      nets.push(net);
      for (const isa of usable) {
        const joined = await computed(net, precision, isa, ['end.relu']);
        const apart = await computed(net, precision, isa, [...CASES[name]!.parts, 'end.relu']);
        expect(joined.equals(apart), isa).toBe(true);
      }
    });
  });

  it('none of the eight concatenations of SqueezeNet and the 58 of DenseNet copies', async () => {
    for (const [name, count] of [
      ['squeezenet1_1', 8],
      ['densenet121', 58],
    ] as const) {
      const net = await create(name, { precision });
      nets.push(net);
      const plan = await net.compile('run', { [net.graph.inputs[0]!.name]: [2, 3, 64, 64] });
      expect(concats(plan, 'in place')).toHaveLength(count);
      expect(concats(plan, '')).toEqual([]);
    }
  });
});
