/**
 * HDF5 by h5wasm, loaded when a file of that kind is first read. The file is copied into the module's own memory: what
 * it names outside of itself (external links, external storage, virtual data sets) does not exist there.
 */
import { ThawError } from '../errors.js';
import { fault } from './fault.js';
import { elements, ELEMENT_BYTES, MAX_RANK, type StorageDType } from './types.js';
import type { StoredTensor } from './layout.js';

/** Bytes of a file: WebAssembly has 4 GiB in all, and data sets are unpacked into them. */
const MAX_FILE = 2 ** 30;
/** Bytes that all data sets of one file may take. */
const MAX_READ = 2 ** 31;
/** Deflate makes at most about 1,032 bytes of one. */
const MAX_RATIO = 1040;
const MAX_LINKS = 200_000;
const MAX_DEPTH = 64;

interface Metadata {
  type: number;
  size: number;
  signed: boolean;
  littleEndian: boolean;
  shape: number[] | null;
  chunks: number[] | null;
  virtual_sources?: unknown;
}

interface Node {
  type: string;
  keys?(): string[];
  get?(path: string): Node | null;
  attrs?: Record<string, { value: unknown; shape: number[] | null; metadata: { size: number } }>;
  metadata?: Metadata;
  value?: unknown;
  file_id?: bigint;
  close?(): unknown;
}

interface H5Wasm {
  ready: Promise<
    { FS: { writeFile(path: string, bytes: Uint8Array): void; unlink(path: string): void } & object } & Handler
  >;
  File: new (path: string, mode: string) => Node;
}

interface Handler {
  activate_throwing_error_handler?(): unknown;
}

let loaded: Promise<{ h5: H5Wasm; module: Awaited<H5Wasm['ready']> }> | undefined;
let files = 0;

async function library(): Promise<{ h5: H5Wasm; module: Awaited<H5Wasm['ready']> }> {
  const name = 'h5wasm';
  let found: unknown;
  try {
    found = await import(name);
  } catch (cause) {
    throw new ThawError(
      'ERR_HDF5_MISSING',
      'expected the package h5wasm for reading HDF5 (.h5, .keras), received none; install it: npm install h5wasm',
      { cause },
    );
  }
  const h5 = ((found as { default?: unknown }).default ?? found) as H5Wasm;
  const module = await h5.ready;
  // Errors of the library are thrown, not printed.
  module.activate_throwing_error_handler?.();
  return { h5, module };
}

export function hdf5Fault(what: string, subject: string, received: unknown): ThawError {
  return fault('ERR_HDF5', what, subject, received);
}

/** An open HDF5 file. `close` it. */
export class Hdf5File {
  #read = 0;

  private constructor(
    readonly path: string,
    private readonly size: number,
    private readonly file: Node,
    private readonly remove: () => void,
  ) {}

  /** Throws ERR_HDF5_MISSING, ERR_HDF5. */
  static async open(path: string, bytes: Buffer): Promise<Hdf5File> {
    const { h5, module } = await (loaded ??= library().catch((error: unknown) => {
      // The package may be installed by the next time.
      loaded = undefined;
      throw error;
    }));
    const name = `/thaw-${++files}.h5`;
    const remove = (): void => module.FS.unlink(name);
    return guarded(path, () => {
      module.FS.writeFile(name, bytes);
      try {
        const file = new h5.File(name, 'r');
        if (file.file_id === undefined || file.file_id < 0n) throw new Error('no HDF5 file');
        return new Hdf5File(path, bytes.length, file, remove);
      } catch (error) {
        remove();
        throw error;
      }
    });
  }

  static checkSize(path: string, size: number): void {
    if (size > MAX_FILE) throw hdf5Fault(`at most ${MAX_FILE} bytes`, `'${path}'`, `${size} bytes`);
  }

  close(): void {
    try {
      this.file.close?.();
    } finally {
      this.remove();
    }
  }

  /** Text or list of texts; undefined where there is none. Long lists are cut into name0, name1, … by Keras. */
  texts(group: string, attribute: string): string[] | undefined {
    return guarded(this.path, () => {
      const attrs = this.#node(group)?.attrs ?? {};
      if (Object.hasOwn(attrs, attribute)) return textsOf(attrs[attribute]!.value);
      const parts: string[] = [];
      for (let i = 0; i < MAX_LINKS && Object.hasOwn(attrs, `${attribute}${i}`); i++)
        parts.push(...(textsOf(attrs[`${attribute}${i}`]!.value) ?? []));
      return parts.length > 0 ? parts : undefined;
    });
  }

