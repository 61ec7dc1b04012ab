/** HDF5 files, written by h5wasm. */

interface Library {
  ready: Promise<{ FS: { readFile(path: string): Uint8Array; unlink(path: string): void } }>;
  File: new (path: string, mode: string) => Group & { close(): void };
}

interface Group {
  create_group(name: string): Group;
  create_dataset(spec: object): { resize?(shape: number[]): unknown };
  create_attribute(name: string, value: string | string[]): void;
  create_hard_link(target: string, name: string): void;
}

export interface Arrayed {
  shape: number[];
  values: ArrayLike<number>;
  /** Sizes of chunks, deflated; default: in one piece. */
  chunks?: number[];
  /** What the shape is changed to afterwards: nothing is stored of what is added. */
  grown?: number[];
}

/** Data sets by their paths. */
export type Arrays = Record<string, Arrayed>;

/** Text attributes by the path of their group ('' is the root) and name. */
export type Texts = Record<string, Record<string, string | string[]>>;

/** Other names for data sets of the root: name → data set. */
export type Links = Record<string, string>;

/** An HDF5 file with these data sets and attributes. */
export async function hdf5(arrays: Arrays, texts: Texts = {}, links: Links = {}): Promise<Buffer> {
  const name = 'h5wasm';
  const { default: h5 } = (await import(name)) as { default: Library };
  const { FS } = await h5.ready;
  const file = new h5.File('/made.h5', 'w');
  const groups = new Map<string, Group>([['', file]]);
  const group = (path: string): Group => {
    const known = groups.get(path);
    if (known) return known;
    const cut = path.lastIndexOf('/');
    const made = group(path.slice(0, Math.max(cut, 0))).create_group(path.slice(cut + 1));
    groups.set(path, made);
    return made;
  };
  for (const [name, { shape, values, chunks, grown }] of Object.entries(arrays)) {
    const cut = name.lastIndexOf('/');
    const more = {
      ...(chunks && { chunks, compression: 'gzip', compression_opts: 9 }),
      ...(grown && { maxshape: grown }),
    };
    const data = Float32Array.from(values);
    const spec = { name: name.slice(cut + 1), data, shape, dtype: '<f', ...more };
    const made = group(name.slice(0, Math.max(cut, 0))).create_dataset(spec);
    if (grown) made.resize!(grown);
  }
  for (const [path, attributes] of Object.entries(texts))
    for (const [name, value] of Object.entries(attributes)) group(path).create_attribute(name, value);
  for (const [name, target] of Object.entries(links)) file.create_hard_link(target, name);
  file.close();
  const bytes = Buffer.from(FS.readFile('/made.h5'));
  FS.unlink('/made.h5');
  return bytes;
}
