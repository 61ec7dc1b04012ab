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
 * its features stay below the limit; beyond it, they are computed anew whenever they are asked for, through a small
 * second cache: training always consumes values as the cache stores them, so its bits do not depend on the limit.
 *
 * When marks change everything is forgotten: the cut may have moved, and what was trained may be frozen now.
 */
export class FeatureCache {
  #main = 0;
  #passing = 0;
  readonly #keys = new Set<string>();
  #marks = -1;
  #below = false;
  /** Features that did not fit in the limit since the marks changed. */
  refused = 0;

  private constructor(
    readonly net: Network,
    readonly feed: Feed,
    readonly limitBytes: number,
  ) {}

  static async open(net: Network, feed: Feed, limitBytes: number): Promise<FeatureCache> {
    const cache = new FeatureCache(net, feed, limitBytes);
    cache.#main = await cache.#create(limitBytes);
    cache.#passing = await cache.#create(Number.MAX_SAFE_INTEGER);
    return cache;
  }

  /** Looks at the marks as they are now. Call it whenever they may have changed. */
  async refresh(): Promise<void> {
    const { marks } = this.net.version;
    if (marks === this.#marks) return;
    this.#marks = marks;
    this.#keys.clear();
    this.refused = 0;
    await this.#command({ action: 'clear', cache: this.#main });
    const plan = await this.net.compile('step', this.#shapes(2), { graph: this.feed.graph });
    const inputs = new Set(this.feed.graph.inputs.map(({ name }) => name));
    this.#below = plan.cut.some(({ name }) => !inputs.has(name));
  }

  /** Is there anything frozen below all that trains? Without it, training reads the inputs themselves. */
  get below(): boolean {
    return this.#below;
  }

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  hasAll(keys: readonly string[]): boolean {
    return this.#below && keys.every((key) => this.#keys.has(key));
  }

  /** Computes and keeps the features of the rows that were read, as far as the limit goes. */
  async fill(batch: Batch, signal: AbortSignal): Promise<void> {
    const rows = batch.read.map((row, at) => ({ at, key: batch.keys[row] ?? null }));
    const keyed = rows.filter((row): row is { at: number; key: string } => row.key !== null && !this.has(row.key));
    if (keyed.length === 0) return;
    const all = keyed.length === rows.length;
    const inputs = all ? batch.inputs : pickInputs(batch.inputs, keyed.map(({ at }) => at));
    const keys = keyed.map(({ key }) => key);
    await this.#embed(inputs, keys.length, { cache: this.#main, keys }, signal);
    const { has } = (await this.#command({ action: 'has', cache: this.#main, keys })) as { has: boolean[] };
    keys.forEach((key, i) => (has[i] ? this.#keys.add(key) : this.refused++));
  }

  /** Sees to it that the features of every row are in one cache. The batch holds the inputs of all rows unless all are there. */
  async ready(batch: Batch, signal?: AbortSignal): Promise<CachedRows> {
    const keys = batch.keys.filter((key) => key !== null);
    if (keys.length === batch.size && this.hasAll(keys)) return { cache: this.#main, keys };
    // The same names over and over: each batch takes the place of the one before it.
    const places = Array.from({ length: batch.size }, (_, row) => String(row));
    await this.#embed(batch.inputs, batch.size, { cache: this.#passing, keys: places }, signal);
    return { cache: this.#passing, keys: places };
  }

  /** Runs what lies above the cut on a batch whose features are ready, or the whole on its inputs where nothing lies below. */
  run(mode: 'step' | 'head', batch: Batch, rows: CachedRows | null, request: object, signal?: AbortSignal): Promise<PlanResult> {
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
    for (const cache of [this.#main, this.#passing]) await this.#command({ action: 'release', cache });
  }

  #embed(inputs: Record<string, Tensor>, size: number, cacheWrite: CachedRows, signal?: AbortSignal): Promise<PlanResult> {
    const request = { cacheWrite, discardOutputs: true };
    return runPlan(this.net, 'embed', { graph: this.feed.graph, shapes: this.#shapes(size), tensors: inputs, request, signal });
  }

  #shapes(rows: number): Record<string, number[]> {
    const { inputShapes, constants, graph } = this.feed;
    const shapes: Record<string, number[]> = {};
    for (const [name, shape] of Object.entries(inputShapes)) shapes[name] = [rows, ...shape];
    if (graph.inputs.some(({ name }) => name === 'target')) shapes.target ??= targetShape(this.net, rows);
    for (const [name, { shape }] of Object.entries(constants)) shapes[name] = shape;
    return shapes;
  }

  async #create(limitBytes: number): Promise<number> {
    return ((await this.#command({ action: 'create', limitBytes })) as { cache: number }).cache;
  }

  async #command(request: object): Promise<unknown> {
    return (await this.net.session.submit('cache', request)).reply;
  }
}

function pickInputs(inputs: Record<string, Tensor>, rows: number[]): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, pickRows(tensor, rows)]));
}
