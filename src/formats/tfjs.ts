/**
 * TensorFlow.js layers model: model.json {modelTopology, weightsManifest: [{paths, weights: [{name, shape, dtype,
 * quantization?}]}]}. The weights of a group lie one after the other in its files, taken as one. Quantized: value =
 * q · scale + min. Source: tensorflow.org/js, "Save and load models"; tfjs-core `io/types.ts`.
 */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { ThawError } from '../errors.js';
import { fault } from './fault.js';
import { RangeFile } from './file.js';
import { besideModel } from './inside.js';
import { isObject, parseModel, type Json } from './keras-config.js';
import type { KerasWeights } from './keras-context.js';
import { knownModel } from './keras-known.js';
import { translate } from './keras-graph.js';
import type { StoredTensor } from './layout.js';
import {
  ELEMENT_BYTES,
  elements,
  MAX_RANK,
  withoutNetwork,
  type Checkpoint,
  type OpenOptions,
  type StorageDType,
  type TensorEntry,
} from './types.js';

const MAX_JSON = 1 << 28;
const MAX_FILES = 65_536;
const DTYPES: Readonly<Record<string, StorageDType>> = { float32: 'F32', int32: 'I32', bool: 'BOOL', uint8: 'U8' };
const QUANTIZED: Readonly<Record<string, StorageDType>> = { float16: 'F16', uint16: 'I16', uint8: 'U8' };

