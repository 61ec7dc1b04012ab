/**
 * Every operator of the catalogue against PyTorch's float64, forward and gradients, on every instruction set. The error
 * of a tensor is that of all random draws of a case together, in units of PyTorch's: one number alone may be exact by luck.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Attribute, GraphDescription } from '../../src/graph/types.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import { coreInfo, createSession, type Isa, type NativeSession } from '../../src/native.js';
import { hasTorch, python, temporaryFolder } from '../python.js';
import { buildStandin } from '../standin.js';
import { judge, readNumbers, summary, tooFar, type Judgement } from './judge.js';

/** Where the numbers of a tensor begin in the file. */
interface Stored {
  shape: number[];
  at: number;
}

interface Draw {
  operands: Record<string, Stored>;
  /** What the output is multiplied by before it is summed to the loss; null where it is a loss itself. */
  weights: Stored | null;
  wanted: (Stored & { name: string; torchError: number })[];
}

/** One operator with attributes and operands. */
interface Case {
  name: string;
  op: string;
  attrs: Record<string, Attribute>;
  inputs: (string | null)[];
  /** The weight of a 1 x 1 convolution between operand x and the operator. */
  behind?: string;
  trained: string[];
  kinds: Record<string, 'parameter' | 'state' | 'input'>;
  dtypes: Record<string, 'f32' | 'i64' | 'bool'>;
  extraOutputs: number;
  draws: Draw[];
}

const count = (shape: number[]) => shape.reduce((a, b) => a * b, 1);

/** The operator, its output weighted and summed, as a graph. */
function graphOf({ op, attrs, inputs, behind, kinds, dtypes, extraOutputs, draws }: Case): GraphDescription {
  const g = new GraphBuilder();
  const [{ operands, weights }] = draws as [Draw];
  for (const [name, { shape }] of Object.entries(operands)) {
    if (kinds[name] === 'input') g.input(name, dtypes[name]!, shape);
    else if (kinds[name] === 'state') g.state(name, shape, { kind: 'zeros' }, dtypes[name]);
    else g.parameter(name, shape);
  }
  const from = behind ? [g.conv2d('before', 'x', { weight: behind })] : inputs;
  const y = g.node('y', op, from, attrs);
  if (weights) {
    const weighted = g.multiply('weighted', y, g.input('output weights', 'f32', weights.shape));
    const axes = weights.shape.map((_, i) => i);
    g.loss(axes.length > 0 ? g.reduce('loss', weighted, { kind: 'sum', axes }) : weighted);
  } else g.loss(y);
  return g.build([y, ...Array.from({ length: extraOutputs }, (_, i) => `${y}:${i + 1}`)]);
}

function typed(values: Float64Array, dtype: 'f32' | 'i64' | 'bool'): ArrayBufferView {
  if (dtype === 'i64') return BigInt64Array.from(values, (value) => BigInt(value));
  return dtype === 'bool' ? Uint8Array.from(values) : Float32Array.from(values);
}

const STORED = { f32: 'F32', i64: 'I64', bool: 'BOOL' } as const;

const norm = (values: ArrayLike<number>) => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return Math.sqrt(sum);
};

interface Part {
  name: string;
  found: Float32Array;
  wanted: Float64Array;
  torchError: number;
}

/** The draws of one tensor joined to a long one. */
function joined(parts: Part[]): Judgement[] {
  const { name } = parts[0]!;
  const found = new Float32Array(parts.reduce((sum, part) => sum + part.found.length, 0));
  const numbers = new Float64Array(parts.reduce((sum, part) => sum + part.wanted.length, 0));
  parts.reduce((at, part) => (found.set(part.found, at), at + part.found.length), 0);
  parts.reduce((at, part) => (numbers.set(part.wanted, at), at + part.wanted.length), 0);
  const torchError = norm(parts.map((part) => part.torchError));
  const whole = { name, shape: [numbers.length], stride: 1, count: numbers.length, norm: norm(numbers), torchError };
  return judge(new Map([[name, found]]), [whole], numbers);
}

