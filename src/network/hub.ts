/** Networks of the hub: where their files lie, and what their configuration says beside the tensors. */
import path from 'node:path';
import { ThawError } from '../errors.js';
import type { Checkpoint, TensorEntry } from '../formats/types.js';
import { readConfig } from '../hub/config.js';
import type { HubConfig } from '../hub/config.js';
import { isHubName } from '../hub/name.js';
import { pull } from '../hub/pull.js';
import { fromTimm, timmNames } from '../zoo/index.js';
import type { Norm, TimmNetwork } from '../zoo/index.js';
import type { Design } from './design.js';
import type { ReadOptions } from './weights.js';

/** A file of weights on this machine. */
export interface Located {
  path: string;
  config: HubConfig | null;
  notes: string[];
}

/** A path as it is; a name of the hub after its files were fetched. Throws what `pull` throws, ERR_HUB_CONFIG. */
export async function locate(file: string, { signal, onProgress }: ReadOptions): Promise<Located> {
  if (!isHubName(file)) return { path: file, config: null, notes: [] };
  const found = await pull(file, { signal, onProgress: (progress) => onProgress?.({ task: 'fetch', ...progress }) });
  const described = found.files.find(({ name }) => path.posix.basename(name) === 'config.json');
  const config = described && described.path !== found.path ? await readConfig(described.path) : null;
  return { path: found.path, config, notes: [...found.notes, ...(config?.notes ?? [])] };
}

/** What to load: a file's tensors in the zoo's names, and the architecture; `norm`: its batch norms, if they are others. */
export interface Translated<T> {
  checkpoint: Checkpoint;
  architecture: T | string;
  norm?: Norm | undefined;
}

/**
 * The architecture to load is the one that the user or else the configuration names.
 * @throws ERR_UNKNOWN_ARCHITECTURE the configuration names one that the zoo does not have
 */
export function translate<T>(file: Checkpoint, architecture: T, { config, notes }: Located): Translated<T> {
  // A file that brings its graph needs no architecture.
  const own = file.network !== undefined || 'thaw.network' in file.metadata;
  const asked = architecture ?? (own ? undefined : (config?.architecture ?? undefined));
  const timm = typeof asked === 'string' ? fromTimm(asked) : undefined;
  if (architecture === undefined && asked !== undefined) checkKnown(file, config!, timm);
  if (!timm) return { checkpoint: file, architecture };
  const checkpoint = inZooNames(file, timm);
  if (checkpoint !== file)
    notes.push(`tensors with timm's names of '${String(asked)}' are read as '${timm.architecture}'`);
  return { checkpoint, architecture: timm.architecture, norm: timm.norm };
}

function checkKnown(file: Checkpoint, { architecture, changes }: HubConfig, timm: TimmNetwork | undefined): void {
  if (timm && changes.length === 0) return;
  const known = timm
    ? `'${architecture}' as it is`
    : `one of timm's networks that thaw has (${timmNames().join(', ')})`;
  const received = timm ? `changes of it: ${changes.join(', ')}` : `'${architecture}'`;
  throw new ThawError(
    'ERR_UNKNOWN_ARCHITECTURE',
    `expected ${known} for the configuration of '${file.path}', received ${received}; give { architecture }: a name or a graph`,
  );
}

function inZooNames(file: Checkpoint, { rename, reshape }: TimmNetwork): Checkpoint {
  if ([...file.tensors.keys()].every((name) => rename(name) === name)) return file;
  const tensors = [...file.tensors].map(([name, entry]): [string, TensorEntry] => {
    const other = rename(name);
    // Bytes with gaps or in another order cannot be read under another shape.
    const strided = 'strides' in entry.source;
    return [other, { ...entry, name: other, shape: strided ? entry.shape : reshape(other, entry.shape) }];
  });
  const aliases = [...file.aliases].map(([alias, name]) => [rename(alias), rename(name)] as const);
  return { ...file, tensors: new Map(tensors), aliases: new Map(aliases) };
}

/** A design with the labels and the preprocessing of the configuration, where the weights do not bring their own. */
export function configured(design: Design, { config, notes }: Located): Design {
  if (!config) return design;
  const { labels, preprocessing } = config;
  const { outputs } = design.head;
  const channels = design.input?.channels ?? design.preprocessing?.channels;
  const takesLabels = !design.labels && labels?.length === outputs;
  if (labels && !design.labels && !takesLabels)
    notes.push(`the configuration has ${labels.length} labels for ${outputs} outputs: they are left out`);
  const fits = preprocessing !== null && (channels === undefined || channels === preprocessing.channels);
  if (preprocessing && !fits)
    notes.push(
      `the configuration's preprocessing has ${preprocessing.channels} channels for ${channels}: it is left out`,
    );
  const takesPreprocessing = fits && design.preprocessing?.source !== 'file';
  return {
    ...design,
    labels: takesLabels ? labels : design.labels,
    ...(takesPreprocessing && { preprocessing, input: sizeOf(preprocessing) }),
  };
}

function sizeOf({ crop, resize, channels }: NonNullable<HubConfig['preprocessing']>): Design['input'] {
  const size = crop ?? resize;
  const [height, width] = typeof size === 'number' ? [size, size] : size;
  return { channels, height, width };
}
