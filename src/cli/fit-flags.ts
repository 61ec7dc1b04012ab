/** The options of `fit` as flags, both ways: the table for the help, and the options made of what was given. */
import { FINE_TUNE_DEFAULTS, FIT_DEFAULTS } from '../train/defaults.js';
import type { FineTuneOptions } from '../train/fine-tune.js';
import type { FitOptions } from '../train/options.js';
import { layerwise } from '../train/rates.js';
import { SCHEDULE_NAMES, toSchedule } from '../train/schedule.js';
import type { ScheduleName } from '../train/schedule.js';
import { choice, flag, number, numbers, parseNumber, text, UsageError } from './flags.js';
import type { Flag, FlagKind, Values } from './flags.js';

type Option = keyof typeof FIT_DEFAULTS;

/** Options that a command line cannot give: a signal (Ctrl-C is one) and functions. */
export const NOT_FLAGS: readonly Option[] = ['signal', 'metrics'];
/** A flag that every command has. */
const COMMON: readonly Option[] = ['seed'];

/** How each option looks where it is not simply a number. */
const FORMS: Partial<Record<Option, { kind: FlagKind; value?: string; text?: string }>> = {
  learningRate: {
    kind: 'text',
    value: 'RATE',
    text: `Rate at the peak of the schedule: a number, or LOW:HIGH from the lowest layer to the head. Default ${FIT_DEFAULTS.learningRate.value}.`,
  },
  optimizer: { kind: 'text', value: 'NAME' },
  nesterov: { kind: 'switch' },
  betas: { kind: 'text', value: 'A,B' },
  decayNorms: {
    kind: 'switch',
    text: '--no-decay-norms: no weight decay for biases and the scales and shifts of norms.',
  },
  l2sp: { kind: 'switch' },
  schedule: {
    kind: 'text',
    value: 'NAME',
    text: `${SCHEDULE_NAMES.join(', ')}; NAME:SHARE warms up during that share of the run. Default ${FIT_DEFAULTS.schedule.value}.`,
  },
  classWeights: { kind: 'text', value: 'WEIGHTS', text: "'balanced', or a number a class: 1,2.5,1." },
  augment: { kind: 'switch', text: 'Random changes of training pictures: crop, flip, brightness, contrast.' },
  validation: {
    kind: 'text',
    value: 'PART',
    text: 'Part of the training pictures kept for validation where the data has none (default 0.2; 0: none), or a folder or list of its own.',
  },
  earlyStopping: {
    kind: 'text',
    value: 'N',
    text: 'Stop when validation has not improved for N epochs; METRIC:N chooses the metric.',
  },
  keepBest: {
    kind: 'switch',
    text: 'End with the weights of the best epoch, by loss or the metric of --early-stopping. On with --early-stopping.',
  },
  checkpoint: {
    kind: 'text',
    value: 'FILE',
    text: 'File from which a run goes on with the same bits; FILE:N writes it every N steps as well. Default: beside --out.',
  },
  resume: { kind: 'switch', text: 'Go on from the checkpoint, where it exists.' },
  strict: { kind: 'switch' },
  cache: {
    kind: 'text',
    value: 'WHERE',
    text: "Where features of the frozen part are kept: 'memory' (for this fit), 'disk' (later fits on the same pictures start at once) or 'off'. Default memory.",
  },
  cacheBytes: {
    kind: 'number',
    value: 'BYTES',
    text: 'Most bytes of features that are kept: of memory (default 1GiB; beyond it they are recomputed), with --cache disk of all files of its folder (default 8GiB; the oldest go first). 0: no cache.',
  },
  cacheFolder: {
    kind: 'text',
    value: 'DIR',
    text: 'The folder of --cache disk. Default: thaw/features in $XDG_CACHE_HOME or ~/.cache.',
  },
};

export const kebab = (name: string): string => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

/** The default of the recipe, where it has another. */
function fineTuned(name: Option): string {
  const other = (FINE_TUNE_DEFAULTS as Partial<Record<Option, { value: unknown }>>)[name];
  return other ? ` With --recipe fine-tune: ${String(other.value)}.` : '';
}

const valueOf = ({ value }: { value?: string }) => (value === undefined ? {} : { value });

/** The flags of `thaw fit` that are options of `fit`. */
export const FIT_FLAGS: readonly Flag[] = (Object.keys(FIT_DEFAULTS) as Option[])
  .filter((name) => !NOT_FLAGS.includes(name) && !COMMON.includes(name))
  .map((name) => {
    const form = FORMS[name] ?? { kind: 'number' as const, value: 'N' };
    const { value, text: sentence } = FIT_DEFAULTS[name] as { value: unknown; text: string };
    const shown = value === undefined || form.kind === 'switch' || form.text ? '' : ` Default ${String(value)}.`;
    return {
      name: kebab(name),
      kind: form.kind,
      text: `${form.text ?? sentence}${shown}${fineTuned(name)}`,
      ...valueOf(form),
    };
  });

type FineTuneOption = keyof typeof FINE_TUNE_DEFAULTS;
const FINE_TUNE_ONLY = (Object.keys(FINE_TUNE_DEFAULTS) as FineTuneOption[]).filter(
  (name) => !Object.hasOwn(FIT_DEFAULTS, name),
);

