/** What the two containers of torch.save share: the meaning of its pickles, and which tensors of a checkpoint count. */
import { ThawError } from '../errors.js';
import { fault } from './fault.js';
import type { RangeFile } from './file.js';
import { type Callable, isCallable, type PickleWorld } from './pickle.js';
import { ELEMENT_BYTES, elements, MAX_RANK, type Checkpoint, type StorageDType, type TensorEntry } from './types.js';

/** A flat piece of memory in the file, or a view of one: elements `start` to `start + size` of the storage `key`. */
interface Storage {
  key: string;
  type: StorageType;
  start: number;
  size: number;
}

class Tensor {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: number[],
    readonly strides: number[],
  ) {}
}

class StorageType {
  constructor(
    readonly name: string,
    /** undefined: read past, but not loaded. */
    readonly dtype: StorageDType | undefined,
    /** Bytes of one element. */
    readonly width: number,
  ) {}
}

/** Stands for what says nothing of tensors: numbers of NumPy, dtypes, devices. */
class Inert implements Callable {
  call(): unknown {
    return this;
  }
}

class Call implements Callable {
  constructor(readonly call: (args: unknown[]) => unknown) {}
}

const loadable = (name: string, dtype: StorageDType): StorageType => new StorageType(name, dtype, ELEMENT_BYTES[dtype]);

const STORAGES = [
  loadable('DoubleStorage', 'F64'),
  loadable('FloatStorage', 'F32'),
  loadable('HalfStorage', 'F16'),
  loadable('BFloat16Storage', 'BF16'),
  loadable('LongStorage', 'I64'),
  loadable('IntStorage', 'I32'),
  loadable('ShortStorage', 'I16'),
  loadable('CharStorage', 'I8'),
  loadable('ByteStorage', 'U8'),
  loadable('BoolStorage', 'BOOL'),
  new StorageType('ComplexFloatStorage', undefined, 8),
  new StorageType('ComplexDoubleStorage', undefined, 16),
];

const DTYPES =
  'float64 double float32 float float16 half bfloat16 int64 long int32 int int16 short int8 uint8 bool complex64 complex128';

const rebuild = new Call(([storage, offset, size, stride]) => rebuildTensor(storage, offset, size, stride));
const first = new Call(([value]) => value);
const inert = new Inert();

/** Everything a weight file may name. */
const GLOBALS = new Map<string, unknown>([
  ['torch._utils._rebuild_tensor', rebuild],
  ['torch._utils._rebuild_tensor_v2', rebuild],
  ['torch._utils._rebuild_parameter', first],
  ['torch._utils._rebuild_parameter_with_state', first],
  ['torch.nn.parameter.Parameter', first],
  ['torch._tensor._rebuild_from_type_v2', new Call(rebuildFromType)],
  ['torch.Tensor', inert],
  ['torch.Size', first],
  ['torch.device', inert],
  ['torch.serialization._get_layout', inert],
  ['collections.OrderedDict', new Call(([pairs]) => orderedDict(pairs))],
  ['collections.defaultdict', new Call(() => new Map())],
  ...['dict', 'list', 'int', 'float', 'bool', 'str', 'set'].flatMap((type): [string, unknown][] => {
    const make = type === 'set' ? first : inert;
    return [
      [`builtins.${type}`, make],
      [`__builtin__.${type}`, make],
    ];
  }),
  ['_codecs.encode', inert],
  ['numpy.dtype', inert],
  ['numpy.core.multiarray.scalar', inert],
  ['numpy._core.multiarray.scalar', inert],
  ...DTYPES.split(' ').map((name): [string, unknown] => [`torch.${name}`, inert]),
  ...STORAGES.flatMap((type): [string, unknown][] => [
    [`torch.${type.name}`, type],
    [`torch.storage.${type.name}`, type],
  ]),
]);

/**
 * The allow-list and the persistent ids of torch.save. `widths` learns the bytes of an element for the key of every
 * storage that the pickle names.
 */
export function torchWorld(widths = new Map<string, number>()): PickleWorld {
  return {
    global: findGlobal,
    persistent(id) {
      const storage = readStorage(id);
      widths.set(storage.key, storage.type.width);
      return storage;
    },
  };
}

