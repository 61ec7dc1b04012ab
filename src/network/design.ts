import { expected, ThawError } from '../errors.js';
import type { Checkpoint, FileNetwork } from '../formats/types.js';
import type { GraphDescription } from '../graph/types.js';
import { architectures, build, recognise } from '../zoo/index.js';
import type { Architecture, Norm, Preprocessing, Unrecognised } from '../zoo/index.js';
import { checkGraph } from './check-graph.js';
import { firstConvolution, tensors, upTo } from './graph-edit.js';
import { firstSegments } from './groups.js';
import { bodyEnd, classifierOf } from './heads.js';
import { readMetadata, readPortable } from './metadata.js';
import type { SavedNetwork } from './metadata.js';
import { nearest } from './patterns.js';
import type { HeadDescription } from './types.js';

/** A network without its weights. */
export interface Design extends SavedNetwork {
  /** What names in the file begin with. */
  prefix: string;
  /** Tensors of a head that the file need not have. */
  optional: ReadonlySet<string>;
}

/** The design of a network of the zoo. */
export function fromArchitecture(made: Architecture): Design {
  return {
    ...plain,
    name: made.name,
    architecture: { name: made.name, config: made.config },
    graph: made.graph,
    head: { kind: 'single', outputs: made.classes, classifier: made.classifier, boundary: made.headBoundary },
    preprocessing: made.preprocessing,
    layers: made.layers,
    input: made.input,
  };
}

const plain = {
  labels: null,
  marks: { frozen: [], statistics: [] },
  aliases: {},
  prefix: '',
  optional: new Set<string>(),
};

/** The design of a graph of one's own; its last layer is found if it is a linear or convolutional one. */
export function fromDescription(graph: GraphDescription, name = 'custom'): Design {
  checkGraph(graph, name);
  const head: HeadDescription = { kind: 'single', ...classifierOf(graph) };
  const sizes = graph.inputs[0]?.shape ?? [];
  const [channels, height, width] = sizes.slice(1).map((size) => (typeof size === 'number' ? size : 0));
  const input = sizes.length === 4 && channels && height && width ? { channels, height, width } : null;
  return {
    ...plain,
    name,
    architecture: null,
    graph: structuredClone(graph),
    head,
    preprocessing: null,
    layers: firstSegments(graph),
    input,
  };
}

/**
 * The design of a network that comes with its own graph. Where no last layer with weights is found, the network is taken
 * for a body: a new head goes on its output.
 */
export function fromFile(file: Checkpoint, found: FileNetwork): Design {
  const design = fromDescription(found.graph, found.name);
  const { classifier, outputs } = design.head;
  const boundary = bodyEnd(found.graph, classifier ? design.head.boundary : (found.graph.outputs[0] ?? ''));
  found.notes.push(
    classifier
      ? `classifier found: '${classifier}', the last linear layer or 1x1 convolution before the output, ${outputs} outputs`
      : `no classifier found before the output: the whole network is taken for a body, and a new head goes on '${boundary}'`,
  );
  const { kind, labels, targets, preprocessing } = readPortable(file.metadata, outputs);
  const head = { ...design.head, kind, boundary, ...(targets && { targets }) };
  return { ...design, head, labels, preprocessing: preprocessing ?? found.preprocessing ?? null };
}

/**
 * What a file holds: what `save` wrote about it, the architecture named, or the one that its names and shapes tell.
 * @param outputs number of outputs of a head that is missing from the file; default: the architecture's own
 * @param norm batch norms of the architecture named, where they are others than its own
 * @throws ERR_UNKNOWN_ARCHITECTURE, ERR_ARCHITECTURE, ERR_GRAPH, ERR_FORMAT, ERR_FORMAT_VERSION
 */
export function designOf(
  file: Checkpoint,
  architecture: string | GraphDescription | undefined,
  outputs: number | undefined,
  norm?: Norm,
): Design {
  if (typeof architecture === 'object') return fromDescription(architecture);
  if (architecture !== undefined) return named(file, architecture, outputs, norm);
  const saved = readMetadata(file.metadata, file.path);
  if (!saved) return recognised(file, outputs);
  const preprocessing: Preprocessing | null = saved.preprocessing && { ...saved.preprocessing, source: 'file' };
  return { ...saved, preprocessing, prefix: '', optional: new Set<string>() };
}

function recognised(file: Checkpoint, outputs: number | undefined, norm?: Norm): Design {
  const found = recognise(file.tensors);
  if (!('name' in found)) throw unknown(file, found);
  const { name, channels, headMissing, prefix, auxiliary } = found;
  const classes = headMissing ? outputs : found.classes;
  const design = fromArchitecture(build(name, { ...(classes && { classes }), channels, auxiliary, norm }));
  return { ...design, prefix, optional: headMissing ? headTensors(design) : design.optional };
}

/** All that lies above the body: VGG's classifier has three layers. */
function headTensors({ graph, head }: Design): Set<string> {
  const body = new Set(tensors(upTo(graph, [head.boundary])).map(({ name }) => name));
  return new Set(
    tensors(graph)
      .map(({ name }) => name)
      .filter((name) => !body.has(name)),
  );
}

function unknown(file: Checkpoint, { candidates, reasons }: Unrecognised): ThawError {
  const near = candidates.map((name) => `${name} (${reasons[name]})`).join(', ');
  return new ThawError(
    'ERR_UNKNOWN_ARCHITECTURE',
    `expected the weights of a known network in '${file.path}', received ${file.tensors.size} tensors of none` +
      `${near && `; the nearest are ${near}`}; give { architecture }: a name or a graph`,
  );
}

/** An architecture by name, with the file's number of classes and channels where it has them. */
function named(file: Checkpoint, name: string, outputs: number | undefined, norm: Norm | undefined): Design {
  checkArchitecture(name);
  const found = recognise(file.tensors);
  if ('name' in found && found.name === name) return recognised(file, outputs, norm);
  const usual = fromArchitecture(build(name));
  const classes = file.tensors.get(`${usual.head.classifier}.weight`)?.shape[0];
  const channels = file.tensors.get(firstConvolution(usual.graph)?.weight ?? '')?.shape[1];
  return fromArchitecture(build(name, { ...(classes && { classes }), ...(channels && { channels }), norm }));
}

/** @throws ERR_ARCHITECTURE */
export function checkArchitecture(name: unknown): asserts name is string {
  const names = architectures();
  if (typeof name === 'string' && names.includes(name)) return;
  const near = typeof name === 'string' ? nearest(name, names) : [];
  const hint = near.length > 0 ? ` (${near.join(', ')}?)` : '';
  throw expected('ERR_ARCHITECTURE', `one of architectures()${hint}`, 'architecture', name);
}
