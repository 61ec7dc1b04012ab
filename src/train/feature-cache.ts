import type { Batch } from '../data/types.js';
import type { GraphDescription } from '../graph/types.js';
import type { Network } from '../network/network.js';
import type { CachedRows, NextBatch, Plan, Tensor } from '../network/types.js';
import { CacheFolder, defaultCacheFolder } from './cache-folder.js';
import { featureKey } from './cache-key.js';
import { targetShape } from './targets.js';
import { pickRows, runPlan } from './plans.js';
import type { PlanResult } from './plans.js';
import type { Stopwatch } from './times.js';

interface CacheInfo {
  /** Rows in memory. */
  entries: number;
  bytes: number;
  disk?: { written: number; failure?: string };
}

/** Where features are kept, and how much of them. */
export interface CacheOptions {
  kind: 'memory' | 'disk' | 'off';
  /** Most bytes: of memory during the fit, or of all files of the folder. */
  bytes: number;
  /** Default: `defaultCacheFolder()`. */
  folder: string | undefined;
  /** Most bytes of memory that replace files which cannot be written. */
  memoryBytes: number;
}

/** What a run may be given beside its batch: the batch that follows it, and who may cancel it. */
interface Around {
  next?: Batch | undefined;
  signal?: AbortSignal | undefined;
}

/** How a fit feeds the network: graph with loss, shapes of one sample's inputs, constant inputs of the loss. */
export interface Feed {
  graph: GraphDescription;
  inputShapes: Record<string, number[]>;
  constants: Record<string, Tensor>;
}

/**
 * The frozen part of the network and what it made of each sample. A sample goes through the frozen part once, as long as
 * all features together stay below the limit; beyond it, they are computed anew whenever they are asked for, into places of the
 * cache that the next batch takes over: training always consumes values as the cache stores them, so its bits do not
 * depend on the limit.
 *
 * When marks change everything is forgotten: the cut may have moved, and what was trained may be frozen now. With files on
 * disk another key stands for that (`featureKey`), and what was there before is found again.
 */
export class FeatureCache {
  #cache: number | null = null;
  /** Those that are known to be in the cache. */
  readonly #keys = new Set<string>();
  /** Null where features are kept in memory. */
  #folder: CacheFolder | null = null;
  #told = false;
  #marks = -1;
  #below = false;
  /** Bytes of what is kept, and of one sample. */
  #bytes = 0;
  #rowBytes = 0;
  #limitBytes: number;

  /** @param warn told once, where features should be on disk and cannot */
  constructor(
    readonly net: Network,
    readonly feed: Feed,
    readonly options: CacheOptions,
    readonly warn: (message: string) => void,
  ) {
    this.#limitBytes = options.bytes;
  }

