/** Where a command's words go: results to standard output, progress and messages to standard error. */
import type { FitEvent } from '../train/events.js';
import { formatEvent } from '../train/format.js';

export interface OutputOptions {
  json: boolean;
  events: boolean;
}

const BAR_WIDTH = 24;
/** A terminal is redrawn this often at most, in milliseconds. */
const REDRAW = 80;

export class Output {
  readonly json: boolean;
  readonly #events: boolean;
  readonly #terminal = process.stderr.isTTY === true;
  #bar = '';
  #drawn = 0;

  constructor(options: OutputOptions) {
    this.json = options.json;
    this.#events = options.json && options.events;
  }

  /** The result: text for people, or one line of JSON. */
  result(value: object, human: string): void {
    this.#clear();
    process.stdout.write(
      this.json ? `${JSON.stringify(value, replacer)}\n` : human.endsWith('\n') ? human : `${human}\n`,
    );
  }

  /** A line about the work, on standard error. */
  say(line: string): void {
    this.#clear();
    process.stderr.write(`${line}\n`);
    this.#draw(true);
  }

  warn(line: string): void {
    this.say(`warning: ${line}`);
  }

  /** Progress of some work: a bar on a terminal, nothing in a pipe (where lines about whole epochs say enough). */
  progress(task: string, done: number, total: number | null): void {
    if (!this.#terminal) return;
    const share = total ? Math.min(1, done / total) : 0;
    const filled = Math.round(share * BAR_WIDTH);
    const bar = total
      ? `${'━'.repeat(filled)}${'·'.repeat(BAR_WIDTH - filled)} ${Math.round(share * 100)} %`
      : `${done}`;
    this.#bar = `${task}  ${bar}`;
    if (total && done >= total) this.#bar = '';
    this.#draw(false);
  }

  /** An event of a fit: JSON line, bar or line of text. */
  event(event: FitEvent): void {
    if (this.#events && event.type !== 'end') process.stdout.write(`${JSON.stringify(event, replacer)}\n`);
    switch (event.type) {
      case 'step':
        return this.progress(`epoch ${event.epoch}  loss ${event.loss.toFixed(3)}`, event.step, this.#stepsPerEpoch);
      case 'progress':
        return this.progress(event.task, event.done, event.total);
      case 'start':
        this.#stepsPerEpoch = event.stepsPerEpoch;
        return this.say(formatEvent(event));
      case 'end':
        return this.#clear();
      default:
        return this.say(formatEvent(event));
    }
  }

  #stepsPerEpoch: number | null = null;

  #draw(now: boolean): void {
    if (!this.#terminal || (!now && performance.now() - this.#drawn < REDRAW)) return;
    this.#drawn = performance.now();
    process.stderr.write(`\r\x1b[2K${this.#bar}`);
  }

  #clear(): void {
    if (this.#terminal) process.stderr.write('\r\x1b[2K');
  }
}

/** Typed arrays as plain arrays, numbers that are not finite as null. */
function replacer(_key: string, value: unknown): unknown {
  if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    return Array.from(value as unknown as ArrayLike<number>);
  return value;
}
