/** A small network on the fake session, and data that it can learn. */
import { GraphBuilder } from '../../src/graph/builder.js';
import type { NativeSession } from '../../src/native.js';
import { Network } from '../../src/network/network.js';
import type { HeadDescription } from '../../src/network/types.js';
import { LoadReport } from '../../src/network/report.js';
import type { Dataset, Sample } from '../../src/data/types.js';
import '../../src/train/attach.js';
import { FakeSession } from './fake-session.js';

export const LABELS = ['cucumber', 'zucchini', 'pear'];

/** x [N, 4] → body.0 (linear 6) → relu → body.1 (linear 5) → relu → fc (linear `outputs`). */
export async function toyNetwork(head: Partial<HeadDescription> = {}): Promise<{ net: Network; session: FakeSession }> {
  const outputs = head.outputs ?? 3;
  const g = new GraphBuilder();
  let x = g.input('x', 'f32', ['N', 4]);
  x = g.relu('relu.0', g.linear('body.0', x, { in: 4, out: 6 }));
  x = g.relu('relu.1', g.linear('body.1', x, { in: 6, out: 5 }));
  const graph = g.build([g.linear('fc', x, { in: 5, out: outputs })]);
  const session = new FakeSession();
  await session.submit('initialise', { tensors: graph.parameters, seed: 3 });
  for (const tensor of session.tensors.values()) tensor.modified = false;
  const net = new Network({
    name: 'toy',
    architecture: null,
    graph,
    head: { kind: 'single', outputs, classifier: 'fc', boundary: 'relu.1', ...head },
    labels: head.kind === 'regression' ? null : LABELS.slice(0, outputs),
    labelsSource: 'given',
    preprocessing: null,
    layers: ['body.0', 'body.1', 'fc'],
    input: null,
    session: session as unknown as NativeSession,
    report: new LoadReport(),
    seed: 0,
    precision: 'auto',
    aliases: {},
    frozen: [],
    statistics: [],
  });
  return { net, session };
}

/** Numbers that look random: a fixed sequence in [-1, 1). */
export function noise(seed: number): () => number {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
}

/** Three clusters; sample i is of class i mod 3. `ids: false`: nothing is cached. */
export function toyData(length: number, options: { seed?: number; ids?: boolean } = {}): Dataset & { reads: number } {
  const { seed = 1, ids = true } = options;
  const draw = noise(seed);
  const samples = Array.from({ length }, (_, i): Sample => {
    const data = Float32Array.from({ length: 4 }, (_, d) => draw() * 0.4 + Number(d === i % 3));
    return { input: { tensors: { x: { data, shape: [4] } } }, target: i % 3, ...(ids && { id: `s${seed}-${i}` }) };
  });
  const data = { length, labels: LABELS, reads: 0, get: (i: number) => (data.reads++, samples[i]!) };
  return data;
}

/** All tensors by name, for comparing bits. */
export function bits(session: FakeSession, prefix = ''): Record<string, number[]> {
  const own = [...session.tensors].filter(
    ([name]) => name.startsWith(prefix) && !/^(optimizer|best|origin)\//.test(name),
  );
  return Object.fromEntries(own.sort().map(([name, { data }]) => [name, [...data]]));
}
