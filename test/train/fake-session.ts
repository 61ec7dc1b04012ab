/**
 * A session without the core: the commands that training uses, carried out in TypeScript on chains of linear and relu
 * layers under one loss. Deterministic, and slow enough only for toys.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { ThawError } from '../../src/errors.js';
import type { GraphDescription, NodeDescription } from '../../src/graph/types.js';

interface Value {
  data: Float32Array;
  shape: number[];
}
interface Stored extends Value {
  dtype: string;
  modified: boolean;
}
interface FakePlan {
  mode: string;
  graph: GraphDescription;
  trainable: Set<string>;
  cut: string;
}
type Request = Record<string, any>;
type Reply = { reply: any; buffers: ArrayBuffer[] };

const size = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);

export class FakeSession {
  readonly tensors = new Map<string, Stored>();
  readonly plans = new Map<number, FakePlan>();
  readonly caches = new Map<number, { rows: Map<string, Float32Array>; limit: number }>();
  /** Every command, in order: 'run:embed 32'. */
  readonly log: string[] = [];
  /** Called ahead of each command; throw to fail it. */
  before: (command: string, request: Request) => void = () => undefined;
  readonly bytes = 0;
  #next = 1;
  #queue: Promise<unknown> = Promise.resolve();

  submit(
    command: string,
    request: Request,
    buffers: ArrayBufferView[] = [],
    options?: { signal?: AbortSignal },
  ): Promise<Reply> {
    const work = async (): Promise<Reply> => {
      if (options?.signal?.aborted) throw new ThawError('ERR_ABORTED', 'aborted');
      this.before(command, request);
      const done = await (this as any)[`_${command}`](request, buffers);
      return done?.buffers ? done : { reply: done ?? {}, buffers: [] };
    };
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  dispose(): void {
    this.tensors.clear();
  }

  set(name: string, shape: number[], data: ArrayLike<number>, modified = true): void {
    this.tensors.set(name, { dtype: 'F32', shape, data: Float32Array.from(data), modified });
  }

  _list() {
    return {
      tensors: [...this.tensors].map(([name, { dtype, shape, modified }]) => ({ name, dtype, shape, modified })),
    };
  }

  _put({ tensors }: Request, buffers: ArrayBufferView[]) {
    tensors.forEach(({ name, shape }: Request, i: number) => this.set(name, shape, buffers[i] as Float32Array));
  }

  _get({ names }: Request) {
    const found = names.map((name: string) => this.tensors.get(name)!);
    return {
      reply: { tensors: names.map((name: string, i: number) => ({ name, dtype: 'F32', shape: found[i].shape })) },
      buffers: found.map((tensor: Stored) => tensor.data.slice().buffer),
    };
  }

  _initialise({ tensors, seed }: Request) {
    for (const { name, shape } of tensors) {
      let state = [...name].reduce((a: number, c: string) => (a * 31 + c.charCodeAt(0)) >>> 0, seed + 7);
      const draw = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5;
      this.set(name, shape, Array.from({ length: size(shape) }, draw));
    }
  }

  _drop({ names }: Request) {
    for (const name of names) this.tensors.delete(name);
  }

  _copy({ from, to }: Request) {
    from.forEach((name: string, i: number) => {
      const { shape, data } = this.tensors.get(name)!;
      this.set(to[i], shape, data);
    });
  }

  async _write({ path, tensors }: Request, [header]: ArrayBufferView[]) {
    const parts = tensors.map((name: string) => Buffer.from(this.tensors.get(name)!.data.slice().buffer));
    await writeFile(
      `${path}.part`,
      Buffer.concat([Buffer.from(header!.buffer, header!.byteOffset, header!.byteLength), ...parts]),
    );
    await rename(`${path}.part`, path);
  }

  async _read({ path, tensors }: Request) {
    const file = await readFile(path);
    for (const { name, shape, offset } of tensors) {
      const bytes = file.subarray(offset, offset + 4 * size(shape));
      this.set(name, shape, new Float32Array(new Uint8Array(bytes).buffer), false);
    }
  }

  _compile({ graph, mode, trainable, inputs: shapes }: Request) {
    const marked = new Set<string>(trainable);
    const above = graph.nodes.find((node: NodeDescription) => node.inputs.some((name) => marked.has(name ?? '')));
    const cut = (above ?? graph.nodes.at(-1)).inputs[0];
    const plan = this.#next++;
    this.plans.set(plan, { mode, graph, trainable: marked, cut });
    const described = (name: string) => ({ name, dtype: 'f32', shape: [shapes.x[0], 1] });
    const own: string[] = mode === 'embed' || mode === 'run' ? ['x'] : mode === 'head' ? [cut] : [cut, 'target'];
    const weights =
      mode === 'step' && graph.inputs.some(({ name }: Request) => name === 'class_weights') ? ['class_weights'] : [];
    const inputs = [...own, ...weights].map((name) =>
      name === 'target'
        ? { name, dtype: graph.inputs.find((i: Request) => i.name === 'target').dtype, shape: [1] }
        : described(name),
    );
    const cutShape = this.#shape(graph, cut, { length: shapes.x[0], rows: true } as never);
    return {
      plan,
      inputs,
      outputs: [],
      cut: [{ ...described(cut), shape: cutShape }],
      bytes: { cut: 4 * size(cutShape) },
      launches: [],
      declined: [],
    };
  }

  _digest({ names }: Request) {
    return { digests: names.map((name: string) => this.tensors.get(name)!.data.join()) };
  }

  _release({ plan }: Request) {
    this.plans.delete(plan);
  }

  _cache({ action, cache, keys, limitBytes }: Request) {
    const id = cache ?? this.#next++;
    if (action === 'create') this.caches.set(id, { rows: new Map(), limit: limitBytes });
    const { rows, limit } = this.caches.get(id)!;
    if (action === 'clear') rows.clear();
    if (action === 'release') this.caches.delete(id);
    if (action === 'has') return { has: keys.map((key: string) => rows.has(key)) };
    const bytes = [...rows.values()].reduce((sum, row) => sum + 4 * row.length, 0);
    return { cache: id, entries: rows.size, bytes, limitBytes: limit, full: false };
  }

  _run(request: Request, buffers: ArrayBufferView[]): Reply {
    const plan = this.plans.get(request.plan);
    if (!plan) throw new ThawError('ERR_PLAN', 'no such plan');
    const given: Record<string, any> = {};
    request.inputs.forEach((name: string, i: number) => (given[name] = buffers[i]));
    if (request.cacheRead) given[plan.cut] = this.#cached(request.cacheRead);
    const start = plan.mode === 'step' || plan.mode === 'head' ? plan.cut : 'x';
    const end = plan.mode === 'embed' ? plan.cut : plan.graph.outputs[0]!;
    const values = this.#forward(
      plan.graph,
      start,
      { data: given[start], shape: this.#shape(plan.graph, start, given[start]) },
      end,
    );
    const out = values.get(end)!;
    this.log.push(`${plan.mode} ${out.shape[0]}`);
    if (request.cacheWrite) this.#keep(request.cacheWrite, out);
    const outputs = request.discardOutputs ? [] : [{ name: end, dtype: 'f32', shape: out.shape }];
    const reply: Request = { outputs, losses: [] };
    if (plan.mode === 'step') this.#step(plan, values, given, request, reply);
    return { reply, buffers: outputs.map(() => out.data.slice().buffer as ArrayBuffer) };
  }

  #shape(graph: GraphDescription, name: string, data: Float32Array): number[] {
    const reader = graph.nodes.find((node) => node.inputs[0] === name)!;
    const layer =
      reader.op === 'linear' ? reader : graph.nodes.slice(graph.nodes.indexOf(reader)).find((n) => n.op === 'linear');
    const width = layer ? this.tensors.get(layer.inputs[1]!)!.shape[1]! : data.length;
    return 'rows' in data ? [data.length, width] : [data.length / width, width];
  }

  #cached({ cache, keys }: Request): Float32Array {
    const { rows } = this.caches.get(cache)!;
    const missing = keys.filter((key: string) => !rows.has(key));
    if (missing.length > 0) throw new ThawError('ERR_CACHE_MISS', `missing ${missing}`);
    return Float32Array.from(keys.flatMap((key: string) => [...rows.get(key)!]));
  }

  #keep({ cache, keys }: Request, { data, shape }: Value): void {
    if (keys.length !== shape[0]) throw new ThawError('ERR_INPUT', `${keys.length} keys for ${shape[0]} rows`);
    const width = shape[1]!;
    keys.forEach((key: string, i: number) =>
      this.caches.get(cache)!.rows.set(key, data.slice(i * width, (i + 1) * width)),
    );
  }

  #forward(graph: GraphDescription, start: string, first: Value, end: string): Map<string, Value> {
    const values = new Map([[start, first]]);
    for (const node of graph.nodes) {
      if (values.has(end) && end !== start) break;
      const x = values.get(node.inputs[0]!);
      if (!x || end === start) continue;
      if (node.op === 'relu') values.set(node.name, { data: x.data.map((v) => Math.max(0, v)), shape: x.shape });
      if (node.op === 'linear') values.set(node.name, this.#linear(node, x));
    }
    return values;
  }

  #linear(node: NodeDescription, x: Value): Value {
    const weight = this.tensors.get(node.inputs[1]!)!;
    const bias = this.tensors.get(node.inputs[2]!)!;
    const [outs, ins] = weight.shape as [number, number];
    const rows = x.shape[0]!;
    const data = new Float32Array(rows * outs);
    for (let n = 0; n < rows; n++)
      for (let o = 0; o < outs; o++) {
        let sum = bias.data[o]!;
        for (let i = 0; i < ins; i++) sum += x.data[n * ins + i]! * weight.data[o * ins + i]!;
        data[n * outs + o] = sum;
      }
    return { data, shape: [rows, outs] };
  }

  #gradients = new Map<string, Float32Array>();

  #step(
    plan: FakePlan,
    values: Map<string, Value>,
    given: Record<string, any>,
    request: Request,
    reply: Request,
  ): void {
    const scores = values.get(plan.graph.outputs[0]!)!;
    const lossNode = plan.graph.nodes.find((node) => node.name === plan.graph.losses![0]!.value)!;
    const { loss, gradient } = lossOf(lossNode, scores, given.target, given.class_weights);
    reply.losses = [loss];
    if (!Number.isFinite(loss))
      throw new ThawError('ERR_LOSS_NOT_FINITE', 'expected a finite number for the loss, received NaN');
    const { update } = request;
    const part = update.accumulate;
    if (part === undefined || part === 'begin') this.#gradients = new Map();
    this.#backward(
      plan,
      values,
      gradient.map((g) => g * (request.lossScale ?? 1)),
    );
    if (part === undefined || part === 'last') for (const [name, g] of this.#gradients) this.#update(name, g, update);
    reply.gradientNorm = Math.sqrt([...this.#gradients.values()].flatMap((g) => [...g]).reduce((a, b) => a + b * b, 0));
  }

  #backward(plan: FakePlan, values: Map<string, Value>, last: Float32Array): void {
    let gradient = last;
    const chain = plan.graph.nodes.filter((node) => node.op === 'relu' || node.op === 'linear');
    for (const node of chain.reverse()) {
      const x = values.get(node.inputs[0]!);
      if (!x) break;
      if (node.op === 'relu') gradient = gradient.map((g, i) => (x.data[i]! > 0 ? g : 0));
      else gradient = this.#linearBackward(plan, node, x, gradient);
    }
  }

  #linearBackward(plan: FakePlan, node: NodeDescription, x: Value, dy: Float32Array): Float32Array {
    const weight = this.tensors.get(node.inputs[1]!)!;
    const [outs, ins] = weight.shape as [number, number];
    const add = (name: string, at: number, value: number, length: number): void => {
      if (!plan.trainable.has(name)) return;
      if (!this.#gradients.has(name)) this.#gradients.set(name, new Float32Array(length));
      this.#gradients.get(name)![at]! += value;
    };
    const dx = new Float32Array(x.data.length);
    for (let n = 0; n < x.shape[0]!; n++)
      for (let o = 0; o < outs; o++) {
        const g = dy[n * outs + o]!;
        add(node.inputs[2]!, o, g, outs);
        for (let i = 0; i < ins; i++) {
          add(node.inputs[1]!, o * ins + i, g * x.data[n * ins + i]!, outs * ins);
          dx[n * ins + i]! += g * weight.data[o * ins + i]!;
        }
      }
    return dx;
  }

  #update(name: string, gradient: Float32Array, update: Request): void {
    const tensor = this.tensors.get(name)!;
    const rate = update.rates?.[name] ?? update.learningRate;
    const decay = update.decays?.[name] ?? update.weightDecay ?? 0;
    const origin = update.l2sp ? this.tensors.get(update.l2sp.towards + name) : undefined;
    const state = (kind: string): Float32Array => {
      const key = `optimizer/${kind}/${name}`;
      if (!this.tensors.has(key)) this.set(key, tensor.shape, new Float32Array(tensor.data.length));
      return this.tensors.get(key)!.data;
    };
    const momentum = state('momentum');
    tensor.data = tensor.data.map((w, i) => {
      momentum[i] =
        (update.momentum ?? update.beta1) * momentum[i]! + gradient[i]! + decay * (w - (origin?.data[i] ?? 0));
      return w - rate * momentum[i]!;
    });
    tensor.modified = true;
  }
}

