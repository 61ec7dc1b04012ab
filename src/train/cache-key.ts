import { createHash, webcrypto } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { GraphDescription, NodeDescription } from '../graph/types.js';
import { cudaPath, nativePath } from '../native.js';
import type { Network } from '../network/network.js';
import type { Plan } from '../network/types.js';
import type { Feed } from './feature-cache.js';

/** Grows when the same key would stand for other features. */
const FORMAT = 1;

/**
 * What features depend on beside the picture, as 32 letters: the graph below the cut with the values of its weights, how a
 * picture becomes its input, instruction set and precision, the programs that compute (the core's binaries and the decoder), and
 * the kind of GPU.
 */
export async function featureKey(net: Network, { graph, inputShapes }: Feed, plan: Plan): Promise<string> {
  const { nodes, tensors } = below(
    graph,
    plan.cut.map(({ name }) => name),
  );
  const { reply } = await net.session.submit('digest', { names: tensors });
  const modes = net.batchNormModes;
  const about = {
    format: FORMAT,
    core: await coreDigest(),
    gpu: plan.isa === 'cuda' ? await gpuDigest(net) : null,
    decoder: await decoderDigest(),
    isa: plan.isa,
    precision: plan.precision,
    preprocessing: net.preprocessing,
    inputs: inputShapes,
    cut: plan.cut,
    nodes: nodes.map((node) => [node, modes[node.name] ?? null]),
    tensors: tensors.map((name, i) => [name, reply.digests[i]]),
  };
  return createHash('sha256').update(JSON.stringify(about)).digest('hex').slice(0, 32);
}

/** The nodes that make these values, and the weights and states they read, both in graph order. */
function below(graph: GraphDescription, values: string[]): { nodes: NodeDescription[]; tensors: string[] } {
  const wanted = new Set<string>();
  // Further outputs of a node are called after it: `name:1`.
  const want = (name: string | null): void => void (name !== null && wanted.add(name).add(name.replace(/:\d+$/, '')));
  values.forEach(want);
  const nodes = [...graph.nodes].reverse().filter((node) => {
    if (!wanted.has(node.name)) return false;
    node.inputs.forEach(want);
    return true;
  });
  const stored = [...graph.parameters, ...graph.states].map(({ name }) => name);
  return { nodes: nodes.reverse(), tensors: stored.filter((name) => wanted.has(name)) };
}

let core: Promise<string> | undefined;
let cuda: Promise<string> | undefined;
let decoder: Promise<string> | undefined;

/** The binary itself, not its version: two builds of one version need not compute the same bits. */
function coreDigest(): Promise<string> {
  return (core ??= readFile(nativePath()).then(sha256));
}

/** Kernels may differ from one generation of GPUs to the next. */
async function gpuDigest({ deviceReport: { gpu } }: Network): Promise<string[]> {
  return [await (cuda ??= readFile(cudaPath()).then(sha256)), gpu?.name ?? '', gpu?.computeCapability ?? ''];
}

/**
 * The package of sharp names its version and those of the libraries below it, and need not be loaded for that; thaw's own names
 * that of the decoder of GIFs.
 */
function decoderDigest(): Promise<string> {
  const packages = [sharpPackage, () => new URL('../../package.json', import.meta.url)];
  return (decoder ??= Promise.all(packages.map(textOf)).then((all) => sha256(Buffer.concat(all))));
}

async function textOf(find: () => string | URL): Promise<Buffer> {
  try {
    return await readFile(find());
  } catch {
    return Buffer.from('none');
  }
}

function sharpPackage(): string {
  const entry = createRequire(import.meta.url).resolve('sharp');
  const folder = path.join('node_modules', 'sharp');
  return path.join(entry.slice(0, entry.lastIndexOf(folder) + folder.length), 'package.json');
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await webcrypto.subtle.digest('SHA-256', bytes as webcrypto.BufferSource);
  return Buffer.from(digest).toString('hex');
}
