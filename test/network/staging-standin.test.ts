/**
 * Batches that travel to a GPU while it computes the one before, on the stand-in (test/cuda/standin), whose streams work as
 * late as CUDA allows: a batch that nobody waited for has not come.
 */
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { fromArrays, fromGraph, GraphBuilder } from '../../src/index.js';
import type { Network, Tensor } from '../../src/index.js';
import type { RunReply, RunRequest } from '../../src/native.js';
import { buildStandin } from '../standin.js';

const MEMORY = 2 ** 20;
beforeAll(() => {
  Object.assign(process.env, { THAW_CUDA_BINARY: buildStandin(), THAW_STANDIN_MEMORY: String(MEMORY) });
}, 1_800_000);

const [COLUMNS, CLASSES] = [11, 3];

function perceptron(device: 'cpu' | 'cuda', dropout = false): Promise<Network> {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['N', COLUMNS]);
  const body = g.relu('relu', g.linear('below', x, { in: COLUMNS, out: 40 }));
  const kept = dropout ? g.dropout('dropout', body, { p: 0.5 }) : body;
  const graph = g.build([g.linear('last', kept, { in: 40, out: CLASSES })]);
  return fromGraph(graph, { labels: ['a', 'b', 'c'], precision: 'fp32', seed: 7, device });
}

const wave = (rows: number, shift = 0): Tensor => ({
  data: Float32Array.from({ length: rows * COLUMNS }, (_, i) => Math.sin((i + shift) * 0.37)),
  shape: [rows, COLUMNS],
});
const classes = (rows: number): Tensor => ({
  data: Int32Array.from({ length: rows }, (_, i) => i % CLASSES),
  shape: [rows],
});
const data = (rows: number) => fromArrays({ x: wave(rows) }, classes(rows), { labels: ['a', 'b', 'c'] });

interface Seen {
  request: RunRequest;
  reply: RunReply;
}

/** Runs of a network: what was asked and answered. */
function watch(net: Network): Seen[] {
  const seen: Seen[] = [];
  const submit = net.session.submit.bind(net.session) as (...args: unknown[]) => Promise<{ reply: RunReply }>;
  vi.spyOn(net.session, 'submit').mockImplementation((async (...args: unknown[]) => {
    const answer = await submit(...args);
    if (args[0] === 'run') seen.push({ request: args[1] as RunRequest, reply: answer.reply });
    return answer;
  }) as never);
  return seen;
}
afterEach(() => void vi.restoreAllMocks());

/** The same without a batch ever being announced: every step copies its own. */
function alone(net: Network): void {
  const execute = net.execute.bind(net);
  vi.spyOn(net, 'execute').mockImplementation((mode, inputs, request, options) =>
    execute(mode, inputs, request, { ...options, next: undefined }),
  );
}

async function weights(net: Network): Promise<number[][]> {
  const names = net.parameters().map(({ name }) => name);
  return Promise.all(names.map(async (name) => [...((await net.tensor(name)).data as Float32Array)]));
}

const brought = (seen: Seen[]): boolean[] => seen.map(({ reply }) => reply.staged === true);
const losses = (seen: Seen[]): number[] => seen.flatMap(({ reply }) => reply.losses);
const CASES = {
  'all of it': { freeze: [], options: {} },
  'all of it, with dropout': { freeze: [], options: {}, dropout: true },
  'a head on features that are kept': { freeze: ['below'], options: {} },
  'a head on features computed each time': { freeze: ['below'], options: { cache: 'off' } },
  'gradients of several batches': { freeze: [], options: { accumulate: 2 } },
} as const;

