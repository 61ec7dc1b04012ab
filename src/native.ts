import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { ThawError, expected } from './errors.js';
import type { GraphDescription, GraphDType, Initialiser } from './graph/types.js';

/** Types of stored tensors, under safetensors' names. */
export type StorageDType = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL';

export interface StoredTensor {
  name: string;
  dtype: StorageDType;
  shape: number[];
}

/** A value of a graph: shape in elements. */
export interface ValueDescription {
  name: string;
  dtype: GraphDType;
  shape: number[];
}

/** Strides in elements, where a tensor is not row-major. */
export interface StridedTensor extends StoredTensor {
  strides?: number[];
}

/** Where a tensor lies in a file, in bytes. */
export interface FileRange extends StridedTensor {
  offset: number;
}

export type NativeMode = 'run' | 'embed' | 'head' | 'step' | 'gradients' | 'infer';

export interface CompileRequest {
  graph: GraphDescription;
  mode: NativeMode;
  inputs: Record<string, number[]>;
  trainable: string[];
  batchNorm?: Record<string, 'frozen' | 'statistics' | 'train'>;
  outputs?: string[];
  /** Default 'auto': bf16 where the instruction set is amx or cuda, else fp32. */
  precision?: Precision | 'auto';
  isa?: Isa;
}

export interface CompileReply {
  plan: number;
  isa: Isa;
  precision: Precision;
  inputs: ValueDescription[];
  outputs: ValueDescription[];
  cut?: ValueDescription[];
  /** Bytes, known before the plan runs. */
  bytes: { arena: number; prepared: number; gradients: number; workspace: number; cut: number };
  launches: { node: string; op: string; kernel: string; prepared: boolean }[];
  declined: { node: string; kernel: string; why: string }[];
  /** Mode 'infer' alone. */
  values?: (ValueDescription & { node: string })[];
}

/** Weight updates as the core takes them. Rates and decays by parameter name override the common ones. */
export interface Update {
  optimizer: 'sgd' | 'adam' | 'adamw';
  learningRate: number;
  rates?: Record<string, number>;
  momentum?: number;
  nesterov?: boolean;
  beta1?: number;
  beta2?: number;
  eps?: number;
  weightDecay?: number;
  decays?: Record<string, number>;
  l2sp?: { towards: string };
  clipNorm?: number;
  accumulate?: 'begin' | 'add' | 'last';
}

export interface RunRequest {
  plan: number;
  inputs: string[];
  seed?: number;
  epoch?: number;
  samples?: number[];
  lossScale?: number;
  /** From where the cut's values come: rows of a cache, or the plan of the frozen part, which runs first. */
  cacheRead?: { cache: number; keys: string[] };
  frozen?: number;
  cacheWrite?: { cache: number; keys: string[] };
  /** Ticket of this batch, where the run before took it along. */
  staged?: number;
  /** The batch of the plan's next run, whose buffers follow those of `inputs`: a GPU gets it while it computes. */
  next?: { ticket: number; inputs: string[]; cacheRead?: { cache: number; keys: string[] } };
  discardOutputs?: boolean;
  outputs?: string[];
  gradients?: true | string[];
  update?: Update;
}

export interface RunReply {
  outputs: ValueDescription[];
  losses: number[];
  gradientNorm?: number;
  cached?: number;
  /** The inputs had been brought to the GPU during the run before. */
  staged?: true;
  /** Milliseconds that the command took, and of these the update. */
  ms: number;
  updateMs?: number;
}

export type CacheRequest =
  | { action: 'create'; limitBytes?: number; disk?: { files: string[]; fresh: string; fileBytes: number } }
  | { action: 'clear' | 'release' | 'info'; cache: number }
  | { action: 'has'; cache: number; keys: string[] };

/** The second binary, and the version of thaw that it must be of. */
export interface CudaBinary {
  library: string;
  version: string;
}

/** A GPU as the driver describes it: compute capability '9.0', memory in bytes. */
export interface GpuDescription {
  device: `cuda:${number}`;
  name: string;
  computeCapability: string;
  multiprocessors: number;
  memory: number;
}

