import type { Batch } from '../data/types.js';
import type { GraphDescription } from '../graph/types.js';
import type { Network } from '../network/network.js';
import type { Tensor } from '../network/types.js';
import { targetShape } from './targets.js';
import { pickRows, runPlan } from './plans.js';
import type { PlanResult } from './plans.js';

/** Where the cut's values of a batch lie. */
interface CachedRows {
  cache: number;
  keys: string[];
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
 * When marks change everything is forgotten: the cut may have moved, and what was trained may be frozen now.
 */
export class FeatureCache {
  #cache = 0;
  readonly #keys = new Set<string>();
  #marks = -1;
  #below = false;
  /** Bytes of what is kept, and of one sample. */
  #bytes = 0;
  #rowBytes = 0;

  private constructor(
    readonly net: Network,
    readonly feed: Feed,
    readonly limitBytes: number,
  ) {}

  static async open(net: Network, feed: Feed, limitBytes: number): Promise<FeatureCache> {
    const cache = new FeatureCache(net, feed, limitBytes);
    // The limit is kept here, for the places of passing batches come on top of it.
    const reply = await cache.#command({ action: 'create', limitBytes: Number.MAX_SAFE_INTEGER });
    cache.#cache = (reply as { cache: number }).cache;
    return cache;
  }

  /** Looks at the marks as they are now. Call it whenever they may have changed. */
  async refresh(): Promise<void> {
    const { marks } = this.net.version;
    if (marks === this.#marks) return;
    this.#marks = marks;
    this.#keys.clear();
    this.#bytes = 0;
    await this.#command({ action: 'clear', cache: this.#cache });
    const plan = await this.net.compile('step', this.#shapes(2), { graph: this.feed.graph });
    const inputs = new Set(this.feed.graph.inputs.map(({ name }) => name));
    this.#below = plan.cut.some(({ name }) => !inputs.has(name));
    this.#rowBytes = plan.cut.reduce(
      (sum, { shape }) => sum + 2 * shape.reduce((product, size) => product * size, 1),
      0,
    );
  }

  /** Is there anything frozen below all that trains? Without it, training reads the inputs themselves. */
  get below(): boolean {
    return this.#below;
  }

  has(key: string): boolean {
    return this.#keys.has(key);
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
    return Math.floor((this.limitBytes - this.#bytes) / this.#rowBytes);
  }

  /** Computes and keeps the features of the rows that were read, as far as there is room. */
  async fill(batch: Batch, signal: AbortSignal): Promise<void> {
    const rows = batch.read.map((row, at) => ({ at, key: batch.keys[row] ?? null }));
    const fresh = new Map<string, number>();
    for (const { at, key } of rows) if (key !== null && !this.has(key) && fresh.size < this.#room) fresh.set(key, at);
    if (fresh.size === 0) return;
    const keys = [...fresh.keys()];
    const inputs = keys.length === rows.length ? batch.inputs : pickInputs(batch.inputs, [...fresh.values()]);
    await this.#embed(inputs, keys, signal);
    for (const key of keys) this.#keys.add(key);
    const { bytes, entries } = (await this.#command({ action: 'info', cache: this.#cache })) as {
      bytes: number;
      entries: number;
    };
    this.#rowBytes = bytes / entries;
    this.#bytes = this.#rowBytes * this.#keys.size;
  }

  /** Sees to it that the features of every row are in the cache. The batch holds the inputs of all rows that are not kept. */
  async ready(batch: Batch, signal?: AbortSignal): Promise<CachedRows> {
    const places = new Map(batch.read.map((row, at) => [row, `\0${at}`]));
    if (places.size > 0) await this.#embed(batch.inputs, [...places.values()], signal);
    return { cache: this.#cache, keys: batch.keys.map((key, row) => places.get(row) ?? key!) };
  }

  /** Runs what lies above the cut on a batch whose features are ready, or the whole on its inputs where nothing lies below. */
  run(
    mode: 'step' | 'head',
    batch: Batch,
    rows: CachedRows | null,
    request: object,
    signal?: AbortSignal,
  ): Promise<PlanResult> {
    const targets = mode === 'step' && batch.target ? { target: batch.target } : {};
    const inputs = rows ? {} : batch.inputs;
    const tensors = mode === 'step' ? { ...inputs, ...targets, ...this.feed.constants } : inputs;
    return runPlan(this.net, rows || mode === 'step' ? mode : 'run', {
      graph: this.feed.graph,
      shapes: this.#shapes(batch.size),
      tensors,
      request: { ...request, ...(rows && { cacheRead: rows }) },
      signal,
    });
  }

  async dispose(): Promise<void> {
    await this.#command({ action: 'release', cache: this.#cache });
  }

  #embed(inputs: Record<string, Tensor>, keys: string[], signal?: AbortSignal): Promise<PlanResult> {
    const request = { cacheWrite: { cache: this.#cache, keys }, discardOutputs: true };
    const shapes = this.#shapes(keys.length);
    return runPlan(this.net, 'embed', { graph: this.feed.graph, shapes, tensors: inputs, request, signal });
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

function pickInputs(inputs: Record<string, Tensor>, rows: number[]): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, pickRows(tensor, rows)]));
}
