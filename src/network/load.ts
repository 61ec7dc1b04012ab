import { expected } from '../errors.js';
import { openCheckpoint } from '../formats/checkpoint.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import { fault } from '../formats/fault.js';
import type { GraphDescription } from '../graph/types.js';
import { isHubName } from '../hub/name.js';
import { respelled } from '../zoo/index.js';
import { assemble, checkOptions } from './assemble.js';
import type { NetworkOptions } from './assemble.js';
import { adaptWeights, changeChannels, changePreprocessing } from './channels.js';
import type { ChannelChange } from './channels.js';
import { designOf, fromFile } from './design.js';
import type { Design } from './design.js';
import { tensorOf } from './graph-edit.js';
import { configured, locate, translate } from './hub.js';
import type { Located } from './hub.js';
import { matchTensors } from './match.js';
import type { Matching } from './match.js';
import type { Network } from './network.js';
import type { LoadReport } from './report.js';
import type { NamePattern } from './types.js';
import { checkAborted, readWeights } from './weights.js';
import type { LoadProgress } from './weights.js';

export interface LoadOptions extends NetworkOptions {
  /** Name of the architecture (timm's names too), or a graph of one's own. Default: told by the file. */
  architecture?: string | GraphDescription;
  /**
   * Channels of the pictures. The first convolution is adapted: for 1, its weights are summed over the input channels; for 4,
   * the fourth channel starts at zero; from 1 to 3, each gets a third. `loadReport.mismatched` says so. Mean and deviation
   * of the preprocessing are averaged for grey and for the fourth channel.
   */
  channels?: 1 | 3 | 4;
  /** Tensors of the file not to load; their places in the network are initialised. Patterns as in `freeze`. */
  drop?: NamePattern;
  /** Darknet: the file of weights, where it does not lie beside the .cfg under the same name. */
  weights?: string;
  /**
   * Height and width of the pictures (one number: both), for a file that brings its graph, leaves them open and depends on
   * them by TensorFlow's `same` padding: without it that is ERR_INPUT_SIZE. The network takes no other size then.
   */
  inputSize?: number | readonly [number, number];
  /** Called as files are fetched and weights are read. */
  onProgress?: (progress: LoadProgress) => void;
}

/**
 * Loads a network: a file saved by thaw, safetensors or PyTorch weights of a known architecture (told by content, names
 * and shapes; also without a head, or with another number of classes), or a file that brings its graph: ONNX,
 * TensorFlow.js (model.json), Keras (.h5, .keras), Darknet (.cfg, .weights). Nothing that does not fit is passed over in
 * silence: see `loadReport` and `drop`.
 * @param file a path, or a model of the hub: `hf:ORG/NAME`, with `@REVISION` and `/FILE` where wanted. A path never uses the
 *   network; for a model of the hub see `pull`. Its `config.json`, if timm's, says architecture, preprocessing and labels.
 * @throws ERR_LOAD_MISMATCH, ERR_UNKNOWN_ARCHITECTURE, ERR_FORMAT_VERSION, ERR_LABELS, ERR_CHANNELS, ERR_INPUT_SIZE,
 *   ERR_ABORTED, those of the file's format, and for a model of the hub those of `pull` and ERR_HUB_CONFIG
 */
export async function load(file: string, options: LoadOptions = {}): Promise<Network> {
  checkPath(file);
  checkOptions(options);
  checkAborted(options.signal);
  const located = await locate(file, options);
  const { signal, weights } = options;
  const checkpoint = await openCheckpoint(located.path, { signal, weights, inputSize: sidesOf(options) });
  return loadOpened(checkpoint, located, options);
}

/** As `load`, of a file that was located and opened before. */
export async function loadOpened(opened: Checkpoint, located: Located, options: LoadOptions = {}): Promise<Network> {
  const { checkpoint, architecture, norm } = translate(respelled(opened), options.architecture, located);
  const own = architecture === undefined ? checkpoint.network?.() : undefined;
  const found = own ? fromFile(checkpoint, own) : designOf(checkpoint, architecture, options.labels?.length, norm);
  const design = configured(found, located);
  checkInputSize(design, checkpoint.path, options);
  const matching = matchTensors(own ? { ...checkpoint, tensors: own.tensors } : checkpoint, design.graph, {
    prefix: design.prefix,
    optional: design.optional,
    drop: options.drop,
  });
  matching.report.notes.push(...located.notes, ...(own?.notes ?? []));
  const change = options.channels === undefined ? null : changeChannels(design.graph, options.channels);
  const adapted = change ? adaptedDesign(design, change) : design;
  const aliases = { ...design.aliases, ...matching.aliases };
  return assemble({ ...adapted, aliases }, options, matching.report, (net) => fill(net, matching, change, options));
}

/** Reads, draws and adapts weights. */
async function fill(
  net: Network,
  matching: Matching,
  change: ChannelChange | null,
  options: LoadOptions,
): Promise<void> {
  await readWeights(net.session, matching.entries, options);
  // Shapes as they are now: a first convolution that is drawn anew has the channels asked for.
  const drawn = matching.initialised.map(({ name }) => tensorOf(net.graph, name));
  await net.store.initialise(drawn, net.seed, options.signal);
  if (!change || !matching.entries.has(change.weight)) return;
  await adaptWeights(net.store, change, options.signal);
  noteChange(matching.report, change);
}

function adaptedDesign(design: Design, { graph, to }: ChannelChange): Design {
  const { preprocessing, input } = design;
  return {
    ...design,
    graph,
    preprocessing: preprocessing && changePreprocessing(preprocessing, to as 1 | 3 | 4),
    input: input && { ...input, channels: to },
  };
}

/** The first convolution was read in the file's shape, but is not used as it is. */
function noteChange(report: LoadReport, { weight, graph, note }: ChannelChange): void {
  const [read] = report.loaded.splice(
    report.loaded.findIndex(({ name }) => name === weight),
    1,
  );
  report.mismatched.push({ name: weight, expected: tensorOf(graph, weight).shape, received: read!.received!, note });
}

/** `inputSize` as two sides. Throws ERR_OPTION. */
export function sidesOf({ inputSize }: LoadOptions): readonly [number, number] | undefined {
  if (inputSize === undefined) return undefined;
  const sides = typeof inputSize === 'number' ? [inputSize, inputSize] : inputSize;
  const right = (side: unknown): boolean => Number.isSafeInteger(side) && (side as number) >= 1;
  if (Array.isArray(sides) && sides.length === 2 && sides.every(right)) return sides as [number, number];
  throw expected('ERR_OPTION', 'a whole number of pixels, or height and width', 'inputSize', inputSize);
}

function checkInputSize({ graph }: Design, path: string, options: LoadOptions): void {
  const sides = sidesOf(options);
  const shape = graph.inputs[0]?.shape ?? [];
  if (!sides || (shape.length === 4 && sides.every((side, i) => side === shape[i + 2]))) return;
  const bound = shape.slice(2).every((side) => typeof side === 'number') ? `${shape.slice(2).join(' x ')}` : 'any size';
  throw fault(
    'ERR_INPUT_SIZE',
    `pictures of ${bound}, which its network takes,`,
    `'${path}'`,
    `inputSize ${sides.join(' x ')}`,
  );
}

function checkPath(file: unknown): asserts file is string {
  if (isHubName(file)) return;
  if (typeof file !== 'string' || file === '') throw expected('ERR_PATH', 'the path of a file', 'load', file);
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(file))
    throw expected('ERR_PATH', 'the path of a file (not a web address)', 'load', file);
}
