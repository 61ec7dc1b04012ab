/**
 * Keras' .h5 (Keras 1 to 3): weights by layer in the groups of `layer_names`, each with `weight_names`; whole models
 * have them below `model_weights` and their description in the attribute `model_config`.
 * Source: Keras' `hdf5_format.py`.
 */
import { ThawError } from '../errors.js';
import type { RangeFile } from './file.js';
import { Hdf5File } from './hdf5.js';
import { kerasFault, parseModel, type PreprocessingModel } from './keras-config.js';
import type { KerasWeights } from './keras-context.js';
import { translate } from './keras-graph.js';
import { knownModel } from './keras-known.js';
import type { PreprocessingMode } from './keras-preprocessing.js';
import type { StoredTensor } from './layout.js';
import { withoutNetwork, type Checkpoint, type OpenOptions, type TensorEntry } from './types.js';

const SIGNATURE = Buffer.from('\x89HDF\r\n\x1a\n', 'latin1');

export const isHdf5 = (head: Buffer): boolean => head.subarray(0, 8).equals(SIGNATURE);

/** Throws ERR_HDF5, ERR_HDF5_MISSING, ERR_KERAS. */
export async function readKerasH5(file: RangeFile, options: OpenOptions = {}): Promise<Checkpoint> {
  Hdf5File.checkSize(file.path, file.size);
  const h5 = await Hdf5File.open(file.path, await file.read(0, file.size, 'weights'));
  try {
    return await readOpen(h5, options);
  } finally {
    await h5.close();
  }
}

async function readOpen(h5: Hdf5File, { inputSize }: OpenOptions): Promise<Checkpoint> {
  const root = (await h5.has('model_weights')) ? 'model_weights' : '';
  const weights = await readLayers(h5, root);
  const config = (await h5.texts('', 'model_config'))?.[0];
  const version = ((await h5.texts('', 'keras_version')) ?? (await h5.texts(root, 'keras_version')))?.[0];
  const known = config === undefined ? knownModel(weights.shapes()) : null;
  const notes = known ? [`the file has weights only; names and shapes are those of ${known.model.name}`] : [];
  const make = (): PreprocessingModel | undefined =>
    config === undefined ? known?.model : parseModel(parseJson(config, h5.path), `'${h5.path}'`);
  return kerasResult({
    path: h5.path,
    format: 'keras-h5',
    weights,
    make,
    version,
    mode: known?.mode,
    inputSize,
    notes,
  });
}

export function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw kerasFault('JSON', `the model of '${path}'`, (cause as Error).message);
  }
}

/** Weights of a file that know which of them were asked for. */
export interface ReadableWeights extends KerasWeights {
  /** All tensors as they are stored. */
  raw(): Map<string, TensorEntry>;
  unread(): string[];
}

interface Parts {
  path: string;
  format: 'keras-h5' | 'keras-zip';
  weights: ReadableWeights;
  /** undefined: the file has no model and none is known. */
  make: () => PreprocessingModel | undefined;
  version?: string | undefined;
  mode?: PreprocessingMode | undefined;
  inputSize: OpenOptions['inputSize'];
  notes: string[];
}

/** A graph with its weights; what cannot be translated keeps its tensors, and the error for whoever loads it. */
export function kerasResult({ path, format, weights, make, notes, ...options }: Parts): Checkpoint {
  const raw = weights.raw();
  const checkpoint: Checkpoint = { path, format, tensors: raw, metadata: {}, aliases: new Map() };
  try {
    const model = make();
    if (!model) return checkpoint;
    const { graph, tensors, preprocessing, notes: more } = translate(model, weights, options);
    for (const name of weights.unread()) tensors.set(name, raw.get(name)!);
    const network = { name: model.name, graph, tensors, ...(preprocessing && { preprocessing }) };
    const named = { ...checkpoint, tensors, metadata: { name: model.name } };
    return { ...named, network: () => ({ ...network, notes: [...notes, ...more] }) };
  } catch (error) {
    if (!(error instanceof ThawError)) throw error;
    return withoutNetwork(checkpoint, error);
  }
}

interface LayerWeight {
  /** Name in the file: 'conv1/conv1_3/kernel'. */
  name: string;
  /** The last segment: 'kernel'; and the one before it. */
  variable: string;
  owner: string;
  tensor: StoredTensor;
}

async function readLayers(h5: Hdf5File, root: string): Promise<GroupWeights> {
  const layers = new Map<string, LayerWeight[]>();
  const below = (path: string): string => (root === '' ? path : `${root}/${path}`);
  for (const layer of (await h5.texts(root, 'layer_names')) ?? []) {
    const names = (await h5.texts(below(layer), 'weight_names')) ?? [];
    const weights: LayerWeight[] = [];
    for (const name of names) weights.push(await readWeight(h5, layer, name, below(`${layer}/${name}`)));
    if (weights.length > 0) layers.set(layer, weights);
  }
  if (layers.size > 0) return new GroupWeights(layers);
  const loose: LayerWeight[] = [];
  for (const path of await h5.datasets(root)) loose.push(await readWeight(h5, '', path, path));
  return new GroupWeights(new Map([['', loose]]));
}

/** Variables' names of Keras 1. */
const OLD: Readonly<Record<string, string>> = {
  W: 'kernel',
  b: 'bias',
  running_std: 'moving_variance',
  running_mean: 'moving_mean',
};

async function readWeight(h5: Hdf5File, layer: string, name: string, path: string): Promise<LayerWeight> {
  const parts = name.replace(/:\d+$/, '').split('/');
  const last = parts.at(-1)!;
  const old = Object.keys(OLD).find((variable) => last === `${layer}_${variable}`);
  const variable = old ? OLD[old]! : last;
  const full = layer === '' ? parts.join('/') : `${layer}/${parts.join('/')}`;
  return { name: full, variable, owner: parts.slice(0, -1).join('/'), tensor: await h5.tensor(path) };
}

class GroupWeights implements ReadableWeights {
  readonly #read = new Set<string>();

  constructor(private readonly layers: Map<string, LayerWeight[]>) {}

  /** The group bears the layer's name; within the group of a model, the weight's own name has the inner layer's. */
  find(layer: readonly string[], variable: string): StoredTensor | undefined {
    const candidates = (this.layers.get(layer[0]!) ?? []).filter((weight) => weight.variable === variable);
    const inner = layer.at(-1)!;
    const own = ({ owner }: LayerWeight): boolean => owner === inner || owner.endsWith(`/${inner}`);
    const found = layer.length === 1 ? candidates[0] : candidates.find(own);
    if (!found) return undefined;
    this.#read.add(found.name);
    return found.tensor;
  }

  /** Names as 'conv1/kernel', whatever the session that saved them called the layers. */
  shapes(): { name: string; shape: number[] }[] {
    return [...this.layers].flatMap(([layer, weights]) =>
      weights.map(({ variable, tensor }) => ({ name: `${layer}/${variable}`, shape: tensor.shape })),
    );
  }

  raw(): Map<string, TensorEntry> {
    return new Map([...this.layers.values()].flat().map(({ name, tensor }) => [name, { name, ...tensor }]));
  }

  unread(): string[] {
    return [...this.raw().keys()].filter((name) => !this.#read.has(name));
  }
}