/** Requests and replies of the commands, by name. Buffers that travel beside them are named in the comments. */
export interface Commands {
  /** Reads ranges of a file into the store, all or none. */
  read: { request: { path: string; tensors: FileRange[] }; reply: object };
  /** Buffer in: the header. `expected`: what it was made for; the write is refused where a tensor has changed. */
  write: { request: { path: string; tensors: string[]; expected?: Omit<StoredTensor, 'name'>[] }; reply: object };
  /** Buffers in: one a tensor. */
  put: { request: { tensors: StridedTensor[] }; reply: object };
  /** Buffers out: one a tensor, in the order of `names`. */
  get: { request: { names: string[]; as?: 'loaded' | 'f32' }; reply: { tensors: StoredTensor[] } };
  list: { request: object; reply: { tensors: (StoredTensor & { modified: boolean })[] } };
  initialise: { request: { tensors: (StoredTensor & { init: Initialiser })[]; seed?: number }; reply: object };
  /** 128 bits of type, shape and stored elements of each, as hexadecimal text. */
  digest: { request: { names: string[] }; reply: { digests: string[] } };
  drop: { request: { names: string[] }; reply: { dropped: number } };
  copy: { request: { from: string[]; to: string[] }; reply: object };
  rename: { request: { from: string | string[]; to: string | string[] }; reply: object };
  compile: { request: CompileRequest; reply: CompileReply };
  /** Buffers in: the inputs. Buffers out: outputs, then gradients asked for. */
  run: { request: RunRequest; reply: RunReply };
  release: { request: { plan: number }; reply: object };
  /**
   * GPUs, and versions of CUDA: the driver's ('0.0': there is none) and the least that the binary runs on. `why`: there is no GPU.
   * @throws ERR_DEVICE the binary does not load, or is of another version
   */
  devices: { request: CudaBinary; reply: { gpus: GpuDescription[]; driver: string; needed: string; why?: string } };
  /** Moves the session, whose plans are gone then. -1: the processor, for which no binary is needed. @throws ERR_DEVICE */
  device: { request: { device: number } & Partial<CudaBinary>; reply: { gpu?: GpuDescription } };
}

export interface SubmitOptions {
  signal?: AbortSignal;
}

export interface Submitted<Reply> {
  reply: Reply;
  buffers: ArrayBuffer[];
}

/** The native side of one network: its tensors, plans and caches. */
export interface NativeSession {
  /**
   * Runs one command on native threads, in the order of submission. Never blocks.
   * The memory behind `buffers` must neither be changed nor transferred until the promise is settled.
   * @throws ThawError: ERR_ABORTED, ERR_DISPOSED, ERR_COMMAND, and what the command names (as a rejection).
   */
  submit<Name extends keyof Commands>(
    command: Name,
    request: Commands[Name]['request'],
    buffers?: ArrayBufferView[],
    options?: SubmitOptions,
  ): Promise<Submitted<Commands[Name]['reply']>>;
  // What a command replies depends on its request
  submit(
    command: string,
    request: object,
    buffers?: ArrayBufferView[],
    options?: SubmitOptions,
  ): Promise<Submitted<any>>;
  /** Native memory held, in bytes. */
  readonly bytes: number;
  /** Cancels what is queued and in flight and gives the memory back. Later commands reject with ERR_DISPOSED. */
  dispose(): void;
}

/** Instruction sets that there are kernels for; amx is avx512 with the tiles of AMX for products in bf16, cuda is a GPU's. */
export type Isa = 'scalar' | 'avx2' | 'avx512' | 'amx' | 'cuda';

/** How a network computes: bf16 keeps pictures and weights of convolutions in 16 bits and sums in 32. */
export type Precision = 'fp32' | 'bf16';

export interface CoreInfo {
  version: string;
  /** The instruction set in use: the best of this processor, at most THAW_MAX_ISA. */
  isa: Isa;
  /** Those this process can run, the best first. */
  isas: Isa[];
  /** Threads that a command uses unless its session says otherwise. */
  threads: number;
  /** The longest that a native call has run on this JavaScript thread: ms of processor time. */
  longestCallMs: number;
  /** The same in wall time, which also counts what the system ran meanwhile on a busy machine. */
  longestCallWallMs: number;
}

interface AddonSession {
  submit(
    command: string,
    request: string,
    buffers: ArrayBufferView[],
  ): { id: number; promise: Promise<Submitted<string>> };
  cancel(id: number): void;
  dispose(): void;
  readonly bytes: number;
}

interface Addon {
  Session: new (options: { threads?: number }) => AddonSession;
  coreInfo(): CoreInfo;
  shutDown(): void;
}

let loaded: Addon | undefined;

/** Path of the addon for this machine. @throws ERR_NATIVE_MISSING */
export function nativePath(): string {
  const find = createRequire(import.meta.url)('node-gyp-build') as { resolve(root: string): string };
  try {
    return find.resolve(fileURLToPath(new URL('..', import.meta.url)));
  } catch (cause) {
    const machine = `${process.platform} ${process.arch}, Node ${process.versions.node}`;
    const fix = "run 'npx thaw build' to build one (it needs CMake and a C++20 compiler)";
    throw new ThawError('ERR_NATIVE_MISSING', `expected a binary for ${machine}, received none: ${fix}`, { cause });
  }
}

const CUDA_FILE = process.platform === 'win32' ? 'thaw.cuda.dll' : 'thaw.cuda.so';

/**
 * Path of the second binary, with the kernels for GPUs: what THAW_CUDA_BINARY names, else that of the package thaw-cuda,
 * else what a build of the sources left. The core opens it when it is asked for a GPU.
 * @throws ERR_DEVICE there is none
 */
