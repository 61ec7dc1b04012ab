// @ts-check
/**
 * The thread in which h5wasm works, so that no file holds up the event loop. A file is copied nowhere: it comes as bytes
 * and lies in the library's file system in memory, where what it names outside of itself (external links, external
 * storage, virtual data sets) does not exist. In JavaScript, since a thread starts from a file that Node can run as it is.
 */
import { parentPort } from 'node:worker_threads';

/**
 * @typedef {{ type: number, size: number, signed: boolean, littleEndian: boolean, shape: number[] | null,
 *   chunks: number[] | null, virtual_sources?: unknown }} Metadata
 * @typedef {{ value: unknown, shape: number[] | null, metadata: { size: number } }} Attribute
 * @typedef {{ type: string, keys(): string[], get(path: string): Node | null, attrs: Record<string, Attribute>,
 *   metadata: Metadata, filters: unknown[],
 *   value: unknown, slice(ranges: number[][]): unknown, file_id: bigint, close(): unknown }} Node
 * @typedef {(stream: unknown, to: unknown, at: number, length: number, position?: number) => number} Read
 * @typedef {{ writeFile(path: string, bytes: Uint8Array, options: { canOwn: boolean }): void, unlink(path: string): void,
 *   analyzePath(path: string): { object: { stream_ops: { read: Read } } } }} FileSystem
 * @typedef {{ ready: Promise<{ FS: FileSystem, activate_throwing_error_handler(): unknown }>,
 *   File: new (path: string, mode: string) => Node }} Library
 * @typedef {{ node: Node, path: string, size: number, FS: FileSystem, reads: () => number }} Open
 * @typedef {{ limit: string }} Exceeded More than the caller allows.
 */

/** @type {Promise<{ h5: Library, FS: FileSystem }> | undefined} */
let loaded;

class Missing extends Error {}

async function library() {
  const name = 'h5wasm';
  const found = await import(name).catch((/** @type {Error} */ cause) => {
    throw new Missing(cause.message);
  });
  const h5 = /** @type {Library} */ (found.default ?? found);
  const module = await h5.ready;
  // Errors of the library are thrown, not printed.
  module.activate_throwing_error_handler();
  return { h5, FS: module.FS };
}

/** @type {Map<number, Open>} */
const files = new Map();

/** @type {(open: Open, path: string) => Node | null} */
const at = ({ node }, path) => (path === '' ? node : node.get(path));

/** @param {unknown} value */
function textsOf(value) {
  if (typeof value === 'string') return [value];
  if (value instanceof Uint8Array) return [Buffer.from(value).toString('utf8')];
  return Array.isArray(value) && value.every((v) => typeof v === 'string') ? value : undefined;
}

/** Text or texts of an attribute; the file's bytes hold all of it, or its size is a lie. */
function textsIn(/** @type {Open} */ { size }, /** @type {Attribute} */ attribute) {
  const bytes = (attribute.shape ?? []).reduce((n, length) => n * length, attribute.metadata.size);
  if (bytes > size) throw new Error(`an attribute of ${bytes} bytes in a file of ${size}`);
  return textsOf(attribute.value);
}

/**
 * Counts what the library reads of a file.
 * @param {FileSystem} FS
 * @param {string} path
 * @returns {() => number} bytes since it was asked the last time
 */
function readsOf(FS, path) {
  const { object } = FS.analyzePath(path);
  const { read } = object.stream_ops;
  let bytes = 0;
  object.stream_ops = {
    ...object.stream_ops,
    read: (...request) => {
      const got = read(...request);
      bytes += got;
      return got;
    },
  };
  return () => {
    const since = bytes;
    bytes = 0;
    return since;
  };
}

/**
 * Indices of the first element of each chunk, row-major.
 * @param {number[]} shape
 * @param {number[]} chunks
 * @returns {Generator<number[]>}
 */
function* corners([length, ...shape], [chunk, ...chunks]) {
  if (length === undefined || !chunk) return yield [];
  for (let at = 0; at < length; at += chunk) for (const rest of corners(shape, chunks)) yield [at, ...rest];
}

