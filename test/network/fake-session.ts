/** A session without the core: keeps tensors, records commands, infers shapes of simple graphs. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { ThawError } from '../../src/errors.js';
import type { GraphDescription, Initialiser } from '../../src/graph/types.js';
import type { GpuDescription, NativeSession } from '../../src/native.js';
import { featureShape } from '../../src/network/features.js';

const WIDTH: Record<string, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};
const count = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);

interface Stored {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

/** A drawn tensor takes memory when it is first read: zoo networks are large. */
function drawn({ dtype, shape, init }: Described, seed: number): Stored {
  let bytes: Uint8Array | undefined;
  const make = (): Uint8Array => {
    const fresh = new Uint8Array(count(shape) * WIDTH[dtype]!);
    const value = init!.kind === 'ones' ? 1 : init!.kind === 'zeros' ? 0 : 0.5 + seed;
    if (dtype === 'F32') new Float32Array(fresh.buffer).fill(value);
    return fresh;
  };
  return {
    dtype,
    shape,
    get bytes() {
      return (bytes ??= make());
    },
  };
}

interface Described {
  name: string;
  dtype: string;
  shape: number[];
  offset?: number;
  strides?: number[];
  init?: Initialiser;
}

export interface Submitted {
  command: string;
  // Requests differ by command
  request: any;
  buffers: ArrayBufferView[];
}

/** What a test puts in place of src/native.ts. */
export const fakeNative = () => ({
  createSession: () => new FakeSession(),
  coreInfo: () => ({ version: '1.2.3', isa: 'scalar', isas: ['scalar'], threads: 1 }),
  cudaPath: () => '/somewhere/thaw.cuda.so',
});

/** GPUs of every fake session. */
export const gpus: GpuDescription[] = [];

/** Every session made by `createSession` of a test, in order. */
export const sessions: FakeSession[] = [];

export class FakeSession implements NativeSession {
  readonly store = new Map<string, Stored>();
  readonly submitted: Submitted[] = [];
  readonly plans = new Set<number>();
  /** Commands that fail the next time, by name. */
  readonly fail = new Map<string, ThawError>();
  /** Values of the cut that compiled plans name. */
  cut: { name: string; dtype: string; shape: number[] }[] = [];
  disposed = false;
  #next = 1;

  constructor() {
    sessions.push(this);
  }

  get bytes(): number {
    return [...this.store.values()].reduce((sum, { dtype, shape }) => sum + count(shape) * WIDTH[dtype]!, 0);
  }

  /** Requests of a command, in order. */
  // Requests differ by command
  of(command: string): any[] {
    return this.submitted.filter((one) => one.command === command).map(({ request }) => request);
  }

  dispose(): void {
    this.disposed = true;
  }

  // The reply depends on the command
  async submit(
    command: string,
    request: any,
    buffers: ArrayBufferView[] = [],
    options: { signal?: AbortSignal } = {},
  ): Promise<any> {
    if (this.disposed) throw new ThawError('ERR_DISPOSED', 'disposed');
    if (options.signal?.aborted) throw new ThawError('ERR_ABORTED', 'aborted');
    this.submitted.push({ command, request: structuredClone(request), buffers });
    const failure = this.fail.get(command);
    this.fail.delete(command);
    if (failure) throw failure;
    const handler = this.#handlers[command];
    if (!handler) throw new ThawError('ERR_COMMAND', `no command '${command}'`);
    return { reply: {}, buffers: [], ...handler(request, buffers) };
  }

