import { expected, ThawError } from '../errors.js';
import type { GraphDescription } from '../graph/types.js';
import type { NativeSession, Precision } from '../native.js';
import type { Marks } from './freeze.js';
import { checkedTensor } from './tensors.js';
import { Staging } from './staging.js';
import type { CachedRows, NextBatch, Plan, PlanMode, Tensor, ValueDescription } from './types.js';

/** Plans kept at once: a few batch sizes (the last of an epoch is short) for each mode. */
const LIMIT = 24;

/** Answer of the core's `run`; the buffers of `outputs`, then of `gradients`, travel beside it. */
export interface RunReply {
  outputs: ValueDescription[];
  gradients?: { name: string; shape: number[] }[];
  losses: number[];
  /** null where the update does not clip. */
  gradientNorm?: number | null;
  cached?: number;
  /** The inputs had been brought to the GPU during the run before. */
  staged?: true;
  updateMs?: number;
}

export interface PlanRequest {
  mode: PlanMode;
  inputs: Record<string, number[]>;
  graph: GraphDescription;
  /** Version of the network's graph: plans of older ones are released. */
  current: number;
  marks: Marks;
  outputs?: string[];
  signal?: AbortSignal | undefined;
}

interface RunOptions {
  signal?: AbortSignal | undefined;
  next?: NextBatch | undefined;
  /** The plan of the frozen part, where that runs first. */
  frozen?: Plan | undefined;
}

interface Entry {
  version: string;
  plan: Promise<Plan>;
}

/**
 * Compiled plans by what they were compiled from: graph, marks, mode and shapes. Plans of an older graph or older marks,
 * and beyond `LIMIT` the one that was not asked for longest, are released.
 */
export class PlanCache {
  readonly #entries = new Map<string, Entry>();
  readonly #graphs = new WeakMap<GraphDescription, number>();
  #nextGraph = 0;
  readonly #staging = new Staging();

  constructor(
    readonly session: NativeSession,
    readonly precision: Precision | 'auto',
  ) {}

  async get(request: PlanRequest): Promise<Plan> {
    const version = `${request.current}/${request.marks.version}`;
    for (const [key, entry] of this.#entries) if (entry.version !== version) this.#release(key);
    const key = this.#key(request);
    const entry = this.#entries.get(key) ?? { version, plan: this.#compile(key, request) };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > LIMIT) this.#release(this.#entries.keys().next().value!);
    return entry.plan;
  }

  /** Lets go of every plan. */
  release(): void {
    for (const key of [...this.#entries.keys()]) this.#release(key);
  }

  /**
   * Runs a plan, after that of the frozen part where one is given. Inputs are checked here; those that are not read are left
   * out.
   * @throws ERR_INPUT, ERR_SHAPE, ERR_DTYPE
   */
  async run(
    plan: Plan,
    inputs: Record<string, Tensor>,
    request: { cacheRead?: CachedRows },
    { signal, next, frozen }: RunOptions = {},
  ): Promise<{ plan: Plan; reply: RunReply; buffers: ArrayBuffer[] }> {
    const computed = new Set(frozen?.outputs.map(({ name }) => name));
    const read = [...(frozen?.inputs ?? []), ...plan.inputs.filter(({ name }) => !computed.has(name))];
    const given = read.filter(({ name }) => inputs[name] !== undefined);
    const missing = read.find(({ name }) => inputs[name] === undefined);
    if (missing && !request.cacheRead) {
      throw expected('ERR_INPUT', `a tensor [${missing.shape.join(', ')}]`, `input '${missing.name}'`, undefined);
    }
    const arrays = new Map(given.map(({ name, dtype }) => [name, checkedTensor(name, dtype, inputs[name]!).data]));
    const staged = this.#staging.ticket(plan, arrays, request.cacheRead);
    const announced = this.#staging.announce(plan, next);
    const command = {
      ...request,
      plan: plan.id,
      ...(frozen && { frozen: frozen.id }),
      inputs: [...arrays.keys()],
      ...(staged !== undefined && { staged }),
      ...(announced && { next: announced.next }),
    };
    const views = [...arrays.values(), ...(announced?.arrays ?? [])];
    const { reply, buffers } = await this.session.submit('run', command, views, signal ? { signal } : {});
    return { plan, reply: reply as RunReply, buffers };
  }

  /** What a plan depends on; the order of `inputs` does not matter. */
  #key({ mode, inputs, graph, marks, outputs }: PlanRequest): string {
    let id = this.#graphs.get(graph);
    if (id === undefined) this.#graphs.set(graph, (id = this.#nextGraph++));
    const shapes = Object.entries(inputs).sort(([a], [b]) => (a < b ? -1 : 1));
    return JSON.stringify([id, marks.version, mode, shapes, outputs ?? null]);
  }

  #compile(key: string, { mode, inputs, graph, marks, outputs, signal }: PlanRequest): Promise<Plan> {
    const request = {
      graph,
      mode,
      inputs,
      trainable: marks.trainable(),
      batchNorm: marks.batchNormModes(),
      precision: this.precision,
      ...(outputs && { outputs }),
    };
    const plan = this.session
      .submit('compile', request, [], signal ? { signal } : {})
      .then(({ reply }) => described(mode, reply));
    // A plan that failed, or whose compilation was cancelled, is asked for anew the next time.
    plan.catch(() => this.#entries.delete(key));
    return plan;
  }

  #release(key: string): void {
    const entry = this.#entries.get(key);
    this.#entries.delete(key);
    entry?.plan
      .then((plan) => {
        plan.released = true;
        return this.session.submit('release', { plan: plan.id });
      })
      // It was never made, or the session, and the plan with it, is gone.
      .catch(() => undefined);
  }
}

function described(mode: PlanMode, reply: Omit<Plan, 'id' | 'mode' | 'released'> & { plan: number }): Plan {
  const { plan: id, isa, precision, inputs, outputs, cut, bytes, launches, declined } = reply;
  if (!Array.isArray(inputs))
    throw new ThawError('ERR_PLAN', `expected a plan from the core, received ${JSON.stringify(reply)}`);
  return {
    id,
    mode,
    isa,
    precision,
    inputs,
    outputs,
    cut: cut ?? [],
    bytes,
    launches: launches ?? [],
    declined: declined ?? [],
    released: false,
  };
}
