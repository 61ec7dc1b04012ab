import { expected } from '../errors.js';
import type { GraphDescription } from '../graph/types.js';
import { build } from '../zoo/index.js';
import { assemble, checkOptions } from './assemble.js';
import type { NetworkOptions } from './assemble.js';
import { changePreprocessing } from './channels.js';
import { checkLabels } from './checks.js';
import { checkArchitecture, fromArchitecture, fromDescription } from './design.js';
import type { Design } from './design.js';
import { tensors } from './graph-edit.js';
import type { Network } from './network.js';
import { LoadReport } from './report.js';
import type { HeadKind } from './types.js';

/** Options of `create`. */
export interface CreateOptions extends NetworkOptions {
  /** Number of outputs. Default: that of the labels, else the architecture's own. */
  classes?: number;
  /** Channels of the pictures. Default 3. */
  channels?: 1 | 3 | 4;
}

/** Options of `fromGraph`. */
export interface FromGraphOptions extends NetworkOptions {
  name?: string;
  /** What the outputs mean. Default: 'regression' where `targets` are given, else 'single'. */
  kind?: HeadKind;
  /** Names of the numbers of a regression network. */
  targets?: readonly string[] | undefined;
  /** Numbers given for a sample. Default: those of the last layer, where it is linear or a convolution. */
  outputs?: number;
  /** Size of the pictures, for a head's features and the summary. Default: from the input's shape. */
  input?: { channels: number; height: number; width: number };
  /** Stages of the network in graph order. Default: the first segments of the layers' names. */
  layers?: readonly string[];
}

/**
 * A network of the zoo with new weights, drawn by `seed`.
 * @throws ERR_ARCHITECTURE, ERR_LABELS, ERR_CHANNELS
 */
export async function create(architecture: string, options: CreateOptions = {}): Promise<Network> {
  checkOptions(options);
  checkArchitecture(architecture);
  const { channels } = options;
  const classes = options.classes ?? options.labels?.length;
  if (classes !== undefined && (!Number.isInteger(classes) || classes < 1)) {
    throw expected('ERR_OPTION', 'a whole number above 0', 'classes', classes);
  }
  const design = fromArchitecture(build(architecture, { ...(classes && { classes }), ...(channels && { channels }) }));
  const usual = design.preprocessing;
  const preprocessing = channels && usual && usual.channels !== channels ? changePreprocessing(usual, channels) : usual;
  return initialised({ ...design, preprocessing }, options);
}

/**
 * A network of one's own, with new weights; see `GraphBuilder`.
 * @throws ERR_GRAPH, ERR_LABELS
 */
export async function fromGraph(graph: GraphDescription, options: FromGraphOptions = {}): Promise<Network> {
  checkOptions(options);
  const design = fromDescription(graph, options.name);
  const outputs = options.outputs ?? (design.head.outputs || (options.targets ?? options.labels)?.length || 0);
  const kind = options.kind ?? (options.targets ? 'regression' : 'single');
  const targets = options.targets && checkLabels(options.targets, outputs, 'targets');
  const head = { ...design.head, kind, outputs, ...(targets && { targets }) };
  const layers = options.layers ? [...options.layers] : design.layers;
  return initialised({ ...design, head, layers, input: options.input ?? design.input }, options);
}

async function initialised(design: Design, options: NetworkOptions): Promise<Network> {
  const drawn = tensors(design.graph);
  const report = new LoadReport();
  for (const { name, shape } of drawn) report.initialised.push({ name, expected: shape });
  return assemble(design, options, report, (net) => net.store.initialise(drawn, net.seed, options.signal));
}
