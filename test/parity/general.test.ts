/** The graph is general: networks that are no picture classifiers, losses, gradients and states against PyTorch in float64. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { GraphDescription } from '../../src/graph/types.js';
import { coreInfo, createSession } from '../../src/native.js';

interface Stored {
  shape: number[];
  data: number[];
}
interface Case {
  parameters: Record<string, Stored>;
  frozen: string[];
  steps: {
    inputs: Record<string, Stored>;
    losses: number[];
    gradients: Record<string, Stored>;
    states: Record<string, Stored>;
  }[];
}

/** The graphs; parameters bear the names and shapes that general.py gives them. */
const GRAPHS: Record<string, (g: GraphBuilder) => string[]> = {
  'tied embedding': (g) => {
    const words = g.input('words', 'i64', ['N', 'T']);
    const target = g.input('target', 'i64', ['M']);
    const e = g.embedding('embed', words, { rows: 11, dim: 6 });
    const h = g.tanh('tanh', g.linear('mix', e, { in: 6, out: 6 }));
    const scores = g.reshape('flat', g.linear('decoder', h, { weight: 'embed.weight' }), [-1, 11]);
    g.loss(g.crossEntropy('loss', scores, target));
    return [scores];
  },
  'embedding rows': (g) => {
    const words = g.input('words', 'i64', ['N', 'T']);
    const target = g.input('target', 'i64', ['M']);
    const e = g.embedding('embed', words, { rows: 11, dim: 6 });
    const scores = g.reshape('flat', g.linear('out', e, { in: 6, out: 5, bias: false }), [-1, 5]);
    g.loss(g.crossEntropy('loss', scores, target));
    return [scores];
  },
  'masked loss at two lengths': (g) => {
    const x = g.input('x', 'f32', ['N', 'T', 5]);
    const target = g.input('target', 'i64', ['M']);
    const mask = g.input('mask', 'f32', ['M']);
    const scores = g.reshape('flat', g.linear('out', x, { in: 5, out: 4 }), [-1, 4]);
    g.loss(g.crossEntropy('loss', scores, target, { mask }));
    return [scores];
  },
  'recurrent state': (g) => {
    const x = g.input('x', 'f32', ['N', 3]);
    const target = g.input('target', 'i64', ['N']);
    const h = g.state('h', [2, 6]);
    const fresh = g.linear('in', x, { in: 3, out: 6 });
    const next = g.tanh('next', g.add('sum', fresh, g.linear('hidden', h, { in: 6, out: 6, bias: false })));
    g.carry('h', next);
    const scores = g.linear('out', next, { in: 6, out: 2, bias: false });
    g.loss(g.crossEntropy('loss', scores, target));
    return [scores];
  },
  'computed weight': (g) => {
    const x = g.input('x', 'f32', ['N', 3, 'H', 'W']);
    const target = g.input('target', 'i64', ['N']);
    const low = g.matmul('low_rank', g.parameter('a', [4, 2]), g.parameter('b', [2, 27]));
    const sum = g.add('adapted', g.parameter('w', [4, 27]), low);
    const weight = g.reshape('weight', sum, [4, 3, 3, 3]);
    const body = g.relu('relu', g.conv2d('conv', x, { weight, padding: 1 }));
    const scores = g.flatten('flatten', g.globalAveragePool('pool', body));
    g.loss(g.crossEntropy('loss', scores, target));
    return [scores];
  },
  'two weighted losses': (g) => {
    const x = g.input('x', 'f32', ['N', 4]);
    const target = g.input('target', 'i64', ['N']);
    const value = g.input('value', 'f32', ['N', 1]);
    const h = g.relu('relu', g.linear('body', x, { in: 4, out: 6, bias: false }));
    const a = g.linear('a', h, { in: 6, out: 3, bias: false });
    const b = g.linear('b', h, { in: 6, out: 1, bias: false });
    g.loss(g.crossEntropy('loss_a', a, target));
    g.loss(g.meanSquaredError('loss_b', b, value), 0.25);
    return [a, b];
  },
  'cut inside a residual block': (g) => {
    const x = g.input('x', 'f32', ['N', 3, 'H', 'W']);
    const target = g.input('target', 'i64', ['N']);
    const first = g.relu('relu1', g.conv2d('c1', x, { in: 3, out: 8, kernel: 3, padding: 1, bias: false }));
    const second = g.conv2d('c2', first, { in: 8, out: 8, kernel: 3, padding: 1, bias: false });
    const shortcut = g.conv2d('ds', x, { in: 3, out: 8, kernel: 1, bias: false });
    const block = g.relu('relu2', g.add('add', second, shortcut));
    const pooled = g.flatten('flatten', g.globalAveragePool('pool', block));
    const scores = g.linear('fc', pooled, { in: 8, out: 3, bias: false });
    g.loss(g.crossEntropy('loss', scores, target));
    return [scores];
  },
  'frozen layers above a trained one': (g) => {
    const x = g.input('x', 'f32', ['N', 3, 'H', 'W']);
    const target = g.input('target', 'i64', ['N']);
    const h = g.batchNorm('bn', g.conv2d('c1', x, { in: 3, out: 8, kernel: 3, stride: 2, bias: false }), 8);
    const top = g.conv2d('c2', g.silu('silu', h), { in: 8, out: 4, kernel: 1, bias: false });
    const pooled = g.flatten('flatten', g.globalAveragePool('pool', top));
    const scores = g.linear('fc', pooled, { in: 4, out: 3, bias: false });
    g.loss(g.crossEntropy('loss', scores, target));
    return [scores];
  },
};

