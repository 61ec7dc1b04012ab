import type { GraphDescription } from '../graph/types.js';
import type { Network } from '../network/network.js';
import type { NextBatch, PlanMode, Tensor, TypedArray } from '../network/types.js';

export interface PlanRun {
  graph: GraphDescription;
  /** Shape of every input of the graph, those that this mode does not read included. */
  shapes: Record<string, number[]>;
  /** Values by input; the ones that come from a cache are left out. */
  tensors: Record<string, Tensor>;
  /** The rest of the core's `run` command. */
  request?: object;
  /** Values wanted instead of the graph's outputs. */
  outputs?: string[];
  signal?: AbortSignal | undefined;
  /** The batch that is run after this one, as far as it is known. */
  next?: NextBatch | undefined;
}

export interface PlanResult {
  outputs: { name: string; shape: number[]; data: Float32Array }[];
  /** Sum of the losses, each times its weight. */
  loss: number;
  gradientNorm: number | undefined;
  /** Milliseconds of the update. */
  updateMs: number;
}

/** Compiles (or finds) the plan for a mode under the present marks and runs it once. */
export async function runPlan(net: Network, mode: PlanMode, run: PlanRun): Promise<PlanResult> {
  const { graph, shapes, tensors, request = {}, outputs: wanted, signal, next } = run;
  const options = { graph, shapes, signal, next, ...(wanted && { outputs: wanted }) };
  const { reply, buffers } = await net.execute(mode, tensors, request, options);
  const outputs = reply.outputs.map(({ name, shape }, i) => ({ name, shape, data: new Float32Array(buffers[i]!) }));
  const loss = (reply.losses ?? []).reduce((sum, value, i) => sum + value * (graph.losses?.[i]?.weight ?? 1), 0);
  return { outputs, loss, gradientNorm: reply.gradientNorm ?? undefined, updateMs: reply.updateMs ?? 0 };
}

/** Some rows of a tensor, copied. */
export function pickRows(tensor: Tensor, rows: ArrayLike<number>): Tensor {
  const width = tensor.data.length / Math.max(1, tensor.shape[0]!);
  const Kind = tensor.data.constructor as new (length: number) => TypedArray;
  const data = new Kind(rows.length * width);
  for (let i = 0; i < rows.length; i++) {
    data.set(tensor.data.subarray(rows[i]! * width, (rows[i]! + 1) * width) as never, i * width);
  }
  return { data, shape: [rows.length, ...tensor.shape.slice(1)] };
}
