/**
 * Keras 3's .keras: a zip archive of config.json (the model), metadata.json (the version) and model.weights.h5, where
 * the variables of a layer lie in order under `layers/<layer>/vars/0`, `1`, …. Source: Keras' `saving_lib.py`.
 */
import type { RangeFile } from './file.js';
import { Hdf5File } from './hdf5.js';
import { isObject, parseModel, type PreprocessingModel } from './keras-config.js';
import { kerasResult, parseJson, type ReadableWeights } from './keras-h5.js';
import type { StoredTensor } from './layout.js';
import type { Checkpoint, OpenOptions, TensorEntry } from './types.js';
import { memberBytes } from './unzip.js';
import type { ZipMember } from './zip.js';

const MAX_JSON = 1 << 28;

/** Throws ERR_KERAS, ERR_HDF5, ERR_HDF5_MISSING. */
export async function readKerasZip(
  file: RangeFile,
  members: Map<string, ZipMember>,
  { inputSize }: OpenOptions,
): Promise<Checkpoint> {
  const text = async (name: string): Promise<string | undefined> => {
    const member = members.get(name);
    return member && (await memberBytes(file, member, 'ERR_KERAS', MAX_JSON)).toString('utf8');
  };
  const model = parseModel(parseJson((await text('config.json'))!, file.path), `'${file.path}'`);
  const metadata = parseJson((await text('metadata.json')) ?? '{}', file.path);
  const version = isObject(metadata) && typeof metadata.keras_version === 'string' ? metadata.keras_version : '3';
  const weights = members.get('model.weights.h5')!;
  Hdf5File.checkSize(file.path, weights.size);
  const h5 = await Hdf5File.open(file.path, await memberBytes(file, weights, 'ERR_KERAS'));
  try {
    const stored = new Map<string, StoredTensor>();
    for (const path of await h5.datasets('')) stored.set(path, await h5.tensor(path));
    const found = new VariableWeights(stored, model);
    return kerasResult({
      path: file.path,
      format: 'keras-zip',
      weights: found,
      make: () => model,
      version,
      inputSize,
      notes: [],
    });
  } finally {
    await h5.close();
  }
}

/** Order in which layers make their variables; those that a setting leaves out are skipped. */
const VARIABLES: Readonly<Record<string, { variable: string; setting?: string }[]>> = {
  BatchNormalization: [
    { variable: 'gamma', setting: 'scale' },
    { variable: 'beta', setting: 'center' },
    { variable: 'moving_mean' },
    { variable: 'moving_variance' },
  ],
  DepthwiseConv2D: [{ variable: 'depthwise_kernel' }, { variable: 'bias', setting: 'use_bias' }],
  Normalization: [{ variable: 'mean' }, { variable: 'variance' }, { variable: 'count' }],
  SeparableConv2D: [
    { variable: 'depthwise_kernel' },
    { variable: 'pointwise_kernel' },
    { variable: 'bias', setting: 'use_bias' },
  ],
};
const USUAL = [{ variable: 'kernel' }, { variable: 'bias', setting: 'use_bias' }];

class VariableWeights implements ReadableWeights {
  readonly #read = new Set<string>();
  /** Path of a layer and its variable → path of the data set. */
  readonly #places = new Map<string, string>();

  constructor(
    private readonly stored: Map<string, StoredTensor>,
    model: PreprocessingModel,
  ) {
    this.#place(model, [], '');
  }

  /** Groups bear the layers' names or, of earlier versions, their kinds in order: conv2d, conv2d_1, …. */
  #place(model: PreprocessingModel, path: string[], group: string): void {
    const used = new Map<string, number>();
    const groups = new Set(
      [...this.stored.keys()]
        .filter((p) => p.startsWith(`${group}layers/`))
        .map((p) => p.slice(`${group}layers/`.length).split('/')[0]),
    );
    const counted = model.layers.map(({ kind }) => {
      const name = snakeCase(kind);
      const count = used.get(name) ?? 0;
      used.set(name, count + 1);
      return count === 0 ? name : `${name}_${count}`;
    });
    const layers = model.layers.map((layer, i) => ({ layer, kind: counted[i]! }));
    // Every group is a layer's name: they are named so.
    const names = new Set(model.layers.map(({ name }) => name.replaceAll('/', '_')));
    const byName = [...groups].every((name) => names.has(name!));
    for (const { layer, kind } of layers) {
      const at = `${group}layers/${byName ? layer.name.replaceAll('/', '_') : kind}/`;
      if (layer.model) this.#place(layer.model, [...path, layer.name], at);
      const variables = (VARIABLES[layer.kind] ?? USUAL).filter(
        ({ setting }) => !setting || layer.config[setting] !== false,
      );
      variables.forEach(({ variable }, i) =>
        this.#places.set([...path, layer.name, variable].join('\0'), `${at}vars/${i}`),
      );
    }
  }

  find(layer: readonly string[], variable: string): StoredTensor | undefined {
    const place = this.#places.get([...layer, variable].join('\0'));
    const found = place === undefined ? undefined : this.stored.get(place);
    if (found) this.#read.add(place!);
    return found;
  }

  raw(): Map<string, TensorEntry> {
    return new Map([...this.stored].map(([name, tensor]) => [name, { name, ...tensor }]));
  }

  /** The optimizer's and the random generators' variables are no part of the network. */
  unread(): string[] {
    return [...this.stored.keys()].filter(
      (name) => name.startsWith('layers/') && !name.includes('seed_generator') && !this.#read.has(name),
    );
  }
}

/** BatchNormalization → batch_normalization, Conv2D → conv2d. */
function snakeCase(kind: string): string {
  return kind
    .replace(/\W+/g, '')
    .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}