/** What `fineTune` has on top of them. */
export const FINE_TUNE_FLAGS: readonly Flag[] = FINE_TUNE_ONLY.map((name) => {
  const { value, text } = FINE_TUNE_DEFAULTS[name];
  return { name: kebab(name), kind: 'number', value: 'N', text: `With --recipe fine-tune: ${text} Default ${value}.` };
});

/** What the recipe decides by itself. */
const RECIPE_DECIDES = ['learning-rate', 'schedule', 'freeze', 'unfreeze'];

/** The options of `fineTune` that the flags give beside those of `fit`. Throws UsageError where a flag contradicts the recipe. */
export function fineTuneOptions(
  values: Values,
): Pick<FineTuneOptions, 'freezeEpochs' | 'baseLearningRate' | 'rateRatio'> {
  const against = RECIPE_DECIDES.find((name) => values[name] !== undefined);
  if (against) throw new UsageError(`--recipe fine-tune chooses --${against} by itself: leave it out`);
  return Object.fromEntries(
    FINE_TUNE_ONLY.flatMap((name) => (values[kebab(name)] === undefined ? [] : [[name, number(values, kebab(name))]])),
  );
}

/** Throws UsageError where flags of `fineTune` are given to `fit`. */
export function refuseFineTuneFlags(values: Values): void {
  const given = FINE_TUNE_FLAGS.find(({ name }) => values[name] !== undefined);
  if (given) throw new UsageError(`--${given.name} needs --recipe fine-tune`);
}

function rate(values: Values): FitOptions['learningRate'] {
  const given = text(values, 'learning-rate');
  if (given === undefined) return undefined;
  const [low, high, ...rest] = given.split(':').map((part) => parseNumber(part, 'learning-rate'));
  if (rest.length > 0) throw new UsageError(`expected RATE or LOW:HIGH for --learning-rate, received '${given}'`);
  return high === undefined ? low! : layerwise(low!, high);
}

/** 'NAME' or 'NAME:SHARE'. */
function schedule(values: Values): FitOptions['schedule'] {
  const given = text(values, 'schedule');
  if (given === undefined) return undefined;
  const [name, share, ...rest] = given.split(':');
  if (rest.length > 0 || !(SCHEDULE_NAMES as string[]).includes(name!))
    throw new UsageError(`expected ${SCHEDULE_NAMES.join(', ')} (or NAME:SHARE) for --schedule, received '${given}'`);
  if (share === undefined) return name as ScheduleName;
  return toSchedule({ ...toSchedule(name as ScheduleName), warmup: parseNumber(share, 'schedule') });
}

function earlyStopping(values: Values): FitOptions['earlyStopping'] {
  const given = text(values, 'early-stopping');
  if (given === undefined) return undefined;
  const [patience, metric] = given.split(':').reverse();
  return { patience: parseNumber(patience!, 'early-stopping'), ...(metric && { metric }) };
}

function classWeights(values: Values): FitOptions['classWeights'] {
  return text(values, 'class-weights') === 'balanced' ? 'balanced' : numbers(values, 'class-weights');
}

function betas(values: Values): FitOptions['betas'] {
  const given = numbers(values, 'betas');
  if (given && given.length !== 2) throw new UsageError(`expected two numbers for --betas, received ${given.length}`);
  return given as [number, number] | undefined;
}

/** 'FILE' or 'FILE:STEPS'. */
export function checkpointOf(given: string): { path: string; every: 'epoch' | number } {
  const match = /^(.*):(\d+)$/.exec(given);
  return match ? { path: match[1]!, every: Number(match[2]) } : { path: given, every: 'epoch' };
}

/** The options of `fit` that the flags give; what was not given is absent. `validation` is the command's business. */
export function fitOptions(values: Values): FitOptions {
  const checkpoint = text(values, 'checkpoint');
  const options: { [K in Option]?: FitOptions[K] } = {
    epochs: number(values, 'epochs'),
    batch: number(values, 'batch'),
    learningRate: rate(values),
    optimizer: choice(values, 'optimizer', ['sgd', 'adam', 'adamw']),
    momentum: number(values, 'momentum'),
    nesterov: flag(values, 'nesterov'),
    betas: betas(values),
    eps: number(values, 'eps'),
    weightDecay: number(values, 'weight-decay'),
    decayNorms: flag(values, 'decay-norms'),
    l2sp: flag(values, 'l2sp'),
    clipNorm: number(values, 'clip-norm'),
    accumulate: number(values, 'accumulate'),
    schedule: schedule(values),
    labelSmoothing: number(values, 'label-smoothing'),
    classWeights: classWeights(values),
    augment: flag(values, 'augment'),
    variants: number(values, 'variants'),
    cache: choice(values, 'cache', ['memory', 'disk', 'off']),
    cacheBytes: number(values, 'cache-bytes'),
    cacheFolder: text(values, 'cache-folder'),
    earlyStopping: earlyStopping(values),
    keepBest: flag(values, 'keep-best'),
    checkpoint: checkpoint === undefined ? undefined : checkpointOf(checkpoint),
    resume: flag(values, 'resume'),
    seed: number(values, 'seed'),
    strict: flag(values, 'strict'),
  } as { [K in Option]?: FitOptions[K] };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as FitOptions;
}