let cases: Record<string, Case> = {};
beforeAll(() => {
  const script = path.join(import.meta.dirname, 'general.py');
  cases = JSON.parse(
    execFileSync('/usr/bin/python3', [script], { encoding: 'utf8', maxBuffer: 1 << 26 }),
  ) as typeof cases;
});

function bytes(stored: Stored, dtype: string): ArrayBufferView {
  if (dtype === 'i64') return BigInt64Array.from(stored.data, BigInt);
  return Float32Array.from(stored.data);
}

function expectClose(actual: ArrayLike<number>, wanted: number[], what: string) {
  const size = Math.max(...wanted.map(Math.abs), 1e-3);
  wanted.forEach((w, i) =>
    expect(Math.abs(actual[i]! - w) / size, `${what}[${i}]: ${actual[i]} for ${w}`).toBeLessThan(2e-5),
  );
}

const shapesOf = (stored: Record<string, Stored>) =>
  Object.fromEntries(Object.entries(stored).map(([k, v]) => [k, v.shape]));

async function putParameters(
  session: ReturnType<typeof createSession>,
  graph: GraphDescription,
  stored: Record<string, Stored>,
) {
  const tensors = Object.entries(stored).map(([name, t]) => ({ name, dtype: 'F32' as const, shape: t.shape }));
  await session.submit(
    'put',
    { tensors },
    Object.values(stored).map((t) => bytes(t, 'f32')),
  );
  const rest = graph.states.filter((s) => !(s.name in stored));
  if (rest.length === 0) return;
  const zeros = rest.map((s) =>
    s.dtype === 'i64' ? new BigInt64Array(1) : new Float32Array(s.shape.reduce((a, b) => a * b, 1)),
  );
  const described = rest.map((s) => ({
    name: s.name,
    dtype: s.dtype === 'i64' ? ('I64' as const) : ('F32' as const),
    shape: s.shape,
  }));
  await session.submit('put', { tensors: described }, zeros);
}

describe.each(Object.keys(GRAPHS))('%s', (name) => {
  it.each(coreInfo().isas)('agrees with PyTorch on %s', async (isa) => {
    const wanted = cases[name]!;
    const g = new GraphBuilder();
    const outputs = GRAPHS[name]!(g);
    const graph = g.build(outputs);
    const session = createSession();
    try {
      await putParameters(session, graph, wanted.parameters);
      const trainable = graph.parameters.map((p) => p.name).filter((p) => !wanted.frozen.includes(p));
      for (const step of wanted.steps) {
        const common = { graph, trainable, isa, precision: 'fp32' as const, inputs: shapesOf(step.inputs) };
        // Through the partition, as training does it: the frozen part once, then the step on the cut's values.
        const embed = (await session.submit('compile', { ...common, mode: 'embed' })).reply;
        const plan = (await session.submit('compile', { ...common, mode: 'step' })).reply;
        const values = new Map<string, ArrayBufferView>();
        for (const input of graph.inputs) values.set(input.name, bytes(step.inputs[input.name]!, input.dtype));
        const from = embed.inputs.map((i: { name: string }) => i.name);
        const cut = await session.submit(
          'run',
          { plan: embed.plan, inputs: from },
          from.map((n: string) => values.get(n)!),
        );
        cut.reply.outputs.forEach((o: { name: string }, i: number) =>
          values.set(o.name, new Uint8Array(cut.buffers[i]!)),
        );

        const names: string[] = plan.inputs.map((i: { name: string }) => i.name);
        const request = {
          plan: plan.plan,
          inputs: names,
          discardOutputs: true,
          gradients: true,
          // A rate of zero commits the states and leaves the weights alone.
          update: { optimizer: 'sgd', learningRate: 0, momentum: 0, weightDecay: 0 },
        };
        // Both in one run: the same bits.
        const given = graph.inputs.map((input) => input.name);
        const joined = await session.submit(
          'run',
          { plan: plan.plan, frozen: embed.plan, inputs: given, discardOutputs: true, gradients: true },
          given.map((n) => values.get(n)!),
        );
        const result = await session.submit(
          'run',
          request,
          names.map((n) => values.get(n)!),
        );
        expect(joined.reply.losses).toEqual(result.reply.losses);
        expect(joined.buffers.map((buffer) => Buffer.from(buffer))).toEqual(
          result.buffers.map((buffer) => Buffer.from(buffer)),
        );
        expectClose(result.reply.losses, step.losses, 'losses');
        const got = new Map<string, Float32Array>(
          result.reply.gradients.map((t: { name: string }, i: number) => [
            t.name,
            new Float32Array(result.buffers[i]!),
          ]),
        );
        expect([...got.keys()].sort()).toEqual(Object.keys(step.gradients).sort());
        for (const [parameter, gradient] of Object.entries(step.gradients))
          expectClose(got.get(parameter)!, gradient.data, parameter);
        for (const [state, value] of Object.entries(step.states)) {
          const read = await session.submit('get', { names: [state] });
          expectClose(new Float32Array(read.buffers[0]!), value.data, state);
        }
        if (name === 'cut inside a residual block')
          // Two values: what the trained convolution reads, and the shortcut around it.
          expect(plan.cut?.map((c: { name: string }) => c.name)).toEqual(['relu1', 'ds']);
        if (name === 'embedding rows')
          // Nothing of the size of the vocabulary: the gradient stays rows.
          expect(plan.launches.map((l: { op: string }) => l.op)).not.toContain('scatter_rows');
      }
    } finally {
      session.dispose();
    }
  });
});
