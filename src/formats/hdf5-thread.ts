/** The thread of h5wasm: started with the first file, ended when none has been open for a while. */
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

export class Hdf5Thread {
  static #current: Hdf5Thread | undefined;
  static #files = 0;

  // Options of the process may be such that no thread takes (node --input-type=module -e …).
  readonly #worker = new Worker(new URL('./hdf5-worker.mjs', import.meta.url), { execArgv: [] });
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #open = 0;
  #idle: NodeJS.Timeout | undefined;

  private constructor() {
    this.#worker.on('message', (reply: Reply) => this.#answer(reply));
    this.#worker.on('error', (error) => this.#end(error.message));
    this.#worker.on('exit', () => this.#end('the thread that reads HDF5 has ended'));
    this.#worker.unref();
  }

  /** The thread that runs, or a new one, and a number for a file to open in it. `release` it. */
  static acquire(): { thread: Hdf5Thread; file: number } {
    const thread = (Hdf5Thread.#current ??= new Hdf5Thread());
    thread.#open++;
    clearTimeout(thread.#idle);
    return { thread, file: ++Hdf5Thread.#files };
  }

  release(): void {
    if (--this.#open > 0) return;
    this.#idle = setTimeout(() => this.#end('idle'), IDLE).unref();
  }

  /** `bytes` in the request belong to the thread from now on. Throws ERR_HDF5_MISSING; what the library throws, as Error. */
  call<T>(method: string, request: { file: number; bytes?: Uint8Array<ArrayBuffer> }): Promise<T> {
    if (Hdf5Thread.#current !== this) return Promise.reject(new Error('the thread that reads HDF5 has ended'));
    const call = ++this.#calls;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(call, { resolve, reject });
      // A process ends only when nobody waits.
      this.#worker.ref();
      this.#worker.postMessage({ call, method, ...request }, request.bytes ? [request.bytes.buffer] : []);
    });
  }

  #answer({ call, value, error, missing, broken }: Reply): void {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    if (this.#waiting.size === 0) this.#worker.unref();
    if (error === undefined) return waiting?.resolve(value as never);
    waiting?.reject(missing ? packageMissing(error) : new Error(error));
    if (broken) this.#end(error);
  }

  #end(why: string): void {
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
