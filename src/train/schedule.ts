import { expected } from '../errors.js';

/**
 * How the learning rate moves over a run. A schedule is plain data (it is stored in training checkpoints); make one
 * with `constant()`, `step()`, `cosine()`, `oneCycle()` or `slantedTriangular()`.
 *
 * Each yields a factor on the base learning rate at a position of the run (0 = first step, 1 = end). `warmup` is the
 * share of the run (0 … 1, default 0) during which the factor first rises linearly towards the schedule; the schedule
 * itself is stretched over what remains.
 */
export type Schedule = { warmup?: number } & (
  | { kind: 'constant' }
  | { kind: 'step'; every: number; factor: number }
  | { kind: 'cosine'; end: number }
  | { kind: 'oneCycle'; rise: number; div: number; divFinal: number; momentum: [high: number, low: number] | null }
  | { kind: 'slantedTriangular'; cut: number; ratio: number }
);

interface Warmup {
  /** Share of the run with a linear rise from 0, 0 … 1. Default 0. */
  warmup?: number;
}

/** The learning rate stays as it is. */
export function constant(options: Warmup = {}): Schedule {
  return { kind: 'constant', ...options };
}

/** Multiplied by `factor` (default 0.1) after each `every` share of the run (default 1/3: twice in a run). */
export function step(options: Warmup & { every?: number; factor?: number } = {}): Schedule {
  return { every: 1 / 3, factor: 0.1, ...options, kind: 'step' };
}

/** Half a cosine from 1 to `end` (a factor, default 0). Loshchilov and Hutter, 2016, without restarts. */
export function cosine(options: Warmup & { end?: number } = {}): Schedule {
  return { end: 0, ...options, kind: 'cosine' };
}

/**
 * One cycle (Smith, 2018; fastai's cosine form and defaults): from 1/div up to 1 during the share `rise` (0.25), down to
 * 1/divFinal at the end. Momentum (beta1 of Adam) moves the other way, from 0.95 to 0.85 and back; `momentum: null` leaves it.
 * @param options.div 25 @param options.divFinal 1e5
 */
export function oneCycle(
  options: Warmup & { rise?: number; div?: number; divFinal?: number; momentum?: [number, number] | null } = {},
): Schedule {
  return { rise: 0.25, div: 25, divFinal: 1e5, momentum: [0.95, 0.85], ...options, kind: 'oneCycle' };
}

/**
 * Slanted triangular (Howard and Ruder, 2018, ULMFiT): linear from 1/ratio up to 1 during the share `cut` (0.1), then
 * linear back to 1/ratio (ratio 32).
 */
export function slantedTriangular(options: Warmup & { cut?: number; ratio?: number } = {}): Schedule {
  return { cut: 0.1, ratio: 32, ...options, kind: 'slantedTriangular' };
}

/** What a schedule says at one step: a factor on the learning rate, and a momentum where it moves that too. */
export interface ScheduleValue {
  factor: number;
  momentum?: number;
}

/** The schedule at `step` (0 … steps-1) of a run of `steps` updates. */
export function scheduleAt(schedule: Schedule, step: number, steps: number): ScheduleValue {
  const warm = Math.round((schedule.warmup ?? 0) * steps);
  const rest = Math.max(1, steps - warm);
  // The last step stands at rest-1 of rest positions, so that a cosine ends on its end value.
  const position = Math.min(1, Math.max(0, step - warm) / Math.max(1, rest - 1));
  const value = shape(schedule, position, Math.max(0, step - warm) / rest);
  if (step < warm) value.factor *= (step + 1) / (warm + 1);
  return value;
}

function shape(schedule: Schedule, position: number, elapsed: number): ScheduleValue {
  switch (schedule.kind) {
    case 'constant':
      return { factor: 1 };
    case 'step':
      // The margin keeps thirds from falling a step late by rounding.
      return { factor: schedule.factor ** Math.floor(elapsed / schedule.every + 1e-9) };
    case 'cosine':
      return { factor: anneal(1, schedule.end, position) };
    case 'oneCycle':
      return cycle(schedule, position);
    case 'slantedTriangular': {
      const { cut, ratio } = schedule;
      const height = position < cut ? position / cut : (1 - position) / Math.max(1 - cut, 1e-12);
      return { factor: (1 + height * (ratio - 1)) / ratio };
    }
  }
}

function cycle(schedule: Extract<Schedule, { kind: 'oneCycle' }>, position: number): ScheduleValue {
  const { rise, div, divFinal, momentum } = schedule;
  const rising = position < rise;
  const along = rising ? position / rise : (position - rise) / Math.max(1 - rise, 1e-12);
  const factor = rising ? anneal(1 / div, 1, along) : anneal(1, 1 / divFinal, along);
  if (!momentum) return { factor };
  const [high, low] = momentum;
  return { factor, momentum: rising ? anneal(high, low, along) : anneal(low, high, along) };
}

/** Half a cosine between two values. */
function anneal(from: number, to: number, along: number): number {
  return from + ((to - from) * (1 - Math.cos(Math.PI * along))) / 2;
}

const KINDS = { constant, step, cosine, oneCycle, slantedTriangular };
/** Schedules by name, each with its defaults. */
export type ScheduleName = keyof typeof KINDS;
export const SCHEDULE_NAMES = Object.keys(KINDS) as ScheduleName[];

/** A schedule from its name (with its defaults) or as given; checks its numbers. */
export function toSchedule(given: Schedule | ScheduleName): Schedule {
  const schedule = typeof given === 'string' && Object.hasOwn(KINDS, given) ? KINDS[given]() : given;
  if (typeof schedule !== 'object' || schedule === null || !Object.hasOwn(KINDS, schedule.kind ?? '')) {
    throw expected('ERR_OPTION', `one of ${SCHEDULE_NAMES.join(', ')}`, "option 'schedule'", given);
  }
  checkShare(schedule.warmup ?? 0, 'warmup', 0, 1);
  if (schedule.kind === 'step') checkShare(schedule.every, 'every', 1e-9, 1);
  if (schedule.kind === 'oneCycle') checkShare(schedule.rise, 'rise', 0, 1);
  if (schedule.kind === 'slantedTriangular') checkShare(schedule.cut, 'cut', 0, 1);
  return schedule;
}

function checkShare(value: number, name: string, low: number, high: number): void {
  if (!(value >= low && value <= high))
    throw expected('ERR_OPTION', 'a share of the run, 0 … 1,', `schedule.${name}`, value);
}