const methods = {
  /** Throws Missing. */
  async load() {
    await (loaded ??= library());
  },

  /** @param {{ file: number, bytes: Uint8Array }} request */
  async open({ file, bytes }) {
    const { h5, FS } = await (loaded ??= library());
    const path = `/${file}.h5`;
    // Without a copy of its own.
    FS.writeFile(path, bytes, { canOwn: true });
    const reads = readsOf(FS, path);
    try {
      const node = new h5.File(path, 'r');
      if (node.file_id === undefined || node.file_id < 0n) throw new Error('no HDF5 file');
      files.set(file, { node, path, size: bytes.length, FS, reads });
    } catch (error) {
      FS.unlink(path);
      throw error;
    }
  },

  /** @param {{ file: number }} request */
  close({ file }) {
    const { node, path, FS } = opened(file);
    files.delete(file);
    try {
      node.close();
    } finally {
      FS.unlink(path);
    }
  },

  /**
   * Long lists are cut into name0, name1, … by Keras.
   * @param {{ file: number, group: string, attribute: string }} request
   */
  texts({ file, group, attribute }) {
    const open = opened(file);
    const attrs = at(open, group)?.attrs ?? {};
    const whole = attrs[attribute];
    if (whole) return textsIn(open, whole);
    const parts = [];
    for (let i = 0; Object.hasOwn(attrs, `${attribute}${i}`); i++) {
      const part = /** @type {Attribute} */ (attrs[`${attribute}${i}`]);
      parts.push(...(textsIn(open, part) ?? []));
    }
    return parts.length > 0 ? parts : undefined;
  },

  /** @param {{ file: number, path: string }} request */
  has({ file, path }) {
    return at(opened(file), path) !== null;
  },

  /**
   * Paths of all data sets below a group, depth first.
   * @param {{ file: number, group: string, maxLinks: number, maxDepth: number }} request
   * @returns {string[] | Exceeded}
   */
  datasets({ file, group, maxLinks, maxDepth }) {
    const open = opened(file);
    /** @type {string[]} */
    const found = [];
    let links = 0;
    /** @type {(path: string, depth: number) => boolean} */
    const walk = (path, depth) => {
      const node = at(open, path);
      if (node?.type === 'Dataset') found.push(path);
      if (node?.type !== 'Group') return true;
      const keys = node.keys();
      links += keys.length;
      if (depth > maxDepth || links > maxLinks) return false;
      return keys.every((key) => walk(path === '' ? key : `${path}/${key}`, depth + 1));
    };
    return walk(group, 0) ? found : { limit: `at most ${maxLinks} links, ${maxDepth} deep` };
  },

  /** @param {{ file: number, path: string }} request */
  metadata({ file, path }) {
    const node = at(opened(file), path);
    if (node?.type !== 'Dataset') return node?.type ?? 'none';
    const { type, size, signed, littleEndian, shape, chunks, virtual_sources } = node.metadata;
    const compressed = node.filters.length > 0 && chunks !== null;
    return { type, size, signed, littleEndian, shape, compressed, virtual: virtual_sources !== undefined };
  },

  /**
   * Bytes that the file has for the chunks of a data set, which the library does not tell. Each chunk is read twice, one
   * element of it: what the second reading takes from the file is the chunk, for where it lies is known by then, and
   * what was unpacked is not kept. Ends at the first chunk that is not stored, or with more bytes than the file has.
   * @param {{ file: number, path: string }} request
   * @returns {{ bytes: number } | { missing: number[] }}
   */
  stored({ file, path }) {
    const open = opened(file);
    const { shape, chunks } = /** @type {Metadata} */ (at(open, path)?.metadata);
    let bytes = 0;
    for (const first of corners(shape ?? [], chunks ?? [])) {
      const element = first.map((i) => [i, i + 1]);
      at(open, path)?.slice(element);
      open.reads();
      at(open, path)?.slice(element);
      const got = open.reads();
      if (got === 0) return { missing: first };
      bytes += got;
      if (bytes > open.size) break;
    }
    return { bytes };
  },

  /** @param {{ file: number, path: string }} request */
  value({ file, path }) {
    return at(opened(file), path)?.value;
  },
};

/** @param {number} file */
function opened(file) {
  const open = files.get(file);
  if (!open) throw new Error('no open file');
  return open;
}

const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort);

port.on('message', async ({ call, method, ...request }) => {
  try {
    const value = await /** @type {Record<string, (request: any) => unknown>} */ (methods)[method]?.(request);
    // The library's arrays are copies out of its memory, whole buffers of their own.
    const moved = ArrayBuffer.isView(value) && value.buffer instanceof ArrayBuffer ? [value.buffer] : [];
    port.postMessage({ call, value }, moved);
  } catch (error) {
    const { message = String(error) } = /** @type {Error} */ (error);
    // After a trap the library's memory is in no known state.
    const broken = ['RuntimeError', 'RangeError'].includes(/** @type {Error} */ (error).name);
    port.postMessage({ call, error: message, missing: error instanceof Missing, broken });
  }
});
