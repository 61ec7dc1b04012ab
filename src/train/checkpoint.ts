import { createHash } from 'node:crypto';
import { access } from 'node:fs/promises';
import type { Dataset } from '../data/types.js';
import { expected, ThawError } from '../errors.js';
import { openCheckpoint, safetensorsHeader } from '../formats/checkpoint.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import type { Network } from '../network/network.js';
import type { Settings, TrainingData } from './options.js';
import type { TrainingState } from './state.js';
import { isStream } from './targets.js';
import { BEST, OPTIMIZER, ORIGIN } from './update.js';

/**
 * A training checkpoint is one safetensors file, replaced whole or not at all: every tensor that training has changed or
 * needs (weights, running statistics, `optimizer/…`, `best/…`, `origin/…`), and in its metadata, under `thaw.training`, the
 * marks, the position and what must be the same for the same bits to come out. Random draws need no state: each depends on the
 * seed and its place alone. Features and augmented pictures are computed anew.
 */
const KEY = 'thaw.training';
const VERSION = 1;

/** What must agree between the run that wrote a checkpoint and the one that goes on from it. */
export interface Identity {
  /** Settings that decide over bits; `epochs` may differ. */
  settings: Record<string, unknown>;
  /** Digest of the training samples and their targets, in order; null for a stream. */
  data: string | null;
  labels: readonly string[];
  network: string;
}

interface Header {
  version: number;
  identity: Identity;
  marks: { frozen: string[]; statistics: string[] };
  /** Digest of the network's tensors that are not in the checkpoint: they come from the file it was loaded from. */
  base: string;
  state: TrainingState;
}

const DECIDES = [
  'batch', 'learningRate', 'optimizer', 'momentum', 'nesterov', 'betas', 'eps', 'weightDecay', 'decayNorms', 'l2sp', 'clipNorm',
  'accumulate', 'schedule', 'labelSmoothing', 'classWeights', 'augment', 'variants', 'earlyStopping', 'metric', 'keepBest', 'seed',
] as const satisfies readonly (keyof Settings)[]; // prettier-ignore

/** @param phases what a run of several phases adds: the names, epochs, rates and schedules of each */
export async function identityOf(
  net: Network,
  data: TrainingData,
  settings: Settings,
  phases: object[],
): Promise<Identity> {
  const chosen = Object.fromEntries(DECIDES.map((name) => [name, settings[name] ?? null]));
  const identity = {
    settings: { ...chosen, phases },
    data: await digest(data),
    labels: net.labels,
    network: shapesDigest(net),
  };
  return JSON.parse(JSON.stringify(identity)) as Identity;
}

/** Samples are told by id, else by the last two parts of their path (the data may have been moved), else by their name. */
async function digest(data: TrainingData): Promise<string | null> {
  if (isStream(data)) return null;
  const hash = createHash('sha256');
  for (let i = 0; i < data.length; i++) hash.update(await sampleLine(data, i));
  return hash.digest('hex');
}

async function sampleLine(data: Dataset, i: number): Promise<string> {
  const { id, name, input, target } = await data.get(i);
  const path =
    'picture' in input && typeof input.picture === 'string' ? input.picture.split(/[\\/]/).slice(-2).join('/') : null;
  const plain = target instanceof Float32Array ? [...target] : target;
  return `${JSON.stringify([id ?? path ?? name ?? i, plain ?? null])}\n`;
}

function shapesDigest(net: Network): string {
  const shapes = net.parameters().map(({ name, shape }) => [name, shape]);
  return createHash('sha256').update(JSON.stringify(shapes)).digest('hex');
}

/** Writes the checkpoint: a temporary file beside it, flushed to the disk, then renamed. */
export async function writeCheckpoint(
  net: Network,
  path: string,
  identity: Identity,
  state: TrainingState,
): Promise<void> {
  const kept = new Set(state.touched);
  const training = (name: string): boolean => [OPTIMIZER, BEST, ORIGIN].some((prefix) => name.startsWith(prefix));
  const stored = (await net.store.list()).filter(({ name, modified }) => modified || kept.has(name) || training(name));
  const tensors = stored.map(({ name, dtype, shape }) => ({ name, dtype, shape }));
  const base = await baseDigest(net, new Set(tensors.map(({ name }) => name)));
  const content: Header = { version: VERSION, identity, marks: net.marks, base, state };
  const header = safetensorsHeader(tensors, { format: 'pt', [KEY]: JSON.stringify(content) });
  const request = { path, tensors: tensors.map(({ name }) => name), expected: tensors };
  await net.session.submit('write', request, [header]);
}

