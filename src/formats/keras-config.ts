/**
 * The description of a Keras model, as Keras 2, Keras 3 and TensorFlow.js write it, in one form: layers, and for each
 * of its uses the values that it reads. Source: keras.io, "Serialization"; the JSON of the files themselves.
 */
import { ThawError } from '../errors.js';
import { fault } from './fault.js';

/** The output of one use of a layer. */
export interface KerasInput {
  layer: string;
  node: number;
  tensor: number;
}

export interface KerasLayer {
  name: string;
  kind: string;
  config: Record<string, unknown>;
  /** One list of inputs for each use; a layer may be shared. */
  uses: KerasInput[][];
  /** A model in the place of a layer. */
  model?: PreprocessingModel;
}

export interface PreprocessingModel {
  name: string;
  layers: KerasLayer[];
  outputs: KerasInput[];
}

const MAX_LAYERS = 20_000;
const MAX_DEPTH = 16;
const MODELS = new Set(['Functional', 'Model', 'Sequential']);

export type Json = Record<string, unknown>;

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** An error about the model of a file. */
export function kerasFault(what: string, subject: string, received: unknown): ThawError {
  return fault('ERR_KERAS', what, subject, received);
}

/** The model of {class_name, config}. Throws ERR_KERAS. */
export function parseModel(json: unknown, where: string, depth = 0): PreprocessingModel {
  if (depth > MAX_DEPTH) throw kerasFault(`models nested at most ${MAX_DEPTH} deep`, where, 'more');
  if (!isObject(json) || typeof json.class_name !== 'string') throw kerasFault('class_name and config', where, json);
  if (!MODELS.has(json.class_name))
    throw kerasFault('a Functional or Sequential model', where, JSON.stringify(json.class_name.slice(0, 80)));
  // Early files of Keras have a plain list of layers as the config of a Sequential model.
  const config: Json = Array.isArray(json.config) ? { layers: json.config } : isObject(json.config) ? json.config : {};
  const { layers } = config;
  if (!Array.isArray(layers) || layers.length === 0 || layers.length > MAX_LAYERS)
    throw kerasFault(`a list of 1 to ${MAX_LAYERS} layers`, where, layers);
  const sequential = json.class_name === 'Sequential';
  const parsed = layers.map((layer, i) => parseLayer(layer, `layer ${i} of ${where}`, depth));
  const name = typeof config.name === 'string' ? config.name : 'model';
  return sequential
    ? { name, ...chained(parsed) }
    : { name, layers: parsed, outputs: endpoints(config.output_layers, where) };
}

function parseLayer(json: unknown, where: string, depth: number): KerasLayer {
  if (!isObject(json) || typeof json.class_name !== 'string' || !isObject(json.config))
    throw kerasFault('class_name and config', where, json);
  const kind = json.class_name;
  const name = json.config.name ?? json.name;
  if (typeof name !== 'string' || name === '') throw kerasFault('a name', where, name);
  const uses = Array.isArray(json.inbound_nodes) ? json.inbound_nodes.map((node) => inbound(node, where)) : [];
  const model = MODELS.has(kind) ? { model: parseModel(json, `model '${name}'`, depth + 1) } : {};
  return { name, kind, config: json.config, uses, ...model };
}

/** Each layer reads the one before it; the first stands for its own input where there is no InputLayer. */
function chained(layers: KerasLayer[]): { layers: KerasLayer[]; outputs: KerasInput[] } {
  const first = layers[0]!;
  const all = first.kind === 'InputLayer' || first.model ? [...layers] : [inputOf(first), ...layers];
  const linked = all.map((layer, i) => ({
    ...layer,
    uses: i === 0 ? layer.uses : [[{ layer: all[i - 1]!.name, node: 0, tensor: 0 }]],
  }));
  return { layers: linked, outputs: [{ layer: linked.at(-1)!.name, node: 0, tensor: 0 }] };
}

function inputOf({ name, config }: KerasLayer): KerasLayer {
  const shape = config.batch_input_shape ?? config.batch_shape;
  return { name: `${name}_input`, kind: 'InputLayer', config: { batch_input_shape: shape }, uses: [] };
}

/** Keras 2: [[layer, node, tensor, arguments], …]; Keras 3: {args, kwargs} with keras_history in each tensor. */
function inbound(node: unknown, where: string): KerasInput[] {
  if (isObject(node)) return histories(node.args, 0);
  if (!Array.isArray(node)) throw kerasFault('inbound nodes', where, node);
  // A single input may stand without its list.
  const inputs: unknown[] = typeof node[0] === 'string' ? [node] : node;
  return inputs.map((input) => endpoint(input, where));
}

function histories(value: unknown, depth: number): KerasInput[] {
  if (depth > MAX_DEPTH) return [];
  if (Array.isArray(value)) return value.flatMap((item) => histories(item, depth + 1));
  if (!isObject(value) || !isObject(value.config)) return [];
  return Array.isArray(value.config.keras_history) ? [endpoint(value.config.keras_history, 'keras_history')] : [];
}

function endpoint(value: unknown, where: string): KerasInput {
  const [layer, node, tensor] = Array.isArray(value) ? (value as unknown[]) : [];
  if (typeof layer !== 'string' || !isIndex(node) || !isIndex(tensor))
    throw kerasFault('[layer, node, tensor]', where, value);
  return { layer, node, tensor };
}

const isIndex = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** A list of endpoints, or one alone. */
function endpoints(value: unknown, where: string): KerasInput[] {
  if (!Array.isArray(value) || value.length === 0) throw kerasFault('output_layers', where, value);
  return typeof value[0] === 'string' ? [endpoint(value, where)] : value.map((item) => endpoint(item, where));
}