function findGlobal(module: string, name: string): unknown {
  const found = GLOBALS.get(`${module}.${name}`);
  if (found !== undefined) return found;
  throw new ThawError(
    'ERR_PICKLE_UNSAFE',
    `expected tensors, numbers, texts and containers for a weight file, received ${module}.${name}, which only its ` +
      `own program could rebuild; save the weights alone: torch.save(model.state_dict(), path)`,
  );
}

function readStorage(id: unknown): Storage {
  if (!Array.isArray(id) || id[0] !== 'storage') throw broken("('storage', …)", 'a persistent id', id);
  const [, type, key, , size, view] = id as unknown[];
  if (!(type instanceof StorageType) || !isSize(size)) throw broken('a storage type and a size', 'a storage', type);
  const storage = { key: String(key), type, start: 0, size };
  return Array.isArray(view) ? viewOf(storage, view) : storage;
}

function broken(what: string, subject: string, received: unknown): Error {
  return fault('ERR_TORCH_FILE', what, subject, received);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Files of PyTorch before 0.4.1 name a view as (its key, first element, size). */
function viewOf(root: Storage, [, start, size]: unknown[]): Storage {
  if (!isSize(start) || !isSize(size) || start + size > root.size) throw broken('a view within', 'storage', start);
  return { ...root, start, size };
}

function rebuildTensor(storage: unknown, offset: unknown, shape: unknown, strides: unknown): Tensor {
  if (!isStorage(storage)) throw broken('a storage', 'tensor', storage);
  const sizes = Array.isArray(shape) && shape.length <= MAX_RANK && shape.every(isSize);
  if (!sizes) throw broken(`at most ${MAX_RANK} sizes`, 'shape of a tensor', shape);
  const steps = Array.isArray(strides) && strides.length === shape.length && strides.every(isSize);
  if (!steps || !isSize(offset)) throw broken('a stride for each size', 'tensor', strides);
  const last = shape.reduce(
    (at: number, size: number, d: number) => at + (size - 1) * (strides as number[])[d]!,
    offset,
  );
  const empty = shape.includes(0);
  if (!empty && last >= storage.size) throw broken(`${last + 1} elements`, 'storage of a tensor', storage.size);
  return new Tensor(storage, offset, shape, strides);
}

function isStorage(value: unknown): value is Storage {
  return typeof value === 'object' && value !== null && 'key' in value && 'type' in value;
}

/** Tensors of a class of their own: (rebuild function, class, its arguments, attributes). */
function rebuildFromType([rebuilder, , args]: unknown[]): unknown {
  if (!isCallable(rebuilder) || !Array.isArray(args)) throw broken('a rebuild function', 'tensor', rebuilder);
  return rebuilder.call(args);
}

function orderedDict(pairs: unknown): Map<unknown, unknown> {
  if (pairs === undefined) return new Map();
  const isPairs = Array.isArray(pairs) && pairs.every((p) => Array.isArray(p) && p.length === 2);
  if (!isPairs) throw broken('pairs', 'OrderedDict', pairs);
  return new Map(pairs as [unknown, unknown][]);
}

/** Entries under which training programs keep the network, the likeliest first. */
const NESTED = ['state_dict', 'model_state_dict', 'model', 'net', 'network', 'module', 'weights', 'params', 'state'];
const MAX_NESTING = 4;
type Dict = Map<unknown, unknown>;

/** How many bytes views that repeat elements (expanded tensors) may add to the size of the file. */
const MAX_EXPANSION = 1 << 30;

/** The bytes of a storage in the file. */
export type FindStorage = (key: string) => Promise<{ offset: number; bytes: number }>;

/** Turns what the pickle held into a checkpoint. Throws ERR_TORCH_FILE where there are no tensors. */
export async function collect(
  file: RangeFile,
  format: Checkpoint['format'],
  root: unknown,
  find: FindStorage,
): Promise<Checkpoint> {
  const { dict, path } = stateDict(root, []) ?? { dict: undefined, path: [] };
  if (!dict) throw broken('tensors by name (a state dict)', `'${file.path}'`, summary(root));
  const named = [...dict].filter((e): e is [string, Tensor] => typeof e[0] === 'string' && e[1] instanceof Tensor);
  const prefix = commonPrefix(named.map(([name]) => name));
  const skipped = [...dict].filter(([, value]) => !(value instanceof Tensor)).map(([key]) => String(key));
  const others = path.length > 0 ? [...(root as Dict).keys()].map(String).filter((key) => key !== path[0]) : [];
  const tensors = await locate(file, named, prefix.length, find);
  const left = [...others, ...skipped].join(', ');
  const metadata = {
    ...(path.length > 0 && { nested: path.join('.') }),
    ...(prefix && { prefix }),
    ...(left && { skipped: left }),
  };
  return { path: file.path, format, tensors, metadata, aliases: findAliases(tensors) };
}

/** The dict that holds the network's tensors: a nested one under a usual name, the dict itself, or its only nested one. */
function stateDict(value: unknown, path: string[]): { dict: Dict; path: string[] } | undefined {
  if (!(value instanceof Map) || path.length > MAX_NESTING) return undefined;
  for (const key of NESTED) {
    const nested = stateDict(value.get(key), [...path, key]);
    if (nested) return nested;
  }
  if ([...value.values()].some((v) => v instanceof Tensor)) return { dict: value, path };
  const nested = [...value]
    .filter(([key]) => typeof key === 'string' && !key.startsWith('optim'))
    .map(([key, entry]) => stateDict(entry, [...path, key as string]))
    .filter((found) => found !== undefined);
  return nested.length === 1 ? nested[0] : undefined;
}

function summary(root: unknown): unknown {
  return root instanceof Map ? `the entries ${[...root.keys()].slice(0, 10).map(String).join(', ') || 'none'}` : root;
}

/** What DataParallel put ahead of every name ('module.'), possibly more than once. */
function commonPrefix(names: string[]): string {
  let prefix = '';
  while (names.length > 0 && names.every((name) => name.startsWith(`${prefix}module.`))) prefix += 'module.';
  return prefix;
}

async function locate(
  file: RangeFile,
  named: [string, Tensor][],
  prefix: number,
  find: FindStorage,
): Promise<Map<string, TensorEntry>> {
  const places = new Map<string, { offset: number; bytes: number }>();
  const tensors = new Map<string, TensorEntry>();
  for (const [fullName, tensor] of named) {
    const { key, type, start, size } = tensor.storage;
    const { dtype, width } = type;
    if (!dtype) throw broken('real numbers', `tensor '${fullName}'`, `a ${type.name}`);
    const place = places.get(key) ?? (await find(key));
    places.set(key, place);
    const name = fullName.slice(prefix);
    if ((start + size) * width > place.bytes) {
      throw broken(`${(start + size) * width} bytes`, `storage of tensor '${name}'`, `${place.bytes} bytes`);
    }
    const source = {
      path: file.path,
      offset: place.offset + (start + (tensor.shape.includes(0) ? 0 : tensor.offset)) * width,
      ...(!isContiguous(tensor) && { strides: tensor.strides }),
    };
    tensors.set(name, { name, dtype, shape: tensor.shape, source });
  }
  checkExpansion(file, tensors);
  return tensors;
}

function isContiguous({ shape, strides }: Tensor): boolean {
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    if (shape[d] !== 1 && strides[d] !== step) return shape.includes(0);
    step *= shape[d]!;
  }
  return true;
}

function identity({ dtype, shape, source }: TensorEntry): string {
  const { offset, strides } = source as { offset: number; strides?: number[] };
  return `${offset} ${dtype} ${shape} ${strides ?? ''}`;
}

function findAliases(tensors: Map<string, TensorEntry>): Map<string, string> {
  const firsts = new Map<string, string>();
  const aliases = new Map<string, string>();
  for (const [name, entry] of tensors) {
    const key = identity(entry);
    const original = firsts.get(key);
    if (original === undefined) firsts.set(key, name);
    else if (!entry.shape.includes(0)) aliases.set(name, original);
  }
  return aliases;
}

/** A few bytes with strides of zero could stand for any amount of memory. */
function checkExpansion(file: RangeFile, tensors: Map<string, TensorEntry>): void {
  const sizes = new Map([...tensors.values()].map((t) => [identity(t), elements(t.shape) * ELEMENT_BYTES[t.dtype]]));
  const total = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
  if (total <= file.size + MAX_EXPANSION) return;
  throw broken(`at most ${file.size + MAX_EXPANSION} bytes`, `tensors of '${file.path}'`, `${total} bytes`);
}
