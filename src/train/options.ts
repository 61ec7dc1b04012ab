import type { Augment, Dataset, StreamDataset } from '../data/types.js';
import { expected, ThawError } from '../errors.js';
import { FIT_DEFAULTS, FIXED } from './defaults.js';
import type { CacheOptions } from './feature-cache.js';
import type { Metrics } from './metrics.js';
import type { Layerwise } from './rates.js';
import { toSchedule } from './schedule.js';
import type { Schedule, ScheduleName } from './schedule.js';
import { isStream } from './targets.js';

/** What training and evaluation read: random access, or a stream. */
export type TrainingData = Dataset | StreamDataset;

/** A metric of the user's own: scores before softmax or sigmoid, row-major [n, width], and the targets in the same order. */
export type CustomMetric = (
  scores: { data: Float32Array; shape: [number, number] },
  targets: { data: Int32Array | Float32Array; shape: number[] },
) => number;

/** Options of `fit`; every default is in `FIT_DEFAULTS` and in docs/defaults.md. */
export interface FitOptions {
  epochs?: number;
  batch?: number;
  learningRate?: number | Layerwise;
  optimizer?: 'sgd' | 'adam' | 'adamw';
  momentum?: number;
  nesterov?: boolean;
  betas?: readonly [number, number];
  eps?: number;
  weightDecay?: number;
  decayNorms?: boolean;
  l2sp?: boolean;
  clipNorm?: number | undefined;
  accumulate?: number;
  schedule?: Schedule | ScheduleName;
  labelSmoothing?: number;
  classWeights?: 'balanced' | readonly number[] | undefined;
  augment?: Augment | boolean;
  variants?: number;
  cache?: 'memory' | 'disk' | 'off';
  cacheBytes?: number | undefined;
  cacheFolder?: string | undefined;
  validation?: TrainingData | undefined;
  earlyStopping?: boolean | { metric?: string; patience?: number } | undefined;
  keepBest?: boolean | string | undefined;
  checkpoint?: string | { path: string; every?: 'epoch' | number } | undefined;
  resume?: string | boolean | undefined;
  seed?: number;
  strict?: boolean;
  signal?: AbortSignal | undefined;
  metrics?: Record<string, CustomMetric> | undefined;
}

/** Options with every default filled in and every number checked. */
export interface Settings {
  epochs: number;
  batch: number;
  learningRate: number | Layerwise;
  optimizer: 'sgd' | 'adam' | 'adamw';
  momentum: number;
  nesterov: boolean;
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
  decayNorms: boolean;
  l2sp: boolean;
  clipNorm: number | undefined;
  accumulate: number;
  schedule: Schedule;
  labelSmoothing: number;
  classWeights: 'balanced' | readonly number[] | undefined;
  augment: Augment | boolean;
  variants: number;
  cache: 'memory' | 'disk' | 'off';
  /** 0 where nothing is to be kept. */
  cacheBytes: number;
  cacheFolder: string | undefined;
  validation: TrainingData | undefined;
  earlyStopping: { patience: number } | undefined;
  /** What 'best' means, for early stopping and for the weights that are kept. */
  metric: string;
  keepBest: boolean;
  checkpoint: { path: string; every: 'epoch' | number } | undefined;
  resume: { path: string; required: boolean } | undefined;
  seed: number;
  strict: boolean;
  metrics: Record<string, CustomMetric>;
}

/**
 * Fills in the defaults; the schedule of a stream is constant unless another is given.
 * @throws ERR_OPTION an unknown option, or a value out of its range
 */
