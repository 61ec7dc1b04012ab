import { pictureStore } from '../data/store.js';
import type { ReadingWork, SkippedFile } from '../data/types.js';
import { expected } from '../errors.js';
import type { Network } from '../network/network.js';
import { batchSizes, stepsPerEpoch, withNext } from './batches.js';
import { FIXED } from './defaults.js';
import type { StartEvent } from './events.js';
import type { FeatureCache, Feed } from './feature-cache.js';
import { headParameters } from './head.js';
import type { Settings, TrainingData } from './options.js';
import type { Phase } from './phases.js';
import type { RunControl } from './run.js';
import { Source } from './source.js';
import type { SourceOptions } from './source.js';
import { agreeOnLabels, allTargets, isStream, lossSetup, scalingOf, targetEncoding } from './targets.js';
import type { Stopwatch } from './times.js';
import { ORIGIN } from './update.js';

/** What a run works on, made once at its beginning. */
export interface SetUp {
  net: Network;
  source: Source;
  validation: Source | undefined;
  feed: Feed;
  settings: Settings;
  /** What reading pictures has taken so far. */
  reading: ReadingWork;
}

/**
 * Looks at data and network: labels, scaling of targets, weights of the loss, shapes.
 * @throws ERR_LABELS, ERR_DATA, ERR_OPTION
 */
export async function setUp(
  net: Network,
  data: TrainingData,
  settings: Settings,
  control: RunControl,
  onSkip: (file: SkippedFile) => void,
): Promise<SetUp> {
  checkData(data);
  agreeOnLabels(net, data, 'the training data');
  if (settings.validation) agreeOnLabels(net, settings.validation, 'the validation data');
  const targets = await neededTargets(net, data, settings, control.signal);
  if (net.head.kind === 'regression' && !net.head.scaling && targets) {
    net.setHeadMeaning({ scaling: scalingOf(targets, net.head.outputs) });
  }
  const loss = lossSetup(net, settings, targets);
  const reading: ReadingWork = { read: 0, decode: 0, prepare: 0 };
  const options = { ...sourceOptions(net, settings), onSkip, work: reading };
  const source = new Source(data, {
    ...options,
    augment: settings.augment,
    pictures: pictureStore(FIXED.decodedBytes),
  });
  const validation =
    settings.validation && new Source(settings.validation, { ...options, pictures: pictureStore(FIXED.decodedBytes) });
  const feed: Feed = {
    graph: net.trainingGraph(net.head.kind, loss.options),
    inputShapes: await source.inputShapes(control.signal),
    constants: loss.inputs,
  };
  return { net, source, validation, feed, settings, reading };
}

function checkData(data: TrainingData): void {
  if (!isStream(data) && data.length < 1)
    throw expected('ERR_DATA', 'at least one sample', 'the training data', data.length);
}

/**
 * A schedule is a share of the whole run, which nobody knows of a stream.
 * @throws ERR_OPTION
 */
export function checkSchedules(data: TrainingData, phases: readonly Phase[]): void {
  const moving = phases.find(({ schedule }) => schedule.kind !== 'constant' || schedule.warmup);
  if (!isStream(data) || !moving) return;
  const { kind, warmup } = moving.schedule;
  const received = kind === 'constant' ? `constant with a warm-up of ${warmup}` : kind;
  const what = "schedule 'constant', or data with a length,";
  throw expected('ERR_OPTION', what, `phase '${moving.name}' on a stream, whose length is not known`, received);
}

/** All targets, where something depends on them before training begins; null: nothing does, or a stream. */
async function neededTargets(net: Network, data: TrainingData, settings: Settings, signal: AbortSignal) {
  const scales = net.head.kind === 'regression' && !net.head.scaling;
  if (isStream(data) || !(scales || settings.classWeights === 'balanced')) return null;
  return allTargets(data, signal);
}

function sourceOptions(net: Network, { seed, strict, cache }: Settings): SourceOptions {
  return {
    content: cache === 'disk',
    session: net.session,
    ...(net.preprocessing && { preprocessing: net.preprocessing }),
    ...(net.graph.inputs[0] && { input: net.graph.inputs[0].name }),
    target: targetEncoding(net),
    seed,
    strict,
  };
}

/** The event that opens a run. */
export function startEvent(
  { net, source, validation, settings }: SetUp,
  phases: Phase[],
  resumed: boolean,
): StartEvent {
  const count = (all: { shape: number[] }[]): number =>
    all.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  const parameters = net.parameters().filter(({ state }) => !state);
  const { batch, accumulate } = settings;
  return {
    type: 'start',
    samples: source.length,
    validationSamples: validation?.length ?? null,
    trainableParameters: count(parameters.filter(({ trainable }) => trainable)),
    parameters: count(parameters),
    epochs: phases.reduce((sum, phase) => sum + phase.epochs, 0),
    stepsPerEpoch: source.length === null ? null : stepsPerEpoch(source.length, batch, accumulate),
    batch,
    resumed,
  };
}

/** Rows of all batches of a step, where every file can be read; for a stream those of full batches. */
export function rowsOfStep({ source, settings }: SetUp, step: number): number {
  const { batch, accumulate } = settings;
  if (source.length === null) return batch * accumulate;
  const sizes = batchSizes(source.length, batch).slice(step * accumulate, (step + 1) * accumulate);
  return sizes.reduce((sum, size) => sum + size, 0) || batch * accumulate;
}

/**
 * Sends every sample that has not been there through the frozen part and keeps what comes out, as far as there is room:
 * the training samples in the version of this epoch, and those of validation.
 */
export async function fillFeatures(
  { source, validation }: SetUp,
  features: FeatureCache,
  version: number,
  control: RunControl,
  clock: Stopwatch,
): Promise<void> {
  const parts = [{ source, version }, ...(validation ? [{ source: validation, version: 0 }] : [])];
  for (const part of parts) {
    if (part.source.surveyed(part.version, features) || features.full) continue;
    let done = 0;
    const batches = withNext(part.source.survey(part.version, features, control.signal));
    for await (const { batch, next } of clock.waiting(batches)) {
      await clock.time('features', () => features.fill(batch, control.signal, next));
      done += batch.size;
      control.emit({ type: 'progress', task: 'features', done, total: part.source.length });
      if (features.full) break;
    }
  }
}

/** For L2-SP: where weight decay pulls each trainable parameter. The body to where it is now, once; the head to zero. */
export async function keepOrigin(net: Network): Promise<void> {
  const there = new Set((await net.store.list()).map(({ name }) => name));
  const head = new Set(headParameters(net));
  const fresh = net.parameters().filter(({ name, trainable }) => trainable && !there.has(ORIGIN + name));
  const body = fresh.filter(({ name }) => !head.has(name)).map(({ name }) => name);
  if (body.length > 0) await net.session.submit('copy', { from: body, to: body.map((name) => ORIGIN + name) });
  const zeros = fresh.filter(({ name }) => head.has(name));
  if (zeros.length === 0) return;
  const tensors = zeros.map(({ name, shape }) => ({ name: ORIGIN + name, dtype: 'F32', shape }));
  const values = zeros.map(({ shape }) => new Float32Array(shape.reduce((product, size) => product * size, 1)));
  await net.session.submit('put', { tensors }, values);
}
