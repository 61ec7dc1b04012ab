/** Where a command's words go: results to standard output, progress and messages to standard error. */
import type { LoadProgress } from '../network/weights.js';
import type { FitEvent } from '../train/events.js';
import { formatEvent } from '../train/format.js';

export interface OutputOptions {
  json: boolean;
  events: boolean;
}

/** '97.8 MB', '612 bytes'. */
const sizeText = (bytes: number): string => (bytes < 1e5 ? `${bytes} bytes` : `${(bytes / 1e6).toFixed(1)} MB`);

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

  /** For `load` and `pull`: what is fetched and read. In a pipe, a line for each file that is fetched. */
  readonly loading = ({ task, file, loaded, total, waiting }: LoadProgress): void => {
    if (waiting !== undefined) return this.say(waiting);
    if (task === 'read') return this.progress('loading', loaded, total);
    this.progress(`fetching ${file}  ${sizeText(loaded)} of ${sizeText(total)}`, loaded, total);
    if (!this.#terminal && file !== this.#fetching)
      this.say(`fetching ${file}${this.#fetching === undefined ? ` (${sizeText(total)} in all)` : ''}`);
    this.#fetching = file;
  };

  /** The file that was last told of. */
  #fetching: string | undefined;

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
    // A bar over two lines could not be redrawn.
    process.stderr.write(`\r\x1b[2K${this.#bar.slice(0, (process.stderr.columns || Infinity) - 1)}`);
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
