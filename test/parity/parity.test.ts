/**
 * Every network of the zoo against PyTorch with the same random weights: the output, and the gradient of every parameter
 * of a cross-entropy, batch norm frozen and training, dropout off. Errors are Euclidean distances to PyTorch's float64.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { elements, openCheckpoint } from '../../src/formats/checkpoint.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { GraphDescription } from '../../src/graph/types.js';
import { createSession, type NativeSession } from '../../src/native.js';
import { architectures, build } from '../../src/zoo/index.js';
import { hasTorch, python, temporaryFolder } from '../python.js';

const SCRIPT = fileURLToPath(new URL('reference.py', import.meta.url));
/** Of these families, by the beginning of their names, only the smallest is measured; the others differ in sizes alone. */
const SMALLEST: Record<string, string> = {
  ...{ convnext: 'convnext_tiny', darknet: 'darknet19', densenet: 'densenet121', efficientnet: 'efficientnet_b0' },
  ...{ mnasnet: 'mnasnet0_5', mobilenet_v1: 'mobilenet_v1_0_25', mobilenet_v3: 'mobilenet_v3_small' },
  ...{ regnet_x: 'regnet_x_400mf', regnet_y: 'regnet_y_400mf', shufflenet: 'shufflenet_v2_x0_5' },
};
const measured = architectures().filter((name) => {
  const family = Object.keys(SMALLEST).find((start) => name.startsWith(start));
  return !family || SMALLEST[family] === name;
});
/** thaw's error may be this many times that of PyTorch's own float32. */
const FACTOR = 3;
/** Rounding a result to float32 alone costs as much; PyTorch's error may be smaller by luck. */
const ROUNDING = 2 ** -24;

interface Reference {
  shape: number[];
  batch: number[];
  target: number[];
  /** Each with `count` numbers of the reference: every `stride`-th element. */
  tensors: { name: string; shape: number[]; stride: number; count: number; norm: number; torchError: number }[];
}

/** The network with a cross-entropy behind it, and dropout off. */
function trainingGraph(network: GraphDescription): GraphDescription {
  const g = new GraphBuilder();
  g.input('target', 'i64', ['N']);
  const [scores] = network.outputs;
  g.loss(g.crossEntropy('loss', scores!, 'target'));
  const loss = g.build([]);
  const nodes = network.nodes.map((node) => (node.op === 'dropout' ? { ...node, attrs: { p: 0 } } : node));
  const inputs = [...network.inputs, ...loss.inputs];
  return { ...network, inputs, nodes: [...nodes, ...loss.nodes], losses: loss.losses! };
}

async function loadWeights(session: NativeSession, path: string): Promise<void> {
  const { tensors } = await openCheckpoint(path);
  const ranges = [...tensors.values()].map(({ name, dtype, shape, source }) => {
    const { offset } = source as { offset: number };
    return { name, dtype, shape, offset };
  });
  await session.submit('read', { path, tensors: ranges });
}

/** Output, loss and gradients by the names that the reference uses. */
async function results(
  session: NativeSession,
  graph: GraphDescription,
  mode: 'frozen' | 'train',
  { shape, batch, target }: Reference,
): Promise<Map<string, Float32Array>> {
  const norms = graph.nodes.filter((node) => node.op === 'batch_norm').map((node) => [node.name, mode] as const);
  const { reply: plan } = await session.submit('compile', {
    graph,
    mode: 'gradients',
    inputs: { image: shape, target: [shape[0]!] },
    trainable: graph.parameters.map((parameter) => parameter.name),
    batchNorm: Object.fromEntries(norms),
  });
  const values = new Map<string, ArrayBufferView>([
    ['image', Float32Array.from(batch)],
    ['target', BigInt64Array.from(target, BigInt)],
  ]);
  const inputs = plan.inputs.map((input) => input.name);
  const request = { plan: plan.plan, inputs, gradients: true as const };
  const { reply, buffers } = await session.submit(
    'run',
    request,
    inputs.map((name) => values.get(name)!),
  );
  const { outputs, gradients, losses } = reply as unknown as Record<'outputs' | 'gradients', { name: string }[]> & {
    losses: number[];
  };
  const names = [...outputs.map(() => 'output'), ...gradients.map(({ name }) => `gradient/${name}`)];
  const found = new Map(names.map((name, i) => [name, new Float32Array(buffers[i]!)]));
  return found.set('loss', Float32Array.from(losses));
}

/** What is further from the reference than it may be, in words. */
function judge(found: Map<string, Float32Array>, reference: Reference, numbers: Float64Array): string[] {
  const output = reference.tensors.find(({ name }) => name === 'output')!;
  let at = 0;
  return reference.tensors.flatMap(({ name, shape, stride, count, norm, torchError }) => {
    const wanted = numbers.subarray(at, (at += count));
    const own = found.get(name);
    if (own?.length !== elements(shape))
      return [`${name}: expected ${elements(shape)} numbers, received ${own?.length}`];
    const error = Math.sqrt(wanted.reduce((sum, value, i) => sum + (own[i * stride]! - value) ** 2, 0));
    // The loss is one number, whose error in PyTorch may be anything from none up to that of the output.
    const least = name === 'loss' ? (output.torchError / output.norm) * norm : ROUNDING * norm;
    const ratio = error / Math.max(torchError, least);
    return ratio <= FACTOR ? [] : [`${name}: ${ratio.toFixed(2)} times PyTorch's error (${error / norm} of the norm)`];
  });
}

describe.skipIf(!hasTorch())("the zoo against PyTorch's float64", () => {
  const ends: (() => void)[] = [];
  afterEach(() => ends.splice(0).forEach((end) => end()));

  it.each(measured)(
    '%s',
    async (name) => {
      const { path, remove } = temporaryFolder();
      ends.push(remove);
      python(SCRIPT, name, path);
      const graph = trainingGraph(build(name, { classes: 10 }).graph);
      for (const mode of ['frozen', 'train'] as const) {
        const session = createSession();
        ends.push(() => session.dispose());
        await loadWeights(session, join(path, 'weights.safetensors'));
        const reference = JSON.parse(readFileSync(join(path, `${mode}.json`), 'utf8')) as Reference;
        const bytes = readFileSync(join(path, `${mode}.bin`));
        const numbers = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
        expect(judge(await results(session, graph, mode, reference), reference, numbers), mode).toEqual([]);
      }
    },
    600_000,
  );
});