export function cudaPath(): string {
  const named = process.env['THAW_CUDA_BINARY'];
  // Of a bare name the system would search its own folders of libraries.
  if (named) return path.resolve(named);
  const packaged = packagedCuda();
  const built = fileURLToPath(new URL(`../build/Release/${CUDA_FILE}`, import.meta.url));
  const found = [packaged, built].find((file) => file !== undefined && existsSync(file));
  if (found !== undefined) return found;
  const { version } = coreInfo();
  throw new ThawError(
    'ERR_DEVICE',
    packaged === undefined
      ? `expected the package thaw-cuda for a GPU, received none: 'npm install thaw-cuda@${version}' adds it`
      : `expected a binary of thaw-cuda for ${process.platform} ${process.arch}, received none at '${packaged}'`,
  );
}

/** Where the package thaw-cuda, found from thaw's own place, has its binary; undefined where it is not installed. */
function packagedCuda(): string | undefined {
  const require = createRequire(import.meta.url);
  try {
    require.resolve('thaw-cuda');
  } catch {
    return undefined;
  }
  return (require('thaw-cuda') as { binary: string }).binary;
}

/** Loads the addon at its first use, so that importing thaw works (and says what to do) without a binary. */
function addon(): Addon {
  if (loaded) return loaded;
  const path = nativePath();
  try {
    loaded = createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const fix = "run 'npx thaw build' to build one for this system";
    throw new ThawError('ERR_NATIVE_MISSING', `expected a binary that loads, received '${reason}': ${fix}`, { cause });
  }
  // Native threads must stand still before the process takes its static data apart. A worker's end needs no such care:
  // there the addon waits for its jobs by itself.
  if (isMainThread) process.once('exit', loaded.shutDown);
  return loaded;
}

/**
 * @param options.threads most threads that a command of this session uses; default: one for each processor.
 * @throws ERR_NATIVE_MISSING, TypeError (ERR_ARGUMENT)
 */
export function createSession(options: { threads?: number | undefined } = {}): NativeSession {
  const { threads } = options;
  return new Session(new (addon().Session)(threads === undefined ? {} : { threads }));
}

export function coreInfo(): CoreInfo {
  return addon().coreInfo();
}

class Session implements NativeSession {
  readonly #native: AddonSession;

  constructor(native: AddonSession) {
    this.#native = native;
  }

  // The overloads of the interface say more
  async submit(
    command: string,
    request: object,
    buffers: ArrayBufferView[] = [],
    options: SubmitOptions = {},
  ): Promise<Submitted<any>> {
    const { signal } = options;
    if (request === null || typeof request !== 'object')
      throw expected('ERR_ARGUMENT', 'an object', "'request'", request);
    if (signal?.aborted) throw aborted(signal);
    const views = Array.isArray(buffers) ? buffers.map(fixed) : buffers;
    try {
      const { id, promise } = this.#native.submit(command, JSON.stringify(request), views);
      const { reply, buffers: out } = await (signal ? this.#cancellable(id, promise, signal) : promise);
      const parsed = JSON.parse(reply) as unknown;
      if (command === 'compile' && verbose('select')) printSelection(parsed as CompileReply);
      return { reply: parsed, buffers: out };
    } catch (error) {
      throw translated(error, signal);
    }
  }

  get bytes(): number {
    return this.#native.bytes;
  }

  dispose(): void {
    this.#native.dispose();
  }

  async #cancellable<T>(id: number, promise: Promise<T>, signal: AbortSignal): Promise<T> {
    const cancel = () => this.#native.cancel(id);
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }
}

/** A view that keeps its length: resizable memory may go away under a native thread, so it is copied. */
function fixed(view: ArrayBufferView): ArrayBufferView {
  if (!ArrayBuffer.isView(view)) return view; // the addon says what is wrong
  const { resizable, growable } = view.buffer as { resizable?: boolean; growable?: boolean };
  if (!resizable && !growable) return view;
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice();
}

function aborted(signal: AbortSignal): ThawError {
  return new ThawError('ERR_ABORTED', 'the operation was aborted', { cause: signal.reason });
}

/** Native errors become ThawErrors with a JavaScript stack; wrong arguments stay TypeErrors. */
function translated(error: unknown, signal: AbortSignal | undefined): unknown {
  if (!(error instanceof Error) || error instanceof TypeError) return error;
  const { code } = error as { code?: unknown };
  if (typeof code !== 'string') return error;
  if (code === 'ERR_ABORTED' && signal?.aborted) return aborted(signal);
  return new ThawError(code, error.message);
}

/** THAW_VERBOSE is a list of topics between commas. */
function verbose(topic: string): boolean {
  return (process.env['THAW_VERBOSE'] ?? '').split(',').includes(topic);
}

function printSelection({ launches, declined }: CompileReply): void {
  for (const { node, op, kernel } of launches ?? []) process.stderr.write(`thaw: select ${node} (${op}): ${kernel}\n`);
  for (const { node, kernel, why } of declined ?? [])
    process.stderr.write(`thaw: select ${node}: not ${kernel}, ${why}\n`);
}
