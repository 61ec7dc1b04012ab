/** HDF5 by h5wasm, which is loaded when a file of that kind is first read, and works in a thread of its own. */
import { ThawError } from '../errors.js';
import { fault } from './fault.js';
import { Hdf5Thread } from './hdf5-thread.js';
import { elements, ELEMENT_BYTES, MAX_RANK, type StorageDType } from './types.js';
import type { StoredTensor } from './layout.js';

/** Bytes of a file: WebAssembly has 4 GiB in all, and data sets are unpacked into them. */
const MAX_FILE = 2 ** 30;
/** Bytes that all data sets of one file may take. */
const MAX_READ = 2 ** 31;
/** Bytes that deflate makes of one, at most: 258 of two bits. */
const MAX_RATIO = 1032;
/** Bytes of data sets for one of the file's that are believed unseen: what is packed no tighter, and links to the same. */
const BELIEVED = 2;
/** Milliseconds that reading a file may take, and more for each of its bytes: some hundred times what sound ones take. */
const MAX_TIME = { file: 4000, byte: 1 / 4096 };
const MAX_LINKS = 200_000;
const MAX_DEPTH = 64;

/** Of a data set, in the words of the library. */
interface Metadata {
  /** Class of HDF5: 0 for whole numbers, 1 for floats. */
  type: number;
  size: number;
  signed: boolean;
  littleEndian: boolean;
  shape: number[] | null;
  compressed: boolean;
  virtual: boolean;
}

export function hdf5Fault(what: string, subject: string, received: unknown): ThawError {
  return fault('ERR_HDF5', what, subject, received);
}

/** An open HDF5 file. `close` it. */
export class Hdf5File {
  /** Bytes of elements: without compression, and with it, either believed or of chunks that were seen. */
  readonly #read = { plain: 0, believed: 0, seen: 0 };
  /** Bytes of the file that were seen to hold chunks. */
  #stored = 0;

  private constructor(
    readonly path: string,
    private readonly size: number,
    private readonly thread: Hdf5Thread,
    private readonly file: number,
    private readonly release: () => void,
  ) {}

  /** `bytes` are the file's from now on. Throws ERR_HDF5_MISSING, ERR_HDF5. */
  static async open(path: string, bytes: Buffer): Promise<Hdf5File> {
    const { thread, file, release } = await Hdf5Thread.acquire(MAX_TIME.file + bytes.length * MAX_TIME.byte);
    const open = new Hdf5File(path, bytes.length, thread, file, release);
    try {
      await open.#call('open', { bytes: owned(bytes) });
      return open;
    } catch (error) {
      release();
      throw error;
    }
  }

  static checkSize(path: string, size: number): void {
    if (size > MAX_FILE) throw hdf5Fault(`at most ${MAX_FILE} bytes`, `'${path}'`, `${size} bytes`);
  }

  async close(): Promise<void> {
    // Of a thread that has ended nothing is left to close.
    await this.thread.call('close', { file: this.file }).catch(() => undefined);
    this.release();
  }

  /** Text or list of texts; undefined where there is none. Long lists are cut into name0, name1, … by Keras. */
  texts(group: string, attribute: string): Promise<string[] | undefined> {
    return this.#call('texts', { group, attribute });
  }

  has(path: string): Promise<boolean> {
    return this.#call('has', { path });
  }

  /** Paths of all data sets below a group, depth first. */
  async datasets(group: string): Promise<string[]> {
    const limits = { maxLinks: MAX_LINKS, maxDepth: MAX_DEPTH };
    const found = await this.#call<string[] | { limit: string }>('datasets', { group, ...limits });
    if (!Array.isArray(found)) throw hdf5Fault(found.limit, `'${this.path}'`, 'more');
    return found;
  }

