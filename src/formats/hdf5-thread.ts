/**
 * The thread of h5wasm: started with the first file, ended when none has been open for a while. One file at a time has it:
 * what a damaged one does to it (the library may trap, or never come back) is that file's error alone.
 */
import { Worker } from 'node:worker_threads';
import { ThawError } from '../errors.js';

interface Reply {
  call: number;
  value?: unknown;
  error?: string;
  missing?: boolean;
  broken?: boolean;
}

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
}

/** Milliseconds after the last file in which another may come; then the library's memory goes back to the system. */
const IDLE = 1000;
/** Milliseconds between two looks at whether a file has used up its time. */
const TICK = 250;

export class Hdf5Thread {
  static #current: Hdf5Thread | undefined;
  static #files = 0;
  /** Until the file before has given the thread back. */
  static #turn = Promise.resolve();

  // Options of the process may be such that no thread takes (node --input-type=module -e …).
  readonly #worker = new Worker(new URL('./hdf5-worker.mjs', import.meta.url), { execArgv: [] });
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #idle: NodeJS.Timeout | undefined;
  #clock: NodeJS.Timeout | undefined;
  /** Milliseconds that the open file may still take; none is open: any number. */
  #left = Infinity;

  private constructor() {
    this.#worker.on('message', (reply: Reply) => this.#answer(reply));
    this.#worker.on('error', (error) => this.#end(error.message));
    this.#worker.on('exit', () => this.#end('the thread that reads HDF5 has ended'));
    this.#worker.unref();
  }

  /**
   * Waits for the thread, and for the library in it. Returns it with a number for a file to open in it, which may keep it
   * busy for that many milliseconds in all. `release` it. Throws ERR_HDF5_MISSING.
   */
  static async acquire(milliseconds: number): Promise<{ thread: Hdf5Thread; file: number; release: () => void }> {
    const before = Hdf5Thread.#turn;
    let next!: () => void;
    Hdf5Thread.#turn = new Promise((resolve) => (next = resolve));
    await before;
    const thread = (Hdf5Thread.#current ??= new Hdf5Thread());
    clearTimeout(thread.#idle);
    const release = (): void => {
      thread.#left = Infinity;
      thread.#idle = setTimeout(() => thread.#end('idle'), IDLE).unref();
      next();
    };
    try {
      const file = ++Hdf5Thread.#files;
      await thread.call('load', { file });
      thread.#left = milliseconds;
      return { thread, file, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** `bytes` in the request belong to the thread from now on. Throws ERR_HDF5_MISSING; what the library throws, as Error. */
  call<T>(method: string, request: { file: number; bytes?: Uint8Array<ArrayBuffer> }): Promise<T> {
    if (Hdf5Thread.#current !== this) return Promise.reject(new Error('the thread that reads HDF5 has ended'));
    const call = ++this.#calls;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(call, { resolve, reject });
      // A process ends only when nobody waits.
      this.#worker.ref();
      this.#clock ??= setInterval(() => this.#tick(), TICK).unref();
      this.#worker.postMessage({ call, method, ...request }, request.bytes ? [request.bytes.buffer] : []);
    });
  }

  #answer({ call, value, error, missing, broken }: Reply): void {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    if (this.#waiting.size === 0) this.#rest();
    if (error === undefined) return waiting?.resolve(value as never);
    waiting?.reject(missing ? packageMissing(error) : new Error(error));
    if (broken) this.#end(error);
  }

  /** Counts looks, not the time of day: while the process sleeps or computes elsewhere, no answer could be heard. */
  #tick(): void {
    this.#left -= TICK;
    if (this.#left < 0) this.#end('it keeps the library of HDF5 busy without end');
  }

  #rest(): void {
    this.#worker.unref();
    clearInterval(this.#clock);
    this.#clock = undefined;
  }

  #end(why: string): void {
    clearInterval(this.#clock);
    if (Hdf5Thread.#current === this) Hdf5Thread.#current = undefined;
    void this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(new Error(why));
    this.#waiting.clear();
  }
}

function packageMissing(why: string): ThawError {
  return new ThawError(
    'ERR_HDF5_MISSING',
    'expected the package h5wasm for reading HDF5 (.h5, .keras), received none; install it: npm install h5wasm',
    { cause: new Error(why) },
  );
}