  // Requests differ by command
  readonly #handlers: Record<
    string,
    (request: any, buffers: ArrayBufferView[]) => { reply?: unknown; buffers?: ArrayBuffer[] }
  > = {
    read: ({ path, tensors }: { path: string; tensors: Described[] }) => {
      const file = readFileSync(path);
      for (const { name, dtype, shape, offset } of tensors) {
        const bytes = Uint8Array.from(file.subarray(offset!, offset! + count(shape) * WIDTH[dtype]!));
        this.store.set(name, { dtype, shape, bytes });
      }
      return {};
    },
    put: ({ tensors }: { tensors: Described[] }, buffers) => {
      tensors.forEach(({ name, dtype, shape }, i) => {
        const view = buffers[i]!;
        const bytes = Uint8Array.from(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
        if (bytes.length !== count(shape) * WIDTH[dtype]!) throw new Error(`wrong size of '${name}'`);
        this.store.set(name, { dtype, shape, bytes });
      });
      return {};
    },
    initialise: ({ tensors, seed }: { tensors: Described[]; seed: number }) => {
      for (const tensor of tensors) this.store.set(tensor.name, drawn(tensor, seed));
      return {};
    },
    get: ({ names, as }: { names: string[]; as?: string }) => {
      const found = names.map((name) => this.#at(name));
      if (as === 'f32' && found.some(({ dtype }) => dtype !== 'F32')) throw new Error('the fake converts nothing');
      return {
        reply: { tensors: found.map(({ dtype, shape }, i) => ({ name: names[i], dtype, shape })) },
        buffers: found.map(({ bytes }) => bytes.slice().buffer),
      };
    },
    list: () => {
      const tensors = [...this.store].map(([name, { dtype, shape }]) => ({ name, dtype, shape, modified: false }));
      return { reply: { tensors: tensors.sort((a, b) => (a.name < b.name ? -1 : 1)) } };
    },
    drop: ({ names }: { names: string[] }) => {
      for (const name of names) this.store.delete(name);
      return {};
    },
    write: ({ path, tensors }: { path: string; tensors: string[] }, [header]) => {
      const parts = tensors.map((name) => this.#at(name).bytes);
      writeFileSync(`${path}.part`, Buffer.concat([header as Uint8Array, ...parts]));
      renameSync(`${path}.part`, path);
      return {};
    },
    compile: ({ graph, mode, inputs, outputs }) => ({ reply: this.#compile(graph, mode, inputs, outputs) }),
    devices: () => ({
      reply: {
        gpus,
        driver: '13.0',
        needed: '13.0',
        ...(gpus.length === 0 && { why: 'expected a GPU, received none' }),
      },
    }),
    device: ({ device }: { device: number }) => {
      this.plans.clear();
      return { reply: device < 0 ? {} : { gpu: gpus[device] } };
    },
    release: ({ plan }: { plan: number }) => {
      this.plans.delete(plan);
      return {};
    },
    run: ({ plan, gradients }) => {
      if (!this.plans.has(plan)) throw new ThawError('ERR_PLAN', 'no such plan');
      const value = { name: 'fc', dtype: 'f32', shape: [1, 2] };
      const gradient = { name: 'fc.bias', shape: [2] };
      return {
        reply: { outputs: [value], losses: [0.5], ...(gradients && { gradients: [gradient] }), gradientNorm: 2 },
        buffers: [Float32Array.of(1, 2).buffer, ...(gradients ? [Float32Array.of(3, 4).buffer] : [])],
      };
    },
  };

  #at(name: string): Stored {
    const found = this.store.get(name);
    if (!found) throw new ThawError('ERR_TENSOR_MISSING', `no tensor '${name}'`);
    return found;
  }

  #compile(graph: GraphDescription, mode: string, inputs: Record<string, number[]>, outputs?: string[]): object {
    const rows = Object.values(inputs)[0]![0]!;
    const [height, width] = Object.values(inputs)[0]!.slice(2);
    const shapeOf = (name: string): number[] => [
      rows,
      ...featureShape(graph, name, height && width ? { height, width } : null),
    ];
    if (mode === 'infer')
      return { values: graph.nodes.map(({ name }) => ({ name, dtype: 'f32', shape: shapeOf(name), node: name })) };
    const plan = this.#next++;
    this.plans.add(plan);
    const given = graph.inputs
      .filter(({ name }) => inputs[name])
      .map(({ name, dtype }) => ({ name, dtype, shape: inputs[name] }));
    return {
      plan,
      inputs:
        mode === 'step' && this.cut.length > 0
          ? [...this.cut, ...given.filter(({ name }) => name === 'target')]
          : given,
      outputs: (outputs ?? graph.outputs).map((name) => ({ name, dtype: 'f32', shape: [] })),
      cut: this.cut,
      bytes: { arena: 1000, prepared: 100, gradients: 10, workspace: 1, cut: 8 },
      launches: [],
      declined: [],
    };
  }
}