describe.runIf(process.platform === 'linux')('batches on their way to a GPU', { timeout: 300_000 }, () => {
  for (const [what, { freeze, options, ...more }] of Object.entries(CASES)) {
    it(`train ${what} with the same bits as batches that each step copies`, async () => {
      const run = async (staged: boolean) => {
        using net = await perceptron('cuda', 'dropout' in more);
        for (const layer of freeze) net.freeze(layer);
        if (!staged) alone(net);
        const seen = watch(net);
        await net.fit(data(41), { epochs: 3, batch: 8, learningRate: 0.05, optimizer: 'sgd', ...options });
        return { seen, weights: await weights(net) };
      };
      const [there, plain] = [await run(true), await run(false)];
      expect(brought(plain.seen)).not.toContain(true);
      expect(there.weights).toEqual(plain.weights);
      expect(losses(there.seen)).toEqual(losses(plain.seen));
      // 41 rows are six batches (the last but one takes the single row along): all but the first of an epoch are brought,
      // and but the last, whose plan is another.
      expect(brought(there.seen).filter(Boolean).length).toBeGreaterThanOrEqual(3 * 3);
    });
  }

  it('predict and evaluate as on the processor', async () => {
    using net = await perceptron('cuda');
    using here = await perceptron('cpu');
    const seen = watch(net);
    const scores = await net.predict(data(40), { batch: 8, top: 3 });
    expect(brought(seen)).toEqual([false, true, true, true, true]);
    const wanted = await here.predict(data(40), { batch: 8, top: 3 });
    const flat = (all: typeof scores) => all.map((row) => row.map(({ label }) => label));
    expect(flat(scores)).toEqual(flat(wanted));
    expect((await net.evaluate(data(40), { batch: 8 })).loss).toBeCloseTo((await here.evaluate(data(40))).loss!, 4);
  });

  it('are not spoken of on a processor', async () => {
    using net = await perceptron('cpu');
    const seen = watch(net);
    await net.fit(data(40), { epochs: 2, batch: 8 });
    await net.predict(data(40), { batch: 8 });
    const spoken = seen.flatMap(({ request, reply }) => Object.keys({ ...request, ...reply }));
    expect(spoken).toContain('losses');
    for (const word of ['next', 'staged']) expect(spoken).not.toContain(word);
  });

  it('do no harm where another batch, or none, comes', async () => {
    using net = await perceptron('cuda');
    const [a, b] = [{ x: wave(8) }, { x: wave(8, 100) }];
    const scores = async (inputs: { x: Tensor }, next?: { inputs: Record<string, Tensor> }) => {
      const { reply, buffers } = await net.execute('run', inputs, {}, { next });
      return { staged: reply.staged ?? false, data: [...new Float32Array(buffers[0]!)] };
    };
    const [ofA, ofB] = [await scores(a), await scores(b)];
    expect(ofA.data).not.toEqual(ofB.data);
    await scores(a, { inputs: b });
    expect(await scores(a)).toEqual(ofA);
    expect(await scores(b)).toEqual(ofB);
    await scores(a, { inputs: b });
    expect(await scores(b, { inputs: a })).toEqual({ ...ofB, staged: true });
    expect(await scores(a)).toEqual({ ...ofA, staged: true });
    // Of another shape, of another type, or nothing that the plan reads.
    for (const x of [wave(9), { data: new Int32Array(8 * COLUMNS), shape: [8, COLUMNS] }])
      expect(await scores(a, { inputs: { x } })).toEqual(ofA);
    expect(await scores(a, { inputs: {} })).toEqual(ofA);
    await scores(a, { inputs: b });
    await net.to('cpu');
    await net.to('cuda');
    expect(await scores(b)).toEqual(ofB);
    await scores(a, { inputs: b });
  });

  it('do no harm to a fit that is stopped', async () => {
    using net = await perceptron('cuda');
    const run = net.fit(data(64), { epochs: 5, batch: 8, learningRate: 0.05 });
    for await (const event of run) if (event.type === 'step') break;
    const before = await weights(net);
    const { data: scores } = (await net.forward({ x: wave(8) }))['last']!;
    expect(scores.every(Number.isFinite)).toBe(true);
    expect(await weights(net)).toEqual(before);
    await net.fit(data(64), { epochs: 1, batch: 8 });
  });

  it('are copied by their own steps where the GPU has no room for two', async () => {
    using net = await perceptron('cuda');
    const { bytes } = await net.compile('run', { x: [1024, COLUMNS] });
    // Almost all of it: what is left has room for the weights and half of another batch.
    const rows = Math.floor((MEMORY - 2 ** 14) / (bytes.arena / 1024 + 2 * COLUMNS));
    const [a, b] = [{ x: wave(rows) }, { x: wave(rows, 5) }];
    const scores = async (inputs: { x: Tensor }, next?: { inputs: Record<string, Tensor> }) => {
      const { reply, buffers } = await net.execute('run', inputs, {}, { next });
      return { staged: reply.staged, data: new Float32Array(buffers[0]!) };
    };
    const wanted = await scores(b);
    await scores(a, { inputs: b });
    expect(await scores(b)).toEqual({ ...wanted, staged: undefined });
  });

  it('count as memory of the network, which gets it back', async () => {
    using net = await perceptron('cuda');
    await net.forward({ x: wave(8) });
    const before = net.bytes;
    await net.execute('run', { x: wave(8) }, {}, { next: { inputs: { x: wave(8, 3) } } });
    const batch = Math.ceil((8 * COLUMNS * 4) / 64) * 64;
    expect(net.bytes - before).toBe(2 * batch);
    using here = await perceptron('cpu');
    expect(before).toBeGreaterThanOrEqual(here.bytes + 4 * (COLUMNS * 40 + 40 + 40 * CLASSES + CLASSES));
    await net.to('cpu');
    expect(net.bytes).toBeLessThan(before);
  });
});