describe.skipIf(!hasTorch())("operators against PyTorch's float64", () => {
  const sessions: NativeSession[] = [];
  const rows: object[] = [];
  let numbers: Float64Array;
  let cases: Case[];
  beforeAll(() => {
    const { path, remove } = temporaryFolder();
    const file = join(path, 'numbers');
    cases = JSON.parse(python(fileURLToPath(new URL('operators.py', import.meta.url)), file)) as Case[];
    numbers = readNumbers(file);
    remove();
  });
  afterAll(() => {
    sessions.forEach((session) => session.dispose());
    console.log("thaw's errors in units of those of PyTorch's float32");
    console.table(rows);
  });

  const valuesOf = ({ shape, at }: Stored) => numbers.subarray(at, at + count(shape));

  async function draw(
    session: NativeSession,
    plan: number,
    names: string[],
    one: Case,
    index: number,
  ): Promise<Part[]> {
    const { operands, weights, wanted } = one.draws[index]!;
    const kept = Object.entries(operands).filter(([name]) => one.kinds[name] !== 'input');
    const tensors = kept.map(([name, { shape }]) => ({ name, dtype: STORED[one.dtypes[name]!], shape }));
    const data = kept.map(([name, stored]) => typed(valuesOf(stored), one.dtypes[name]!));
    await session.submit('put', { tensors }, data);
    const given = names.map((name) =>
      name === 'output weights'
        ? typed(valuesOf(weights!), 'f32')
        : typed(valuesOf(operands[name]!), one.dtypes[name]!),
    );
    const { reply, buffers } = await session.submit('run', { plan, inputs: names, gradients: true }, given);
    const { outputs, gradients } = reply as unknown as Record<'outputs' | 'gradients', { name: string }[]>;
    const order = [...outputs.map((_, i) => `output ${i}`), ...gradients.map(({ name }) => `gradient/${name}`)];
    const found = new Map(order.map((name, i) => [name, new Float32Array(buffers[i]!)]));
    return wanted.map((stored) => ({
      name: stored.name,
      found: found.get(stored.name) ?? new Float32Array(),
      wanted: valuesOf(stored),
      torchError: stored.torchError,
    }));
  }

  async function judgements(session: NativeSession, isa: Isa, one: Case) {
    const graph = graphOf(one);
    const { reply: plan } = await session.submit('compile', {
      graph,
      mode: 'gradients',
      inputs: Object.fromEntries(graph.inputs.map(({ name, shape }) => [name, shape as number[]])),
      trainable: one.trained,
      ...(one.op === 'batch_norm' && { batchNorm: { y: one.attrs['mode'] as 'frozen' } }),
      ...(isa !== 'cuda' && { isa }),
      precision: 'fp32',
    });
    const names = plan.inputs.map(({ name }) => name);
    const draws: Part[][] = [];
    for (const index of one.draws.keys()) draws.push(await draw(session, plan.plan, names, one, index));
    await session.submit('release', { plan: plan.plan });
    await session.submit('drop', { names: [...graph.parameters, ...graph.states].map(({ name }) => name) });
    return draws[0]!.flatMap((_, i) => joined(draws.map((draw) => draw[i]!)));
  }

  // In fp32 amx computes with the kernels of avx512. 'cuda' is the GPU that the processor stands in for.
  it.each([...coreInfo().isas.filter((isa) => isa !== 'amx'), 'cuda' as const])(
    'on %s',
    async (isa) => {
      const session = createSession();
      sessions.push(session);
      if (isa === 'cuda')
        await session.submit('device', { device: 0, library: buildStandin(), version: coreInfo().version });
      const all = new Map<string, Judgement[]>();
      const far: string[] = [];
      for (const one of cases) {
        const found = await judgements(session, isa, one).catch((error: unknown) => {
          throw new Error(one.name, { cause: error });
        });
        far.push(...tooFar(found).map((what) => `${one.name}: ${what}`));
        const list = all.get(one.op) ?? [];
        all.set(one.op, [...list, ...found.map((j) => ({ ...j, name: `${one.name}: ${j.name}` }))]);
      }
      for (const [op, list] of all) rows.push({ op, isa, ...summary(list) });
      expect(far).toEqual([]);
    },
    300_000,
  );
});
