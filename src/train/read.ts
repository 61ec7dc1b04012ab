import { batches } from '../data/loader.js';
import type { Batch, Dataset, SkippedFile } from '../data/types.js';
import { withNext } from './batches.js';
import type { Network } from '../network/network.js';
import { FIXED } from './defaults.js';
import type { TrainingData } from './options.js';
import { runPlan } from './plans.js';
import type { PlanResult } from './plans.js';
import { targetEncoding } from './targets.js';

/** What reading a data set through a network may be told. */
export interface ReadOptions {
  /** Samples a batch, 32 by default. Results do not depend on it. */
  batch?: number;
  signal?: AbortSignal | undefined;
  /** Called after each batch: samples done, and all (null for a stream). */
  progress?: (done: number, total: number | null) => void;
  strict?: boolean;
}

/** Runs the network on every sample in order: `outputs` names other values than its outputs. */
export async function* inferAll(
  net: Network,
  data: TrainingData,
  options: ReadOptions & { targets: boolean; outputs?: string[]; skipped?: (file: SkippedFile) => void },
): AsyncGenerator<{ batch: Batch; result: PlanResult }> {
  const { signal, progress, outputs } = options;
  const total = 'length' in data ? data.length : null;
  let done = 0;
  const loaded = batches(data as Dataset, {
    session: net.session,
    batch: options.batch ?? FIXED.inferenceBatch,
    ...(net.preprocessing && { preprocessing: net.preprocessing }),
    ...(net.graph.inputs[0] && { input: net.graph.inputs[0].name }),
    ...(options.targets && { target: targetEncoding(net) }),
    strict: options.strict ?? false,
    ...(options.skipped && { onSkip: options.skipped }),
    ...(signal && { signal }),
  });
  for await (const { batch, next } of withNext(loaded)) {
    const shapes = Object.fromEntries(Object.entries(batch.inputs).map(([name, { shape }]) => [name, [...shape]]));
    const run = {
      graph: net.graph,
      shapes,
      tensors: batch.inputs,
      signal,
      ...(outputs && { outputs }),
      next: next && { inputs: next.inputs },
    };
    yield { batch, result: await runPlan(net, 'run', run) };
    done += batch.size;
    progress?.(done, total);
  }
}
