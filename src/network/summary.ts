import { ThawError } from '../errors.js';
import type { GraphDescription, NodeDescription } from '../graph/types.js';
import { elements } from './tensors.js';
import type { Network } from './network.js';
import { textTable } from '../report/text.js';
import type { Plan } from './types.js';

/** Options of `net.summary`. */
export interface SummaryOptions {
  /** Rows of the batch. Default 1. */
  batch?: number;
  /** Shapes of the inputs; default: the architecture's own picture size. */
  inputs?: Record<string, number[]>;
  signal?: AbortSignal;
}

/** One layer of a summary. */
export interface SummaryRow {
  /** Name of the layer; also that of its value. */
  name: string;
  /** Operator, as in the catalogue. */
  op: string;
  shape: number[];
  /** Numbers in the parameters that this layer is the first to read. */
  parameters: number;
  /** null: it has no parameters. 'part': some of them train. */
  trainable: boolean | 'part' | null;
  /** Batch norms alone: what they do in training. */
  batchNorm?: 'frozen' | 'statistics' | 'train';
}

/** Bytes. */
export interface SummaryMemory {
  /** Held by the core now: weights, plans, caches. */
  held: number;
  /** A plan for inference at these shapes: values, packed weights, workspace. */
  run: number;
  /**
   * A plan for training at these shapes, gradients included; null: nothing is trainable, no loss takes the outputs (a
   * detector's maps, a body without a head), or a batch norm would see a single value.
   */
  step: number | null;
}

/** The table that `net.summary()` gives; as text with `String(summary)`. */
export class Summary {
  constructor(
    readonly name: string,
    readonly inputs: Record<string, number[]>,
    readonly rows: SummaryRow[],
    readonly total: number,
    readonly trainable: number,
    readonly memory: SummaryMemory,
  ) {}

  /** The table as text. */
  toString(): string {
    const head = ['layer', 'operator', 'output', 'parameters', ''];
    const rows = this.rows.map((row) => [
      row.name,
      row.op,
      `[${row.shape.join(', ')}]`,
      row.parameters ? thousands(row.parameters) : '',
      [marked(row.trainable), row.batchNorm === 'statistics' ? 'statistics of the batch' : '']
        .filter(Boolean)
        .join(', '),
    ]);
    const { held, run, step } = this.memory;
    return [
      `${this.name}: ${Object.entries(this.inputs)
        .map(([name, shape]) => `${name} [${shape.join(', ')}]`)
        .join(', ')}`,
      textTable([head, ...rows], [3]),
      `parameters: ${thousands(this.total)}, trainable: ${thousands(this.trainable)}`,
      `memory: ${megabytes(held)} held, ${megabytes(run)} to predict${step === null ? '' : `, ${megabytes(step)} to train`} at these shapes`,
    ].join('\n');
  }
}

const thousands = (count: number): string => count.toLocaleString('en-US');
const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function marked(trainable: boolean | 'part' | null): string {
  if (trainable === null) return '';
  if (trainable === 'part') return 'trainable in part';
  return trainable ? 'trainable' : 'frozen';
}

/** See `Network.summary`. */
export async function summarise(net: Network, options: SummaryOptions): Promise<Summary> {
  net.assertAlive();
  const inputs = { ...defaultInputs(net, options.batch ?? 1), ...options.inputs };
  await net.store.settled();
  const signal = options.signal;
  const request = { graph: net.graph, mode: 'infer', inputs };
  const { reply } = await net.session.submit('compile', request, [], signal ? { signal } : {});
  const shapes = new Map(
    (reply as { values: { name: string; shape: number[] }[] }).values.map((v) => [v.name, v.shape]),
  );
  const rows = layerRows(net, shapes);
  const parameters = net.parameters().filter(({ state }) => !state);
  const total = parameters.reduce((sum, { shape }) => sum + elements(shape), 0);
  const trainable = parameters.filter((p) => p.trainable).reduce((sum, { shape }) => sum + elements(shape), 0);
  return new Summary(net.name, inputs, rows, total, trainable, await memory(net, inputs, trainable > 0, signal));
}

/** Unknown sizes: the batch's number of rows first, then the architecture's picture, then 1. */
function defaultInputs(net: Network, batch: number): Record<string, number[]> {
  const sizes: Record<string, number> = { N: batch, H: net.input?.height ?? 1, W: net.input?.width ?? 1 };
  return Object.fromEntries(
    net.graph.inputs.map(({ name, shape }) => [
      name,
      shape.map((size) => (typeof size === 'number' ? size : (sizes[size] ?? 1))),
    ]),
  );
}

function layerRows(net: Network, shapes: Map<string, number[]>): SummaryRow[] {
  const modes = net.batchNormModes;
  const marks = new Map(
    net
      .parameters()
      .filter(({ state }) => !state)
      .map((p) => [p.name, p]),
  );
  const counted = new Set<string>();
  return net.graph.nodes.map((node) => {
    const own = firstRead(node, marks, counted);
    const training = own.filter((p) => p.trainable).length;
    const mode = modes[node.name];
    return {
      name: node.name,
      op: node.op,
      shape: shapes.get(node.name) ?? [],
      parameters: own.reduce((sum, { shape }) => sum + elements(shape), 0),
      trainable: own.length === 0 ? null : training === 0 ? false : training === own.length || 'part',
      ...(mode && { batchNorm: mode }),
    };
  });
}

/** Parameters that no layer before has read: tied ones count once. */
function firstRead<T>(node: NodeDescription, parameters: Map<string, T>, counted: Set<string>): T[] {
  const names = node.inputs.filter(
    (name): name is string => name !== null && parameters.has(name) && !counted.has(name),
  );
  for (const name of names) counted.add(name);
  return [...new Set(names)].map((name) => parameters.get(name)!);
}

async function memory(
  net: Network,
  inputs: Record<string, number[]>,
  training: boolean,
  signal: AbortSignal | undefined,
): Promise<SummaryMemory> {
  const run = bytes(await net.compile('run', inputs, { signal }));
  const step = training ? await trainingBytes(net, inputs, signal).catch(untrainable) : null;
  return { held: net.bytes, run, step };
}

/** The network runs at these shapes: what does not fit is its training. */
function untrainable(error: unknown): null {
  if (error instanceof ThawError && ['ERR_SHAPE', 'ERR_BATCH_NORM'].includes(error.code)) return null;
  throw error;
}

async function trainingBytes(
  net: Network,
  inputs: Record<string, number[]>,
  signal: AbortSignal | undefined,
): Promise<number> {
  const graph = net.trainingGraph();
  const all = { ...inputs, ...lossInputs(graph, net, inputs) };
  const step = await net.compile('step', all, { graph, signal });
  const below = step.cut.some(({ name }) => inputs[name] === undefined);
  return bytes(step) + (below ? bytes(await net.compile('embed', inputs, { graph, signal })) : 0);
}

/** Shapes of the inputs that the loss adds, at the batch's number of rows. */
function lossInputs(graph: GraphDescription, net: Network, inputs: Record<string, number[]>): Record<string, number[]> {
  const rows = Object.values(inputs)[0]?.[0] ?? 1;
  const added = graph.inputs.filter(({ name }) => inputs[name] === undefined);
  const sizes: Record<string, number> = { N: rows, C: net.head.outputs || 1 };
  return Object.fromEntries(
    added.map(({ name, shape }) => [name, shape.map((size) => (typeof size === 'number' ? size : (sizes[size] ?? 1)))]),
  );
}

function bytes(plan: Plan): number {
  const { arena, prepared, gradients, workspace } = plan.bytes;
  return arena + prepared + gradients + workspace;
}