/** A text that begins with a brace. */
export function isJson(head: Buffer): boolean {
  return /^(\xef\xbb\xbf)?\s*\{[\s"]/.test(head.toString('latin1')) && !head.subarray(0, 8).includes(0);
}

/**
 * Throws ERR_TFJS, ERR_KERAS, ERR_PATH_OUTSIDE, ERR_FILE_NOT_FOUND, ERR_FILE_TRUNCATED, ERR_FORMAT_UNKNOWN for JSON
 * that is no model.
 */
export async function readTfjs(file: RangeFile, options: OpenOptions = {}): Promise<Checkpoint> {
  const json = await readJson(file);
  if (json.weightsManifest === undefined && json.modelTopology === undefined)
    throw fault('ERR_FORMAT_UNKNOWN', 'the model.json of TensorFlow.js', `'${file.path}'`, 'another JSON text');
  if (json.format === 'graph-model' || (isObject(json.modelTopology) && Array.isArray(json.modelTopology.node)))
    throw fail('a layers model (convert with --output_format=tfjs_layers_model)', `'${file.path}'`, 'a graph model');
  const stored = await readManifest(file, json.weightsManifest, options);
  const raw = new Map([...stored].map(([name, t]): [string, TensorEntry] => [name, { name, ...t }]));
  const metadata = textsOf(json.userDefinedMetadata);
  const checkpoint = { path: file.path, format: 'tfjs' as const, tensors: raw, metadata, aliases: new Map() };
  const weights = new ManifestWeights(stored);
  const topology = isObject(json.modelTopology) ? json.modelTopology : undefined;
  const described = topology && (isObject(topology.model_config) ? topology.model_config : topology);
  const known = described ? null : knownModel([...stored].map(([name, { shape }]) => ({ name, shape })));
  const notes = known ? [`the file has weights only; names and shapes are those of ${known.model.name}`] : [];
  if (!described && !known) return checkpoint;
  try {
    const model = known?.model ?? parseModel(described, `'${file.path}'`);
    const version = typeof topology?.keras_version === 'string' ? topology.keras_version : undefined;
    const settings = { version, mode: known?.mode, inputSize: options.inputSize };
    const { graph, tensors, preprocessing, notes: more } = translate(model, weights, settings);
    for (const name of weights.unread()) tensors.set(name, raw.get(name)!);
    const named = { ...checkpoint, tensors, metadata: { ...metadata, name: model.name } };
    const network = { name: model.name, graph, tensors, ...(preprocessing && { preprocessing }) };
    return { ...named, network: () => ({ ...network, notes: [...notes, ...more] }) };
  } catch (error) {
    if (!(error instanceof ThawError)) throw error;
    return withoutNetwork(checkpoint, error);
  }
}

/** What the file's maker has put beside the model; thaw's own are texts. */
function textsOf(metadata: unknown): Record<string, string> {
  const entries = Object.entries(isObject(metadata) ? metadata : {});
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

const fail = (what: string, subject: string, received: unknown): ThawError =>
  fault('ERR_TFJS', what, subject, received);

async function readJson(file: RangeFile): Promise<Json> {
  if (file.size > MAX_JSON) throw fail(`at most ${MAX_JSON} bytes`, `'${file.path}'`, `${file.size} bytes`);
  const text = (await file.read(0, file.size, 'description')).toString('utf8').replace(/^\ufeff/, '');
  try {
    const json: unknown = JSON.parse(text);
    if (isObject(json)) return json;
    throw new Error('no object');
  } catch (cause) {
    throw fail('JSON', `'${file.path}'`, (cause as Error).message);
  }
}

async function readManifest(
  file: RangeFile,
  manifest: unknown,
  options: OpenOptions,
): Promise<Map<string, StoredTensor>> {
  if (!Array.isArray(manifest) || manifest.length > MAX_FILES)
    throw fail(`a list of at most ${MAX_FILES} groups`, `weightsManifest of '${file.path}'`, manifest);
  const found = new Map<string, StoredTensor>();
  for (const group of manifest as unknown[]) {
    if (!isObject(group) || !isStrings(group.paths) || !Array.isArray(group.weights))
      throw fail('paths and weights', `a group of '${file.path}'`, group);
    const shards = await Shards.open(file.path, group.paths, options.signal);
    let at = 0;
    for (const weight of group.weights as unknown[]) {
      const spec = parseWeight(weight, file.path);
      if (found.has(spec.name)) throw fail('each name once', `weights of '${file.path}'`, `'${spec.name}' twice`);
      found.set(spec.name, await take(shards, spec, at));
      at += spec.bytes;
    }
    if (at !== shards.size)
      throw fail(
        `${at} bytes`,
        `files ${group.paths.slice(0, 3).join(', ')} of '${file.path}'`,
        `${shards.size} bytes`,
      );
  }
  return found;
}

const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length <= MAX_FILES && value.every((v) => typeof v === 'string');

interface Weight {
  name: string;
  shape: number[];
  /** As stored. */
  dtype: StorageDType;
  bytes: number;
  /** Of whole numbers that stand for others. */
  scale?: { scale: number; min: number };
}

function parseWeight(json: unknown, file: string): Weight {
  const where = `a weight of '${file}'`;
  if (!isObject(json) || typeof json.name !== 'string' || !isShape(json.shape))
    throw fail('name, shape and dtype', where, json);
  const { name, shape, quantization } = json;
  const subject = `weight '${name.slice(0, 80)}' of '${file}'`;
  const kind = isObject(quantization) ? quantization.dtype : json.dtype;
  const table = isObject(quantization) ? QUANTIZED : DTYPES;
  if (typeof kind !== 'string' || !Object.hasOwn(table, kind))
    throw fail(`type ${Object.keys(table).join(', ')}`, subject, kind);
  const dtype = table[kind]!;
  const weight = { name: name.replace(/:0$/, ''), shape, dtype, bytes: elements(shape) * ELEMENT_BYTES[dtype] };
  if (!isObject(quantization) || dtype === 'F16') return weight;
  const { scale, min } = quantization;
  if (!Number.isFinite(scale) || !Number.isFinite(min)) throw fail('scale and min', subject, scale);
  return { ...weight, scale: { scale: scale as number, min: min as number } };
}

function isShape(value: unknown): value is number[] {
  const sound =
    Array.isArray(value) && value.length <= MAX_RANK && value.every((v) => Number.isSafeInteger(v) && v >= 0);
  return sound && elements(value as number[]) <= 2 ** 40;
}

async function take(shards: Shards, { name, shape, dtype, bytes, scale }: Weight, at: number): Promise<StoredTensor> {
  if (at + bytes > shards.size)
    throw fail(`${at + bytes} bytes or more`, `the files of weight '${name}'`, `${shards.size} bytes`);
  const place = shards.within(at, bytes);
  if (place && !scale) return { dtype, shape, source: place };
  const stored = await shards.read(at, bytes);
  if (!scale) return { dtype, shape, source: stored };
  const values = new Float32Array(elements(shape));
  for (let i = 0; i < values.length; i++)
    values[i] = (dtype === 'U8' ? stored[i]! : stored.readUInt16LE(2 * i)) * scale.scale + scale.min;
  return { dtype: 'F32', shape, source: new Uint8Array(values.buffer) };
}

/** Files taken as one. */
class Shards {
  private constructor(
    private readonly files: { path: string; start: number; size: number }[],
    readonly size: number,
    private readonly signal: AbortSignal | undefined,
  ) {}

  static async open(model: string, names: string[], signal: AbortSignal | undefined): Promise<Shards> {
    const files: { path: string; start: number; size: number }[] = [];
    let start = 0;
    for (const name of names) {
      const found = await besideModel(model, name);
      const { size } = await stat(found);
      files.push({ path: path.join(path.dirname(model), name), start, size });
      start += size;
    }
    return new Shards(files, start, signal);
  }

  /** Where a range lies, if in one file. */
  within(at: number, length: number): { path: string; offset: number } | undefined {
    const file = this.files.find(({ start, size }) => at >= start && at + length <= start + size);
    return file && { path: file.path, offset: at - file.start };
  }

  async read(at: number, length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (const { path: name, start, size } of this.files) {
      const [from, to] = [Math.max(at, start), Math.min(at + length, start + size)];
      if (from >= to) continue;
      const file = await RangeFile.open(name, this.signal);
      try {
        parts.push(await file.read(from - start, to - from, 'weights'));
      } finally {
        await file.close();
      }
    }
    return Buffer.concat(parts);
  }
}

/** Finds weights by names such as 'conv1/kernel', also with something before ('model/conv1/kernel'). */
class ManifestWeights implements KerasWeights {
  readonly #read = new Set<string>();
  readonly #byEnd = new Map<string, string>();

  constructor(private readonly stored: Map<string, StoredTensor>) {
    for (const name of stored.keys()) {
      const parts = name.split('/');
      // The full name wins over what it ends with.
      for (let i = 1; i < parts.length - 1; i++) this.#byEnd.set(parts.slice(i).join('/'), name);
    }
  }

  find(layer: readonly string[], variable: string): StoredTensor | undefined {
    const wanted = [layer.join('/'), layer.at(-1)!].map((name) => `${name}/${variable}`);
    const name = wanted.find((n) => this.stored.has(n)) ?? this.#byEnd.get(wanted[1]!);
    if (name === undefined) return undefined;
    this.#read.add(name);
    return this.stored.get(name);
  }

  unread(): string[] {
    return [...this.stored.keys()].filter((name) => !this.#read.has(name));
  }
}
