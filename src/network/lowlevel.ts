import { expected, ThawError } from '../errors.js';
import type { GraphDescription, InputDescription } from '../graph/types.js';
import { upTo } from './graph-edit.js';
import type { Network } from './network.js';
import type { RunReply } from './plans.js';
import { arrayOf, STORAGE } from './tensors.js';
import type { Batch, LossOptions, RandomOptions, Tensor, Update } from './types.js';
import { valueNamed } from './values.js';

/** Options of `net.forward`. */
export interface ForwardOptions {
  /** Values wanted instead of the outputs: layers, as `summary` lists them; 'layer2' is what that stage ends with. */
  outputs?: readonly string[];
  signal?: AbortSignal;
}

/** Options of `net.step` and `net.gradients`. */
export interface StepOptions extends RandomOptions {
  /** Loss of the network's head; see `LossOptions`. A graph with losses of its own needs none. */
  loss?: LossOptions;
  /** `step` only. Default: sgd, learning rate 0.01, no momentum. */
  update?: Update;
  signal?: AbortSignal;
}

/** What `net.step` gives. */
export interface StepResult {
  /** Sum of the losses, each times its weight. */
  loss: number;
  losses: number[];
  outputs: Record<string, Tensor>;
  /** Euclidean norm of all gradients together, before clipping; only where the update clips. */
  gradientNorm?: number;
}

/** What `net.gradients` gives. */
export interface GradientsResult extends StepResult {
  /** Of each trainable parameter, dense, in its shape. */
  gradients: Record<string, Tensor>;
}

/** See `Network.forward`. */
export async function forward(net: Network, batch: Batch, options: ForwardOptions): Promise<Record<string, Tensor>> {
  const wanted = options.outputs?.map((name) => [name, valueNamed(net.graph, name)] as const);
  const outputs = wanted && [...new Set(wanted.map(([, value]) => value))];
  const inputs = namedInputs(net.graph, batch);
  checkInputs(net.graph, outputs ?? net.graph.outputs, inputs);
  const { reply, buffers } = await net.execute(
    'run',
    inputs,
    {},
    { ...(outputs && { outputs }), signal: options.signal },
  );
  const values = received(reply, buffers).outputs;
  return wanted ? Object.fromEntries(wanted.map(([name, value]) => [name, values[value]!])) : values;
}

/** See `Network.gradients`. */
export async function gradients(
  net: Network,
  batch: Record<string, Tensor>,
  options: StepOptions,
): Promise<GradientsResult> {
  const graph = graphToTrain(net, batch, options);
  const request = { ...random(options), gradients: true };
  const { reply, buffers } = await net.execute('gradients', batch, request, { graph, signal: options.signal });
  return { ...losses(graph, reply), ...received(reply, buffers) };
}

/** See `Network.step`: the frozen part as inference, then loss, gradients and update from the cut on. */
export async function step(net: Network, batch: Record<string, Tensor>, options: StepOptions): Promise<StepResult> {
  const graph = graphToTrain(net, batch, options);
  const common = { graph, signal: options.signal };
  const shapes = Object.fromEntries(Object.entries(batch).map(([name, { shape }]) => [name, shape]));
  const plan = await net.compile('step', shapes, common);
  const computed = plan.cut.some(({ name }) => batch[name] === undefined);
  const update: Update = options.update ?? { optimizer: 'sgd', learningRate: 0.01 };
  const { reply, buffers } = await net.execute(
    'step',
    batch,
    { ...random(options), update },
    { ...common, shapes, ...(computed && { frozen: belowLosses(net.graph, shapes) }) },
  );
  const { outputs } = received(reply, buffers);
  return { ...losses(graph, reply), outputs };
}

/** What the frozen part may read: targets and other inputs of the losses are not needed for it. */
function belowLosses(graph: GraphDescription, shapes: Record<string, number[]>): Record<string, number[]> {
  const names = new Set(graph.inputs.map(({ name }) => name));
  return Object.fromEntries(Object.entries(shapes).filter(([name]) => names.has(name)));
}

/** Inputs that values depend on, by graph: looked up at every call. */
const read = new WeakMap<GraphDescription, Map<string, InputDescription[]>>();

/**
 * The core leaves out whatever reads an input that is not given, losses included: here it is an error.
 * @throws ERR_INPUT
 */
function checkInputs(graph: GraphDescription, values: readonly string[], batch: Record<string, Tensor>): void {
  const known = read.get(graph) ?? new Map<string, InputDescription[]>();
  read.set(graph, known);
  const key = values.join('\n');
  const needed = known.get(key) ?? upTo(graph, [...values]).inputs;
  known.set(key, needed);
  const missing = needed.find(({ name }) => batch[name] === undefined);
  if (missing)
    throw expected('ERR_INPUT', `a tensor [${missing.shape.join(', ')}]`, `input '${missing.name}'`, undefined);
  const names = graph.inputs.map(({ name }) => name);
  const odd = Object.keys(batch).find((name) => !names.includes(name));
  if (odd !== undefined) throw expected('ERR_INPUT', `inputs named ${names.join(', ')}`, 'the batch', odd);
}

function graphToTrain(net: Network, batch: Record<string, Tensor>, options: StepOptions): GraphDescription {
  if (net.trainable.length === 0) {
    throw new ThawError(
      'ERR_NOTHING_TRAINABLE',
      'expected something trainable for a training step, received a network that is frozen whole; unfreeze a part of it',
    );
  }
  const graph = net.trainingGraph(net.head.kind, options.loss);
  const losses = (graph.losses ?? []).map(({ value }) => value);
  checkInputs(graph, losses, batch);
  return graph;
}

function namedInputs(graph: GraphDescription, batch: Batch): Record<string, Tensor> {
  if (!('data' in batch) || !ArrayBuffer.isView(batch.data)) return batch as Record<string, Tensor>;
  const [input, another] = graph.inputs;
  if (!input || another)
    throw expected('ERR_INPUT', 'tensors by the names of the inputs', 'a network with several inputs', 'one tensor');
  return { [input.name]: batch as Tensor };
}

function random({ seed, epoch, samples }: RandomOptions): RandomOptions {
  return { ...(seed !== undefined && { seed }), ...(epoch !== undefined && { epoch }), ...(samples && { samples }) };
}

/** Tensors of a reply: its buffers are the outputs, then the gradients. */
function received(
  reply: RunReply,
  buffers: ArrayBuffer[],
): { outputs: Record<string, Tensor>; gradients: Record<string, Tensor> } {
  const outputs = reply.outputs.map(({ name, dtype, shape }, i): [string, Tensor] => [
    name,
    { data: arrayOf(STORAGE[dtype], buffers[i]!), shape },
  ]);
  const gradients = (reply.gradients ?? []).map(({ name, shape }, i): [string, Tensor] => [
    name,
    { data: new Float32Array(buffers[outputs.length + i]!), shape },
  ]);
  return { outputs: Object.fromEntries(outputs), gradients: Object.fromEntries(gradients) };
}

function losses(graph: GraphDescription, reply: RunReply): { loss: number; losses: number[]; gradientNorm?: number } {
  const loss = reply.losses.reduce((sum, value, i) => sum + value * (graph.losses?.[i]?.weight ?? 1), 0);
  return {
    loss,
    losses: reply.losses,
    ...(typeof reply.gradientNorm === 'number' && { gradientNorm: reply.gradientNorm }),
  };
}
