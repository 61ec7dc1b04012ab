/**
 * Darknet: a .cfg (the network) and a .weights file: major, minor, revision (i32), the number of pictures seen (u64
 * from version 0.2 on, else i32), then float32 numbers layer by layer.
 * Source: github.com/AlexeyAB/darknet, `src/parser.c`.
 */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { ThawError } from '../errors.js';
import { darknetFault, parseCfg, type Section } from './darknet-cfg.js';
import { translate, type DarknetGraph, type Piece } from './darknet-graph.js';
import { knownDarknet } from './darknet-known.js';
import { fault } from './fault.js';
import { RangeFile } from './file.js';
import { elements, withoutNetwork, type Checkpoint, type OpenOptions, type TensorEntry } from './types.js';
import type { Preprocessing } from '../zoo/types.js';

const MAX_CFG = 1 << 24;

/** A section or a comment at the beginning of a text. */
export function isCfg(head: Buffer): boolean {
  return !head.includes(0) && /^(\xef\xbb\xbf)?\s*(\[[a-z]+\s*\]|[#;])/i.test(head.toString('latin1'));
}

/** Versions that were ever written: 0.1, 0.2, and revisions below ten. */
export function isDarknetWeights(head: Buffer): boolean {
  if (head.length < 16) return false;
  const [major, minor, revision] = [0, 4, 8].map((at) => head.readInt32LE(at));
  return major === 0 && (minor === 1 || minor === 2) && revision! >= 0 && revision! < 10;
}

/** Throws ERR_DARKNET, ERR_DARKNET_LAYER (when the network is loaded), ERR_FILE_NOT_FOUND, ERR_FORMAT_UNKNOWN. */
export async function readDarknet(file: RangeFile, options: OpenOptions = {}): Promise<Checkpoint> {
  const head = await file.read(0, Math.min(64, file.size), 'first bytes');
  if (isDarknetWeights(head)) {
    const found = await beside(file.path, '.cfg', 'its network').catch((error: unknown) => error);
    if (typeof found !== 'string') return readKnown(file, found);
    const cfg = await RangeFile.open(found, options.signal);
    try {
      return await readPair(await readSections(cfg), cfg.path, file, file.path);
    } finally {
      await cfg.close();
    }
  }
  const sections = await readSections(file);
  const name = options.weights ?? (await beside(file.path, '.weights', 'its weights, or { weights }'));
  const weights = await RangeFile.open(name, options.signal);
  try {
    return await readPair(sections, file.path, weights, file.path);
  } finally {
    await weights.close();
  }
}

/** Weights that have no .cfg beside them, which is `fault` where they are of no known network. */
async function readKnown(file: RangeFile, fault: unknown): Promise<Checkpoint> {
  const known = knownDarknet(file.size);
  if (!known) throw fault;
  const tensors = await place(file, known.pieces);
  return { path: file.path, format: 'darknet', tensors, metadata: { name: known.name }, aliases: new Map() };
}

/** The file of the same name with another ending. */
async function beside(file: string, ending: string, what: string): Promise<string> {
  const other = path.join(path.dirname(file), path.basename(file, path.extname(file)) + ending);
  const found = await stat(other).catch(() => null);
  if (found?.isFile()) return other;
  throw fault('ERR_FILE_NOT_FOUND', `'${path.basename(other)}' beside it (${what})`, `'${file}'`, 'no such file');
}

async function readPair(sections: Section[], cfg: string, weights: RangeFile, main: string): Promise<Checkpoint> {
  const name = path.basename(cfg, path.extname(cfg));
  const plain: Checkpoint = {
    path: main,
    format: 'darknet',
    tensors: new Map(),
    metadata: { name },
    aliases: new Map(),
  };
  let made: DarknetGraph;
  try {
    made = translate(sections);
  } catch (error) {
    if (error instanceof ThawError && error.code === 'ERR_DARKNET_LAYER') return withoutNetwork(plain, error);
    throw error;
  }
  const tensors = await place(weights, made.pieces);
  const { graph, notes, input } = made;
  const preprocessing = preprocessingOf(input);
  const network = { name, graph, tensors, ...(preprocessing && { preprocessing }) };
  return { ...plain, tensors, network: () => ({ ...network, notes: [...notes] }) };
}

/** Darknet scales pictures to 0..1 and subtracts nothing. */
function preprocessingOf({ channels, height, width }: DarknetGraph['input']): Preprocessing | null {
  if (channels !== 1 && channels !== 3 && channels !== 4) return null;
  const same = (value: number): number[] => new Array<number>(channels).fill(value);
  const size = { resize: [height, width] as [number, number], crop: null, interpolation: 'bilinear' as const };
  return { ...size, mean: same(0), std: same(1), channels, source: 'assumed' };
}

async function readSections(cfg: RangeFile): Promise<Section[]> {
  if (cfg.size > MAX_CFG) throw darknetFault(`at most ${MAX_CFG} bytes`, `'${cfg.path}'`, `${cfg.size} bytes`);
  const text = (await cfg.read(0, cfg.size, 'network')).toString('utf8').replace(/^\ufeff/, '');
  if (!/^\s*\[net(work)?\s*\]/im.test(text))
    throw fault('ERR_FORMAT_UNKNOWN', 'a .cfg of Darknet', `'${cfg.path}'`, 'a text without [net]');
  return parseCfg(text, cfg.path);
}

/** Pieces one after the other behind the header; the file must end with the last. */
async function place(file: RangeFile, pieces: Piece[]): Promise<Map<string, TensorEntry>> {
  const head = await file.read(0, 12, 'header');
  const [major, minor] = [head.readInt32LE(0), head.readInt32LE(4)];
  if (major < 0 || minor < 0 || major > 1000 || minor > 1000)
    throw darknetFault('a version', `'${file.path}'`, `${major}.${minor}`);
  let offset = major * 10 + minor >= 2 ? 20 : 16;
  const tensors = new Map<string, TensorEntry>();
  for (const { name, shape } of pieces) {
    tensors.set(name, { name, dtype: 'F32', shape, source: { path: file.path, offset } });
    offset += 4 * elements(shape);
  }
  if (offset !== file.size)
    throw darknetFault(`${offset} bytes, as the .cfg says`, `'${file.path}'`, `${file.size} bytes`);
  return tensors;
}