  has(path: string): boolean {
    return guarded(this.path, () => this.#node(path) !== null);
  }

  /** Paths of all data sets below a group, depth first. */
  datasets(group: string): string[] {
    const found: string[] = [];
    let links = 0;
    const walk = (path: string, depth: number): void => {
      const node = this.#node(path);
      if (node?.type === 'Dataset') found.push(path);
      if (node?.type !== 'Group') return;
      if (depth > MAX_DEPTH) throw hdf5Fault(`groups nested at most ${MAX_DEPTH} deep`, `'${this.path}'`, 'more');
      for (const key of node.keys?.() ?? []) {
        if (++links > MAX_LINKS) throw hdf5Fault(`at most ${MAX_LINKS} links`, `'${this.path}'`, 'more');
        walk(path === '' ? key : `${path}/${key}`, depth + 1);
      }
    };
    guarded(this.path, () => walk(group, 0));
    return found;
  }

  /** The elements of a data set, row-major and little-endian. Throws ERR_HDF5. */
  tensor(path: string): StoredTensor {
    return guarded(this.path, () => {
      const node = this.#node(path);
      if (node?.type !== 'Dataset') throw hdf5Fault(`data set '${path}'`, `'${this.path}'`, node?.type ?? 'none');
      const { dtype, shape } = this.#checked(path, node.metadata!);
      const value = elements(shape) === 0 ? new Uint8Array(0) : node.value;
      const bytes = elements(shape) * ELEMENT_BYTES[dtype];
      const view = ArrayBuffer.isView(value) ? value : scalar(value, dtype);
      if (view.byteLength !== bytes)
        throw hdf5Fault(`${bytes} bytes`, `'${path}' of '${this.path}'`, `${view.byteLength}`);
      return { dtype, shape, source: new Uint8Array(view.buffer, view.byteOffset, view.byteLength) };
    });
  }

  #node(path: string): Node | null {
    return path === '' ? this.file : (this.file.get?.(path) ?? null);
  }

  /** Type and shape, before memory is taken for the elements. */
  #checked(path: string, { type, size, signed, littleEndian, shape, chunks, virtual_sources }: Metadata) {
    const where = `'${path}' of '${this.path}'`;
    const dtype = DTYPES[`${type}/${size}/${type === 0 ? signed : true}`];
    if (!dtype || !littleEndian)
      throw hdf5Fault('little-endian numbers of a usual type', where, `class ${type} of ${size} bytes`);
    if (virtual_sources !== undefined) throw hdf5Fault('data of its own', where, 'a virtual data set');
    const sizes = shape ?? [];
    const bytes = elements(sizes) * ELEMENT_BYTES[dtype];
    const most = chunks ? this.size * MAX_RATIO : this.size;
    this.#read += bytes;
    if (sizes.length > MAX_RANK || !(bytes <= most) || this.#read > MAX_READ)
      throw hdf5Fault(`at most ${Math.min(most, MAX_READ)} bytes`, where, `shape [${sizes.slice(0, MAX_RANK)}]`);
    return { dtype, shape: sizes };
  }
}

/** Class, bytes and sign of HDF5 types. */
const DTYPES: Readonly<Record<string, StorageDType>> = {
  '1/8/true': 'F64',
  '1/4/true': 'F32',
  '0/8/true': 'I64',
  '0/4/true': 'I32',
  '0/2/true': 'I16',
  '0/1/true': 'I8',
  '0/1/false': 'U8',
};

/** Data sets without dimensions come as plain numbers. */
function scalar(value: unknown, dtype: StorageDType): ArrayBufferView {
  if (dtype === 'I64') return BigInt64Array.of(BigInt(value as number));
  const numbers = {
    F64: Float64Array,
    F32: Float32Array,
    I32: Int32Array,
    I16: Int16Array,
    I8: Int8Array,
    U8: Uint8Array,
  };
  return numbers[dtype as keyof typeof numbers].of(Number(value));
}

function textsOf(value: unknown): string[] | undefined {
  if (typeof value === 'string') return [value];
  if (value instanceof Uint8Array) return [Buffer.from(value).toString('utf8')];
  return Array.isArray(value) && value.every((v) => typeof v === 'string') ? value : undefined;
}

/** Whatever the library throws is about the file. */
function guarded<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof ThawError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ThawError('ERR_HDF5', `expected a sound HDF5 file for '${path}', received: ${why.slice(0, 300)}`, {
      cause,
    });
  }
}
