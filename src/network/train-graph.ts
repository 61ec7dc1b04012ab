import { expected } from '../errors.js';
import { GraphBuilder } from '../graph/builder.js';
import type { GraphDescription } from '../graph/types.js';
import { freshName } from './graph-edit.js';
import type { HeadDescription, HeadKind, LossOptions } from './types.js';

/** Training graphs by options, for one version of the network's graph. */
export class TrainingGraphs {
  #base: GraphDescription | null = null;
  readonly #made = new Map<string, GraphDescription>();

  /** The same object for the same options, so that plans are found again. */
  get(
    graph: GraphDescription,
    head: Readonly<HeadDescription>,
    kind: HeadKind,
    options: LossOptions,
  ): GraphDescription {
    if (graph !== this.#base) this.#made.clear();
    this.#base = graph;
    if (graph.losses && graph.losses.length > 0) return graph;
    const key = JSON.stringify([kind, head.outputs, Object.entries(options).sort()]);
    const found = this.#made.get(key) ?? trainingGraph(graph, head.outputs, kind, options);
    this.#made.set(key, found);
    return found;
  }
}

/** The graph with inputs for targets and a loss; see `Network.trainingGraph`. */
export function trainingGraph(
  graph: GraphDescription,
  outputs: number,
  kind: HeadKind,
  options: LossOptions,
): GraphDescription {
  checkOptions(kind, options);
  const g = new GraphBuilder();
  const scores = options.output ?? graph.outputs[0]!;
  // 'C' where the network does not say how many numbers it gives.
  const width = outputs || 'C';
  const sparse = kind === 'single' && !options.soft;
  const target = g.input(freshName(graph, 'target'), sparse ? 'i32' : 'f32', sparse ? ['N'] : ['N', width]);
  const weights = options.classWeights ? g.input(freshName(graph, 'class_weights'), 'f32', [width]) : undefined;
  const mask = options.mask ? g.input(freshName(graph, 'mask'), 'f32', ['N']) : undefined;
  const name = freshName(graph, 'loss');
  const { labelSmoothing } = options;
  if (kind === 'single') g.crossEntropy(name, scores, target, { classWeights: weights, mask, labelSmoothing });
  else if (kind === 'multi') g.binaryCrossEntropy(name, scores, target, { weights, mask });
  else g.meanSquaredError(name, scores, target, { mask });
  g.loss(name);
  const loss = g.build([]);
  return {
    ...graph,
    inputs: [...graph.inputs, ...loss.inputs],
    nodes: [...graph.nodes, ...loss.nodes],
    losses: loss.losses!,
  };
}

function checkOptions(kind: HeadKind, { labelSmoothing: smoothing = 0, soft, classWeights }: LossOptions): void {
  if (!(smoothing >= 0 && smoothing <= 1)) throw expected('ERR_OPTION', '0 … 1', 'labelSmoothing', smoothing);
  if (kind !== 'single' && (smoothing > 0 || soft))
    throw expected('ERR_OPTION', "a head of kind 'single'", 'labelSmoothing and soft', kind);
  if (kind === 'regression' && classWeights) throw expected('ERR_OPTION', 'a head with labels', 'classWeights', kind);
}