/** Of the values of all tensors of the network but those `kept` elsewhere. */
async function baseDigest(net: Network, kept: { has(name: string): boolean }): Promise<string> {
  const names = net.parameters().flatMap(({ name }) => (kept.has(name) ? [] : [name]));
  const { reply } = await net.session.submit('digest', { names });
  return createHash('sha256')
    .update(JSON.stringify([names, reply.digests]))
    .digest('hex');
}

/**
 * Reads a checkpoint into the network: tensors and marks. Gives the position; null where the file does not exist and need not.
 * @throws ERR_RESUME another network, other data or other options than those of the checkpoint; not a training checkpoint
 */
export async function readCheckpoint(
  net: Network,
  { path, required }: { path: string; required: boolean },
  identity: Identity,
): Promise<{ state: TrainingState; otherEpochs: boolean } | null> {
  if (!required && !(await exists(path))) return null;
  const file = await openCheckpoint(path);
  const { identity: written, marks, base, state } = parseHeader(file, path);
  const otherEpochs = compare(path, written, identity);
  if (base !== (await baseDigest(net, file.tensors))) {
    throw new ThawError(
      'ERR_RESUME',
      `expected the weights that the run of '${path}' started from, received other values in tensors that it does not hold`,
    );
  }
  await restoreTensors(net, file);
  net.restoreMarks(marks);
  // What was read counts as unmodified from here on, but the checkpoints that follow must hold it all the same.
  const own = net.parameters().flatMap(({ name }) => (file.tensors.has(name) ? [name] : []));
  return { state: { ...state, touched: [...new Set([...state.touched, ...own])] }, otherEpochs };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function parseHeader(file: Checkpoint, path: string): Header {
  const text = file.metadata[KEY];
  if (text === undefined)
    throw expected('ERR_RESUME', 'a checkpoint of a training run', `'${path}'`, 'a file without training state');
  const header = JSON.parse(text) as Header;
  if (header.version !== VERSION) {
    throw expected(
      'ERR_RESUME',
      `version ${VERSION} (this thaw reads no other)`,
      `checkpoint '${path}'`,
      header.version,
    );
  }
  return header;
}

/** Throws at the first difference; tells whether the number of epochs is another. */
function compare(path: string, written: Identity, present: Identity): boolean {
  const differ = (what: string, was: unknown, is: unknown): ThawError =>
    new ThawError(
      'ERR_RESUME',
      `expected ${what} ${JSON.stringify(was)} for going on from '${path}', received ${JSON.stringify(is)}`,
    );
  const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
  if (!same(written.labels, present.labels)) throw differ('the labels', written.labels, present.labels);
  if (written.network !== present.network) {
    throw new ThawError(
      'ERR_RESUME',
      `expected the network that '${path}' was written for, received other names or shapes of tensors`,
    );
  }
  if (written.data !== present.data) {
    throw new ThawError(
      'ERR_RESUME',
      `expected the training data that '${path}' was written for, received other samples or targets`,
    );
  }
  for (const name of DECIDES) {
    const [was, is] = [written.settings[name], present.settings[name]];
    if (!same(was, is)) throw differ(`option '${name}'`, was, is);
  }
  const phases = (identity: Identity): object[] => identity.settings.phases as object[];
  const bare = (identity: Identity): object[] => phases(identity).map((phase) => ({ ...phase, epochs: 0 }));
  if (!same(bare(written), bare(present))) throw differ('the recipe', phases(written), phases(present));
  return !same(phases(written), phases(present));
}

async function restoreTensors(net: Network, file: Checkpoint): Promise<void> {
  const shapes = new Map(net.parameters().map(({ name, shape }) => [name, shape]));
  const tensors = [...file.tensors.values()].map(({ name, dtype, shape, source }) => {
    const own = shapes.get(name);
    if (own && JSON.stringify(own) !== JSON.stringify(shape))
      throw expected('ERR_RESUME', `shape [${own}]`, `tensor '${name}'`, shape);
    if (!('path' in source)) throw expected('ERR_RESUME', 'a safetensors file', `'${file.path}'`, file.format);
    return { name, dtype, shape, offset: source.offset };
  });
  const left = (await net.store.list()).map(({ name }) => name);
  const names = left.filter(
    (name) => [OPTIMIZER, BEST, ORIGIN].some((prefix) => name.startsWith(prefix)) && !file.tensors.has(name),
  );
  if (names.length > 0) await net.session.submit('drop', { names });
  await net.session.submit('read', { path: file.path, tensors });
}