  /** Looks at the marks as they are now. Call it whenever they may have changed. */
  async refresh(): Promise<void> {
    const { marks } = this.net.version;
    if (marks === this.#marks) return;
    this.#marks = marks;
    this.#keys.clear();
    this.#bytes = 0;
    const rows = 2;
    const plan = await this.net.compile('step', this.#shapes(rows), { graph: this.feed.graph });
    const inputs = new Set(this.feed.graph.inputs.map(({ name }) => name));
    this.#below = plan.cut.some(({ name }) => !inputs.has(name));
    this.#rowBytes = plan.bytes.cut / rows;
    await this.#create(plan);
  }

  async #create(plan: Plan): Promise<void> {
    await this.dispose();
    const { kind, bytes } = this.options;
    this.#limitBytes = bytes;
    const disk = this.#below && kind === 'disk' && bytes > 0 ? await this.#onDisk(plan) : null;
    // The limit is kept here, for the places of passing batches come on top of it.
    const reply = await this.#command({
      action: 'create',
      limitBytes: Number.MAX_SAFE_INTEGER,
      ...(disk && { disk }),
    });
    this.#cache = (reply as { cache: number }).cache;
  }

  async #onDisk(plan: Plan): Promise<object | null> {
    const { folder = defaultCacheFolder(), bytes } = this.options;
    const key = await featureKey(this.net, this.feed, plan);
    try {
      this.#folder ??= await CacheFolder.open(folder, bytes);
      return await this.#folder.files(key);
    } catch (error) {
      this.#leaveDisk(error instanceof Error ? error.message : String(error));
      return null;
    }
  }

  /** From here on what is new is kept in memory. */
  #leaveDisk(reason: string): void {
    if (!this.#told) this.warn(`features are kept in memory, for they cannot be written to disk: ${reason}`);
    this.#told = true;
    this.#folder = null;
    this.#limitBytes = this.options.memoryBytes;
  }

  /** Is there anything frozen below all that trains? Without it, training reads the inputs themselves. */
  get below(): boolean {
    return this.#below;
  }

  /** Is it known that its features are kept? Files are looked at by `look`. */
  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** Which of these features are kept, those in files included. */
  async look(keys: readonly string[]): Promise<boolean[]> {
    const unknown = this.#folder ? keys.filter((key) => !this.has(key)) : [];
    if (unknown.length > 0) {
      const { has } = (await this.#command({ action: 'has', cache: this.#cache, keys: unknown })) as { has: boolean[] };
      unknown.filter((_, i) => has[i]).forEach((key) => this.#keys.add(key));
      this.#bytes = this.#rowBytes * this.#keys.size;
    }
    return keys.map((key) => this.has(key));
  }

  /** Takes it that these features may be gone. */
  forget(keys: readonly (string | null)[]): void {
    for (const key of keys) if (key !== null) this.#keys.delete(key);
  }

  /** Samples whose features are kept. */
  get size(): number {
    return this.#keys.size;
  }

  /** Is there no room for another sample? */
  get full(): boolean {
    return this.#room < 1;
  }

  get #room(): number {
    return Math.floor((this.#limitBytes - this.#bytes) / this.#rowBytes);
  }

  /**
   * Computes and keeps the features of the rows that were read, as far as there is room.
   * @param next the batch that will be filled after it
   */
  async fill(batch: Batch, signal: AbortSignal, next?: Batch): Promise<void> {
    const rows = batch.read.map((row, at) => ({ at, key: batch.keys[row] ?? null }));
    const wanted = new Map<string, number>();
    for (const { at, key } of rows) if (key !== null && !this.has(key)) wanted.set(key, at);
    const fresh = new Map([...wanted].slice(0, await this.#makeRoom(wanted.size)));
    if (fresh.size === 0) return;
    const keys = [...fresh.keys()];
    const inputs = keys.length === rows.length ? batch.inputs : pickInputs(batch.inputs, [...fresh.values()]);
    await this.#embed(inputs, keys, { signal, next });
    for (const key of keys) this.#keys.add(key);
    await this.#count();
  }

  /** For how many of so many rows there is room. */
  async #makeRoom(rows: number): Promise<number> {
    const within = Math.max(0, Math.min(rows, this.#room));
    const fit = this.#folder ? await this.#folder.makeRoom(within, this.#rowBytes) : within;
    // Other processes fill the folder too.
    if (fit < within) this.#limitBytes = this.#bytes + fit * this.#rowBytes;
    return fit;
  }

  async #count(): Promise<void> {
    const { bytes, entries, disk } = (await this.#command({ action: 'info', cache: this.#cache })) as CacheInfo;
    if (this.#folder && disk?.failure !== undefined) this.#leaveDisk(disk.failure);
    if (entries > 0) this.#rowBytes = bytes / entries;
    this.#bytes = this.#rowBytes * (this.#folder || !disk ? this.#keys.size : entries);
  }

  /** Sees to it that the features of every row are in the cache. The batch holds the inputs of all rows that are not kept. */
  async ready(batch: Batch, around: Around = {}): Promise<CachedRows> {
    const places = new Map(batch.read.map((row, at) => [row, `\0${at}`]));
    if (places.size > 0) await this.#embed(batch.inputs, [...places.values()], around);
    return { cache: this.#cache!, keys: batch.keys.map((key, row) => places.get(row) ?? key!) };
  }

  /** Runs what lies above the cut on a batch whose features are ready, or the whole on its inputs where nothing lies below. */
  run(
    mode: 'step' | 'head',
    batch: Batch,
    rows: CachedRows | null,
    request: object,
    { signal, next }: Around = {},
  ): Promise<PlanResult> {
    return runPlan(this.net, rows || mode === 'step' ? mode : 'run', {
      graph: this.feed.graph,
      shapes: this.#shapes(batch.size),
      tensors: this.#tensors(mode, batch, rows),
      request: { ...request, ...(rows && { cacheRead: rows }) },
      signal,
      next: this.#coming(mode, next),
    });
  }

  #tensors(mode: 'step' | 'head', batch: Batch, rows: CachedRows | null): Record<string, Tensor> {
    const targets = mode === 'step' && batch.target ? { target: batch.target } : {};
    const inputs = rows ? {} : batch.inputs;
    return mode === 'step' ? { ...inputs, ...targets, ...this.feed.constants } : inputs;
  }

  /** What a later batch will be run with, where that is known: its features may be still to compute. */
  #coming(mode: 'step' | 'head', next: Batch | undefined): NextBatch | undefined {
    if (!next || (this.#below && next.read.length > 0)) return undefined;
    const rows = this.#below ? { cache: this.#cache!, keys: next.keys as string[] } : null;
    return { inputs: this.#tensors(mode, next, rows), ...(rows && { cacheRead: rows }) };
  }

  async dispose(): Promise<void> {
    const cache = this.#cache;
    this.#cache = null;
    if (cache !== null) await this.#command({ action: 'release', cache });
  }

  #embed(inputs: Record<string, Tensor>, keys: string[], { signal, next }: Around): Promise<PlanResult> {
    const request = { cacheWrite: { cache: this.#cache, keys }, discardOutputs: true };
    const run = { graph: this.feed.graph, shapes: this.#shapes(keys.length), tensors: inputs, request, signal };
    return runPlan(this.net, 'embed', { ...run, next: next && { inputs: next.inputs } });
  }

  #shapes(rows: number): Record<string, number[]> {
    const { inputShapes, constants, graph } = this.feed;
    const shapes: Record<string, number[]> = {};
    for (const [name, shape] of Object.entries(inputShapes)) shapes[name] = [rows, ...shape];
    if (graph.inputs.some(({ name }) => name === 'target')) shapes.target ??= targetShape(this.net, rows);
    for (const [name, { shape }] of Object.entries(constants)) shapes[name] = shape;
    return shapes;
  }

  async #command(request: object): Promise<unknown> {
    return (await this.net.session.submit('cache', request)).reply;
  }
}

/** How a batch is run: `request` is the rest of the core's command. */
interface BatchRun {
  mode: 'step' | 'head';
  request?: object;
  /** Reads the inputs of all its samples. */
  again: () => Promise<Batch>;
  /** The batch that is run after it, as far as it is known. */
  next?: Batch | undefined;
  signal?: AbortSignal;
  clock: Stopwatch;
  /** What the time above the cut counts as. */
  part: 'step' | 'validation';
}

/**
 * Features where they are not kept, then what lies above. Features that have become damaged since they were looked at are
 * computed anew: the core says so before it has changed anything.
 */
export async function runBatch(features: FeatureCache, batch: Batch, how: BatchRun): Promise<PlanResult> {
  const { mode, request = {}, again, next, signal, clock, part } = how;
  const around = { next, signal };
  const once = async (batch: Batch): Promise<PlanResult> => {
    const rows = features.below ? await clock.time('features', () => features.ready(batch, around)) : null;
    const result = await clock.time(part, () => features.run(mode, batch, rows, request, around));
    clock.add('update', result.updateMs);
    clock.add(part, -result.updateMs);
    return result;
  };
  try {
    return await once(batch);
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_CACHE_MISS') throw error;
    features.forget(batch.keys);
    return once(await clock.time('data', again));
  }
}

function pickInputs(inputs: Record<string, Tensor>, rows: number[]): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, pickRows(tensor, rows)]));
}
