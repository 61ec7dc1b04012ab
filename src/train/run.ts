import { setMaxListeners } from 'node:events';
import type { EndReason, EpochEvent, FitEvent, FitResult } from './events.js';

/**
 * A run of `fit` or `fineTune`: iterate it for its events, await it for its result, or both. It has begun already.
 *
 * - Step and progress events that nobody reads coalesce; all others are kept.
 * - While it is iterated, it waits at each epoch event until the next event is asked for; marks may be changed there. When it is
 *   only awaited it never waits.
 * - Leaving the loop (`break`), `stop()` and the signal end it after the current step, with a usable network.
 * - A failure is thrown to the loop that reads it; without one, to whoever awaits.
 */
export interface FitRun extends AsyncIterable<FitEvent>, Pick<Promise<FitResult>, 'then' | 'catch' | 'finally'> {
  /** Ends the run after the current step; resolves when the network is free. */
  stop(): Promise<FitResult>;
}

/** What the work of a run has of it. */
export interface RunControl {
  emit(event: FitEvent): void;
  /** Tells of an epoch and waits for the reader, if there is one. `paused` runs before and `resumed` after the wait. */
  emitEpoch(event: EpochEvent, paused: () => void, resumed: () => void): Promise<void>;
  /** Why the run should end now, if it should. */
  readonly stopping: EndReason | null;
  /** Aborted when the run should end, for work that may be given up half-way (data, validation). */
  readonly signal: AbortSignal;
}

type Wake = () => void;

/** Starts `work` at once and gives the run. */
export function startRun(work: (control: RunControl) => Promise<FitResult>, signal?: AbortSignal): FitRun {
  const events = new EventQueue();
  const stop = new AbortController();
  // Whatever the run does at the same time listens to it: Node would take many listeners for a leak.
  setMaxListeners(0, stop.signal);
  let stopping: EndReason | null = null;
  const end = (reason: EndReason): void => {
    stopping ??= reason;
    events.leave();
    stop.abort();
  };
  const onAbort = (): void => end('aborted');
  if (signal?.aborted) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });

  const control: RunControl = {
    emit: (event) => events.push(event),
    async emitEpoch(event, paused, resumed) {
      events.push(event);
      if (!events.iterated || stopping) return;
      paused();
      await events.read(event);
      resumed();
    },
    get stopping() {
      return stopping;
    },
    signal: stop.signal,
  };
  const outcome = work(control)
    .finally(() => signal?.removeEventListener('abort', onAbort))
    .then(
      (result) => (events.close(), result),
      (error: unknown) => {
        events.fail(error);
        throw error;
      },
    );
  return new Run(outcome, events, () => end('stopped'));
}

class Run implements FitRun {
  readonly #outcome: Promise<FitResult>;
  readonly #events: EventQueue;
  readonly #end: () => void;

  constructor(outcome: Promise<FitResult>, events: EventQueue, end: () => void) {
    this.#outcome = outcome;
    this.#events = events;
    this.#end = end;
  }

  then<A = FitResult, B = never>(
    onfulfilled?: ((value: FitResult) => A | PromiseLike<A>) | null,
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#outcome.then(onfulfilled, onrejected);
  }

  catch<T = never>(onrejected?: ((reason: unknown) => T | PromiseLike<T>) | null): Promise<FitResult | T> {
    return this.#outcome.catch(onrejected);
  }

  finally(onfinally?: (() => void) | null): Promise<FitResult> {
    return this.#outcome.finally(onfinally);
  }

  stop(): Promise<FitResult> {
    this.#end();
    return this.#outcome;
  }

  [Symbol.asyncIterator](): AsyncIterator<FitEvent, undefined> {
    this.#events.iterated = true;
    // The reader gets the failure; without this the promise would report it a second time, as unhandled.
    this.#outcome.catch(() => undefined);
    return {
      next: () => this.#events.next(),
      return: async () => {
        this.#end();
        await this.#outcome;
        return { done: true, value: undefined };
      },
    };
  }
}

/** Events between the work and its reader. */
class EventQueue {
  iterated = false;
  #waiting: FitEvent[] = [];
  #delivered: FitEvent | null = null;
  #closed = false;
  #failure: { error: unknown } | null = null;
  #wakeReader: Wake | null = null;
  #wakeWriter: Wake | null = null;
  #left = false;

  push(event: FitEvent): void {
    const last = this.#waiting.at(-1);
    if (last?.type === 'step' && event.type === 'step') {
      this.#waiting[this.#waiting.length - 1] = { ...event, steps: last.steps + event.steps };
    } else if (last?.type === 'progress' && event.type === 'progress' && last.task === event.task) {
      this.#waiting[this.#waiting.length - 1] = event;
    } else this.#waiting.push(event);
    this.#wakeReader?.();
  }

  /** Resolves when the reader, having had this event, asks for the next one, or has left. */
  async read(event: FitEvent): Promise<void> {
    while (!this.#left && (this.#delivered === event || this.#waiting.includes(event))) {
      await new Promise<void>((resolve) => (this.#wakeWriter = resolve));
    }
  }

  async next(): Promise<IteratorResult<FitEvent, undefined>> {
    this.#delivered = null;
    this.#wakeWriter?.();
    while (this.#waiting.length === 0 && !this.#closed) {
      await new Promise<void>((resolve) => (this.#wakeReader = resolve));
    }
    const event = this.#waiting.shift();
    if (event) {
      this.#delivered = event;
      return { done: false, value: event };
    }
    const failure = this.#failure;
    this.#failure = null;
    if (failure) throw failure.error;
    return { done: true, value: undefined };
  }

  /** The reader waits for no more. */
  leave(): void {
    this.#left = true;
    this.#wakeWriter?.();
  }

  close(): void {
    this.#closed = true;
    this.#wakeReader?.();
  }

  fail(error: unknown): void {
    this.#failure = { error };
    this.close();
  }
}