  /** The elements of a data set, row-major and little-endian. Throws ERR_HDF5. */
  async tensor(path: string): Promise<StoredTensor> {
    const metadata = await this.#call<Metadata | string>('metadata', { path });
    if (typeof metadata === 'string') throw hdf5Fault(`data set '${path}'`, `'${this.path}'`, metadata);
    const { dtype, shape } = await this.#checked(path, metadata);
    const value = elements(shape) === 0 ? new Uint8Array(0) : await this.#call('value', { path });
    const bytes = elements(shape) * ELEMENT_BYTES[dtype];
    const view = ArrayBuffer.isView(value) ? value : scalar(value, dtype);
    if (view?.byteLength !== bytes)
      throw hdf5Fault(`${bytes} bytes`, `'${path}' of '${this.path}'`, `${view?.byteLength ?? 'none'}`);
    return { dtype, shape, source: new Uint8Array(view.buffer, view.byteOffset, view.byteLength) };
  }

  /** Whatever the library throws is about the file. */
  async #call<T>(method: string, request: object): Promise<T> {
    try {
      return await this.thread.call<T>(method, { file: this.file, ...request });
    } catch (cause) {
      if (cause instanceof ThawError) throw cause;
      const why = (cause as Error).message.slice(0, 300);
      throw new ThawError('ERR_HDF5', `expected a sound HDF5 file for '${this.path}', received: ${why}`, { cause });
    }
  }

  /** Type and shape, before memory is taken for the elements. */
  async #checked(path: string, { type, size, signed, littleEndian, shape, compressed, virtual }: Metadata) {
    const where = `'${path}' of '${this.path}'`;
    const dtype = DTYPES[`${type}/${size}/${type === 0 ? signed : true}`];
    if (!dtype || !littleEndian)
      throw hdf5Fault('little-endian numbers of a usual type', where, `class ${type} of ${size} bytes`);
    if (virtual) throw hdf5Fault('data of its own', where, 'a virtual data set');
    const sizes = shape ?? [];
    const bytes = elements(sizes) * ELEMENT_BYTES[dtype];
    const most = compressed ? Math.min(this.size * MAX_RATIO, MAX_READ) : this.size;
    if (sizes.length > MAX_RANK || !(bytes <= most))
      throw hdf5Fault(`at most ${most} bytes`, where, `shape [${sizes.slice(0, MAX_RANK)}]`);
    await this.#account(path, where, bytes, compressed);
    return { dtype, shape: sizes };
  }

  /** Throws where the file's bytes cannot make all that its data sets claim together. */
  async #account(path: string, where: string, bytes: number, compressed: boolean): Promise<void> {
    const believed = compressed ? 'believed' : 'plain';
    const enough = this.#read[believed] + bytes <= this.size * BELIEVED;
    if (!enough && !compressed) throw hdf5Fault(`data sets of ${this.size} bytes together`, where, `${bytes} more`);
    this.#read[enough ? believed : 'seen'] += bytes;
    const { plain, believed: unseen, seen } = this.#read;
    if (plain + unseen + seen > MAX_READ) throw hdf5Fault(`at most ${MAX_READ} bytes`, `'${this.path}'`, 'more');
    if (enough) return;
    const found = await this.#call<{ bytes: number } | { missing: number[] }>('stored', { path });
    if ('missing' in found)
      throw hdf5Fault(`${bytes} bytes`, where, `the chunk at [${found.missing}], which is not stored`);
    this.#stored += found.bytes;
    if (bytes > found.bytes * MAX_RATIO || this.#stored > this.size)
      throw hdf5Fault(`${bytes} bytes`, where, `${found.bytes} that are stored of ${this.size}`);
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
function scalar(value: unknown, dtype: StorageDType): ArrayBufferView | undefined {
  if (typeof value === 'bigint') return BigInt64Array.of(value);
  const numbers = {
    F64: Float64Array,
    F32: Float32Array,
    I32: Int32Array,
    I16: Int16Array,
    I8: Int8Array,
    U8: Uint8Array,
  };
  return typeof value === 'number' && dtype !== 'I64' ? numbers[dtype as keyof typeof numbers].of(value) : undefined;
}

/** Small buffers share their memory with others, and cannot go to another thread. */
function owned(bytes: Buffer): Uint8Array<ArrayBuffer> {
  const whole = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer;
  return whole ? new Uint8Array(bytes.buffer) : Uint8Array.from(bytes);
}
