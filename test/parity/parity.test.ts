/**
 * Every network of the zoo against PyTorch with the same random weights: the output, and the gradient of every parameter
 * of a cross-entropy, batch norm frozen and training, dropout off. Errors are Euclidean distances to PyTorch's float64.
 */
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { GraphDescription } from '../../src/graph/types.js';
import { coreInfo, createSession, type Isa, type NativeSession } from '../../src/native.js';
import { architectures, build } from '../../src/zoo/index.js';
import { hasTorch, pythonServer, temporaryFolder, type PythonServer } from '../python.js';
import { judge, readNumbers, summary, tooFar, type Wanted } from './judge.js';

const SCRIPT = fileURLToPath(new URL('reference.py', import.meta.url));
/** Those that run on every instruction set: plain, depthwise and residual. */
const ON_ALL: readonly string[] = ['squeezenet1_1', 'mobilenet_v2', 'cifar_resnet20'];

/**
 * Of these families, by the beginning of their names, only a few are measured, for time's sake: the others differ in sizes
 * alone. THAW_PARITY=all measures them too.
 */
const OF_FAMILY: Record<string, readonly string[]> = {
  convnext: ['convnext_tiny'],
  darknet: ['darknet19'],
  densenet: ['densenet121'],
  efficientnet: ['efficientnet_b0'],
  mnasnet: ['mnasnet0_5'],
  mobilenet_v1: ['mobilenet_v1_0_25'],
  mobilenet_v3: ['mobilenet_v3_small'],
  regnet_x: ['regnet_x_400mf'],
  regnet_y: ['regnet_y_400mf'],
  resnext: ['resnext50_32x4d'],
  shufflenet: ['shufflenet_v2_x0_5'],
  vgg: ['vgg16', 'vgg11_bn'],
  wide_resnet: ['wide_resnet50_2'],
};
const everything = process.env['THAW_PARITY'] === 'all';
const measured = architectures().filter((name) => {
  const family = Object.keys(OF_FAMILY).find((start) => name.startsWith(start));
  return everything || !family || OF_FAMILY[family]!.includes(name);
});

/** What reference.py says of a network in one mode of its batch norms. */
interface Reference {
  /** 'plain': it has no batch norm. */
  mode: 'frozen' | 'train' | 'plain';
  shape: number[];
  batch: number[];
  target: number[];
  /** Files: what differs from the network's weights in this mode, and the numbers of `tensors`. */
  weights: string;
  numbers: string;
  tensors: Wanted[];
}

/**
 * A network's weights, and files of large ones by parameter. `frozen`: those of the large ones that an earlier network has
 * in the same shape, and the gradient of which was measured there.
 */
interface References {
  weights: string;
  large: Record<string, string>;
  frozen: string[];
  modes: Reference[];
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

/** Reads a file's tensors; `name` renames the only one. */
async function loadWeights(session: NativeSession, path: string, name?: string): Promise<void> {
  const { tensors } = await openCheckpoint(path);
  const ranges = [...tensors.values()].map(({ name: own, dtype, shape, source }) => {
    const { offset } = source as { offset: number };
    return { name: name ?? own, dtype, shape, offset };
  });
  await session.submit('read', { path, tensors: ranges });
}

/** Output, loss and gradients by the names that the reference uses. */
async function results(
  session: NativeSession,
  graph: GraphDescription,
  { mode, shape, batch, target }: Reference,
  frozen: string[],
  isa: Isa,
): Promise<Map<string, Float32Array>> {
  const norms = graph.nodes.filter((node) => node.op === 'batch_norm').map((node) => node.name);
  const { reply: plan } = await session.submit('compile', {
    graph,
    mode: 'gradients',
    inputs: { image: shape, target: [shape[0]!] },
    trainable: graph.parameters.map((parameter) => parameter.name).filter((name) => !frozen.includes(name)),
    batchNorm: mode === 'plain' ? {} : Object.fromEntries(norms.map((name) => [name, mode])),
    isa,
    precision: 'fp32',
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
  await session.submit('release', { plan: plan.plan });
  const names = [...outputs.map(() => 'output'), ...gradients.map(({ name }) => `gradient/${name}`)];
  const found = new Map(names.map((name, i) => [name, new Float32Array(buffers[i]!)]));
  return found.set('loss', Float32Array.from(losses));
}

/** The output of inference, where frozen weights may take other kernels than in training. */
async function inference(
  session: NativeSession,
  graph: GraphDescription,
  { shape, batch }: Reference,
  isa: Isa,
): Promise<Float32Array> {
  const { reply: plan } = await session.submit('compile', {
    graph,
    mode: 'run',
    inputs: { image: shape },
    trainable: [],
    isa,
    precision: 'fp32',
  });
  const { buffers } = await session.submit('run', { plan: plan.plan, inputs: ['image'] }, [Float32Array.from(batch)]);
  await session.submit('release', { plan: plan.plan });
  return new Float32Array(buffers[0]!);
}

/** Of a reference the network's output alone. */
function outputOf({ tensors, numbers }: Reference): [Wanted[], Float64Array] {
  const at = tensors.findIndex(({ name }) => name === 'output');
  const begin = tensors.slice(0, at).reduce((sum, { count }) => sum + count, 0);
  return [[tensors[at]!], readNumbers(numbers).subarray(begin, begin + tensors[at]!.count)];
}

describe.skipIf(!hasTorch())("the zoo against PyTorch's float64", () => {
  const folder = temporaryFolder();
  const rows: object[] = [];
  const ends: (() => void)[] = [];
  let server: PythonServer;
  beforeAll(() => void (server = pythonServer(SCRIPT, folder.path)));
  afterEach(() => ends.splice(0).forEach((end) => end()));
  afterAll(() => {
    server.end();
    folder.remove();
    console.log("thaw's errors in units of those of PyTorch's float32");
    console.table(rows);
  });

  it.each(measured)(
    '%s',
    async (name) => {
      const reference = JSON.parse(await server.ask(name)) as References;
      const network = build(name, { classes: 10 }).graph;
      const graph = trainingGraph(network);
      const session = createSession();
      ends.push(() => session.dispose());
      await loadWeights(session, reference.weights);
      for (const [parameter, path] of Object.entries(reference.large)) await loadWeights(session, path, parameter);
      for (const wanted of reference.modes) {
        await loadWeights(session, wanted.weights);
        const { isa: best, isas } = coreInfo();
        for (const isa of ON_ALL.includes(name) ? isas : [best]) {
          const judgements = judge(
            await results(session, graph, wanted, reference.frozen, isa),
            wanted.tensors,
            readNumbers(wanted.numbers),
          );
          rows.push({ network: name, mode: wanted.mode, isa, ...summary(judgements) });
          expect.soft(tooFar(judgements), `${wanted.mode} on ${isa}`).toEqual([]);
          if (wanted.mode === 'train') continue;
          const output = new Map([['output', await inference(session, network, wanted, isa)]]);
          const judgement = judge(output, ...outputOf(wanted));
          rows.push({ network: name, mode: 'inference', isa, ...summary(judgement) });
          expect.soft(tooFar(judgement), `inference on ${isa}`).toEqual([]);
        }
      }
    },
    300_000,
  );
});