function lossOf(node: NodeDescription, { data, shape }: Value, target: ArrayLike<number>, weights?: Float32Array) {
  const [rows, width] = shape as [number, number];
  const gradient = new Float32Array(data.length);
  let loss = 0;
  let total = 0;
  for (let n = 0; n < rows; n++) total += node.op === 'cross_entropy' ? (weights?.[target[n]!] ?? 1) : 1;
  for (let n = 0; n < rows; n++) {
    const row = data.subarray(n * width, (n + 1) * width);
    if (node.op === 'cross_entropy') {
      const scale = (weights?.[target[n]!] ?? 1) / total;
      const highest = Math.max(...row);
      const sum = row.reduce((s, v) => s + Math.exp(v - highest), 0);
      loss += scale * (highest + Math.log(sum) - row[target[n]!]!);
      row.forEach(
        (v, c) => (gradient[n * width + c] = scale * (Math.exp(v - highest) / sum - Number(c === target[n]))),
      );
    } else {
      row.forEach((v, c) => {
        const t = target[n * width + c]!;
        const binary = node.op === 'binary_cross_entropy';
        const p = 1 / (1 + Math.exp(-v));
        loss += (binary ? Math.max(v, 0) - v * t + Math.log1p(Math.exp(-Math.abs(v))) : (v - t) ** 2) / data.length;
        gradient[n * width + c] = (binary ? p - t : 2 * (v - t)) / data.length;
      });
    }
  }
  return { loss, gradient };
}
