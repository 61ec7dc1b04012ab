import { percent, textTable } from '../report/text.js';
import type { ReadingWork } from '../data/types.js';

/** Where the time of some training went, in milliseconds; the parts do not overlap. */
export interface Times {
  /** Waiting for pictures or other samples: what reading ahead could not hide. */
  data: number;
  /** The frozen part, for samples whose features are not cached. */
  features: number;
  /** Forward and backward of what is trained, from features to gradients. */
  step: number;
  /** Applying gradients to weights. */
  update: number;
  /** Scores of the validation data, and metrics. */
  validation: number;
  /** The rest: preparing, checkpoints, telling of events. */
  other: number;
}

/** Where the time of a whole run went. */
export interface RunTimes extends Times {
  /** What reading pictures took beside training, summed over those read at the same time. */
  reading: ReadingWork;
}

type Part = Exclude<keyof Times, 'other'>;

/** Adds up times by part. */
export class Stopwatch {
  readonly parts: Record<Part, number> = { data: 0, features: 0, step: 0, update: 0, validation: 0 };
  #begun = performance.now();

  add(part: Part, milliseconds: number): void {
    this.parts[part] += milliseconds;
  }

  /** Runs and counts the time as that of a part. */
  async time<T>(part: Part, work: () => Promise<T>): Promise<T> {
    const begun = performance.now();
    try {
      return await work();
    } finally {
      this.add(part, performance.now() - begun);
    }
  }

  /** The same items; waiting for each counts as waiting for data. */
  async *waiting<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
    let begun = performance.now();
    for await (const item of items) {
      this.add('data', performance.now() - begun);
      yield item;
      begun = performance.now();
    }
    this.add('data', performance.now() - begun);
  }

  /** All since the last lap: milliseconds by part, `other` being what no part took. Begins the next lap. */
  lap(): Times {
    const now = performance.now();
    const spent = Object.values(this.parts).reduce((sum, part) => sum + part, 0);
    const times = { ...this.parts, other: Math.max(0, now - this.#begun - spent) };
    this.#begun = now;
    for (const part of Object.keys(this.parts) as Part[]) this.parts[part] = 0;
    return times;
  }
}

export const noTimes = (): Times => ({ data: 0, features: 0, step: 0, update: 0, validation: 0, other: 0 });

export function addTimes(sum: Times, more: Times): void {
  for (const part of Object.keys(more) as (keyof Times)[]) sum[part] += more[part];
}

const PARTS: Record<keyof Times, string> = {
  data: 'waiting for data',
  features: 'frozen part',
  step: 'forward and backward',
  update: 'update',
  validation: 'validation',
  other: 'other',
};

/** Where the time of a run went, as a table and two sentences. */
export function formatTimes({ reading, ...times }: RunTimes): string {
  const total = Object.values(times).reduce((sum, part) => sum + part, 0);
  const seconds = (ms: number): string => (ms / 1000).toFixed(2);
  const share = (ms: number): string => percent(total > 0 ? ms / total : 0);
  const rows = (Object.keys(PARTS) as (keyof Times)[]).map((part) => [
    PARTS[part],
    seconds(times[part]),
    share(times[part]),
  ]);
  const table = textTable([['time', 'seconds', 'share'], ...rows, ['all', seconds(total), share(total)]], [1, 2]);
  const { read, decode, prepare } = reading;
  const work = `reading ${seconds(read)} s, decoding ${seconds(decode)} s, resizing and normalising ${seconds(prepare)} s`;
  return `${table}\n\nPictures, beside training and several at a time: ${work}.\n${verdict(times, total)}`;
}

function verdict(times: Times, total: number): string {
  const waited = percent(total > 0 ? times.data / total : 0);
  const [most] = (Object.keys(PARTS) as (keyof Times)[]).sort((a, b) => times[b] - times[a]);
  return `Training waited for data during ${waited} of the time; most of it went to: ${PARTS[most!]}.`;
}