export function resolveOptions(options: FitOptions, data: TrainingData): Settings {
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(FIT_DEFAULTS, name)) {
      throw expected('ERR_OPTION', `one of ${Object.keys(FIT_DEFAULTS).join(', ')}`, 'the options of fit', name);
    }
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const defaults = Object.fromEntries(Object.entries(FIT_DEFAULTS).map(([name, { value }]) => [name, value]));
  // What has no known end cannot be scheduled towards it.
  const stream = isStream(data) && { schedule: 'constant' as const };
  const all = { ...defaults, ...stream, ...given } as FitOptions & typeof options;
  checkNumbers(all);
  checkChoices(all);
  const checkpoint = toCheckpoint(all.checkpoint);
  const settings = {
    ...(all as Required<FitOptions>),
    schedule: toSchedule(all.schedule!),
    ...toBest(all),
    cacheBytes: toCacheBytes(all),
    checkpoint,
    resume: toResume(all.resume, checkpoint),
    metrics: all.metrics ?? {},
  };
  delete (settings as FitOptions).signal;
  return settings;
}

type Range = [low: number, high: number, whole: boolean, what: string];
const RANGES: Partial<Record<keyof FitOptions, Range>> = {
  epochs: [1, 1e9, true, 'a whole number, 1 or more,'],
  batch: [1, 1e9, true, 'a whole number, 1 or more,'],
  accumulate: [1, 1e9, true, 'a whole number, 1 or more,'],
  variants: [0, 1e9, true, 'a whole number, 0 or more,'],
  seed: [0, Number.MAX_SAFE_INTEGER, true, 'a whole number from 0 to 2^53-1'],
  momentum: [0, 1, false, 'a number from 0 to 1'],
  eps: [Number.MIN_VALUE, 1, false, 'a number above 0'],
  weightDecay: [0, 1e9, false, 'a number, 0 or more,'],
  clipNorm: [Number.MIN_VALUE, Infinity, false, 'a number above 0'],
  labelSmoothing: [0, 1, false, 'a number from 0 to 1'],
  cacheBytes: [0, Infinity, false, 'a number of bytes'],
};

function checkNumbers(all: FitOptions): void {
  for (const [name, [low, high, whole, what]] of Object.entries(RANGES) as [keyof FitOptions, Range][]) {
    const value = all[name];
    if (value === undefined) continue;
    const right = typeof value === 'number' && value >= low && value <= high && (!whole || Number.isInteger(value));
    if (!right) throw expected('ERR_OPTION', what, `option '${name}'`, value);
  }
  const rate = all.learningRate;
  const rates = typeof rate === 'object' && rate.kind === 'layerwise' ? [rate.low, rate.high] : [rate];
  if (!rates.every((r) => typeof r === 'number' && r > 0 && r < Infinity)) {
    throw expected('ERR_OPTION', 'a number above 0 or layerwise(low, high)', "option 'learningRate'", rate);
  }
  const betas = all.betas!;
  if (betas.length !== 2 || !betas.every((beta) => beta >= 0 && beta < 1)) {
    throw expected('ERR_OPTION', 'two numbers, each 0 or more and below 1,', "option 'betas'", betas);
  }
}

function checkChoices(all: FitOptions): void {
  if (!['sgd', 'adam', 'adamw'].includes(all.optimizer!)) {
    throw expected('ERR_OPTION', "'sgd', 'adam' or 'adamw'", "option 'optimizer'", all.optimizer);
  }
  if (!['memory', 'disk', 'off'].includes(all.cache!)) {
    throw expected('ERR_OPTION', "'memory', 'disk' or 'off'", "option 'cache'", all.cache);
  }
  const weights = all.classWeights;
  if (weights !== undefined && weights !== 'balanced' && !(Array.isArray(weights) && weights.every((w) => w >= 0))) {
    throw expected('ERR_OPTION', "'balanced' or a number, 0 or more, a class", "option 'classWeights'", weights);
  }
}

function toCacheBytes({ cache, cacheBytes, cacheFolder }: FitOptions): number {
  if (cacheFolder !== undefined && (cache !== 'disk' || typeof cacheFolder !== 'string' || cacheFolder === '')) {
    const what = cache === 'disk' ? 'the path of a folder' : "cache: 'disk'";
    throw expected('ERR_OPTION', what, "option 'cacheFolder'", cache === 'disk' ? cacheFolder : `cache '${cache}'`);
  }
  if (cache === 'off') return 0;
  return cacheBytes ?? (cache === 'disk' ? FIXED.diskBytes : FIXED.memoryBytes);
}

/** What the settings say about the cache of features. */
export function cacheOptions({ cache, cacheBytes, cacheFolder }: Settings): CacheOptions {
  const memoryBytes = Math.min(cacheBytes, FIXED.memoryBytes);
  return { kind: cache, bytes: cacheBytes, folder: cacheFolder, memoryBytes };
}

/** Early stopping and best weights share one metric. */
function toBest(all: FitOptions): Pick<Settings, 'earlyStopping' | 'metric' | 'keepBest'> {
  const stopping = all.earlyStopping === true ? {} : all.earlyStopping || undefined;
  const named = typeof all.keepBest === 'string' ? all.keepBest : undefined;
  if (stopping?.metric && named && stopping.metric !== named) {
    throw expected('ERR_OPTION', `the metric of earlyStopping ('${stopping.metric}')`, "option 'keepBest'", named);
  }
  const keepBest = all.keepBest === undefined ? stopping !== undefined : all.keepBest !== false;
  if ((stopping || keepBest) && !all.validation) {
    throw new ThawError(
      'ERR_OPTION',
      `expected validation data for option '${stopping ? 'earlyStopping' : 'keepBest'}', received none`,
    );
  }
  const patience = stopping?.patience ?? FIXED.patience;
  if (!Number.isInteger(patience) || patience < 1) {
    throw expected('ERR_OPTION', 'a whole number, 1 or more,', 'earlyStopping.patience', patience);
  }
  return { earlyStopping: stopping && { patience }, metric: stopping?.metric ?? named ?? 'loss', keepBest };
}

function toCheckpoint(given: FitOptions['checkpoint']): Settings['checkpoint'] {
  if (given === undefined) return undefined;
  const { path, every = 'epoch' } = typeof given === 'string' ? { path: given } : given;
  if (typeof path !== 'string' || path === '') throw expected('ERR_OPTION', 'a path', 'checkpoint.path', path);
  if (every !== 'epoch' && !(Number.isInteger(every) && every >= 1)) {
    throw expected('ERR_OPTION', "'epoch' or a whole number of steps, 1 or more,", 'checkpoint.every', every);
  }
  return { path, every };
}

function toResume(given: FitOptions['resume'], checkpoint: Settings['checkpoint']): Settings['resume'] {
  if (given === undefined || given === false) return undefined;
  if (typeof given === 'string') return { path: given, required: true };
  if (!checkpoint) throw new ThawError('ERR_OPTION', "expected option 'checkpoint' for resume: true, received none");
  return { path: checkpoint.path, required: false };
}

/** Metrics where lower is better; of all others more is. */
const LOWER = new Set(['loss', 'mae', 'rmse']);

/** Is `value` of this metric better than `best`? */
export function isBetter(metric: string, value: number, best: number): boolean {
  return LOWER.has(metric) ? value < best : value > best;
}

/**
 * A metric by name: of the built-in ones a number, or one of `options.metrics`.
 * @throws ERR_OPTION no such metric
 */
export function metricValue(metrics: Metrics & { custom?: Record<string, number> }, name: string): number {
  const own = metrics.custom?.[name];
  if (own !== undefined) return own;
  const value = (metrics as unknown as Record<string, unknown>)[name];
  if (typeof value === 'number') return value;
  const names = Object.entries(metrics).flatMap(([key, v]) => (typeof v === 'number' && key !== 'count' ? [key] : []));
  throw expected(
    'ERR_OPTION',
    `one of ${[...names, ...Object.keys(metrics.custom ?? {})].join(', ')}`,
    'the metric',
    name,
  );
}
