import type { Batch } from '../data/types.js';
import { ThawError } from '../errors.js';
import type { Network } from '../network/network.js';
import { multiLabelMetrics, regressionMetrics, singleLabelMetrics } from './metrics.js';
import type { Metrics, Scored } from './metrics.js';
import type { CustomMetric } from './options.js';
import type { PlanResult } from './plans.js';
import { FIXED } from './defaults.js';
import { unscale } from './targets.js';

/** Gathers scores and targets batch by batch. Regression keeps both in original units. */
export class ScoreSheet {
  readonly #scores: Float32Array[] = [];
  readonly #targets: (Int32Array | Float32Array)[] = [];
  readonly #net: Network;

  constructor(net: Network) {
    this.#net = net;
  }

  add(batch: Batch, { outputs }: PlanResult): void {
    const scores = outputs[0];
    if (!scores) throw new ThawError('ERR_OUTPUT', 'expected an output of the network for metrics, received none');
    if (!batch.target)
      throw new ThawError('ERR_DATA', `expected a target for sample ${batch.samples[0]}, received none`);
    const scaling = this.#net.head.kind === 'regression' ? this.#net.head.scaling : undefined;
    this.#scores.push(unscale(scores.data, scaling));
    const target = batch.target.data as Int32Array | Float32Array;
    this.#targets.push(target instanceof Float32Array ? unscale(target, scaling) : target);
  }

  /** @throws ERR_DATA there is no sample */
  scored(): Scored {
    if (this.#scores.length === 0)
      throw new ThawError('ERR_DATA', 'expected at least one readable sample, received none');
    const rows = this.#targets.reduce((sum, part) => sum + part.length, 0);
    const scores = joined(this.#scores, Float32Array);
    const single = this.#net.head.kind === 'single';
    const targets = single ? joined(this.#targets, Int32Array) : joined(this.#targets, Float32Array);
    return { scores, width: single ? scores.length / rows : this.#net.head.outputs, targets };
  }
}

function joined<T extends Int32Array | Float32Array>(
  parts: readonly ArrayLike<number>[],
  Kind: new (length: number) => T,
): T {
  const all = new Kind(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The metrics that go with the head, and the user's own. */
export function measure(
  net: Network,
  scored: Scored,
  custom: Record<string, CustomMetric> = {},
  threshold = net.head.threshold ?? FIXED.threshold,
): Metrics & { custom?: Record<string, number> } {
  const metrics = headMetrics(net, scored, threshold);
  const names = Object.keys(custom);
  if (names.length === 0) return metrics;
  const { scores, width, targets } = scored;
  const rows = scores.length / width;
  const shape = net.head.kind === 'single' ? [rows] : [rows, width];
  const own = names.map((name) => {
    const value = custom[name]!({ data: scores, shape: [rows, width] }, { data: targets, shape });
    if (typeof value !== 'number')
      throw new ThawError('ERR_OPTION', `expected a number from metrics.${name}, received ${String(value)}`);
    return [name, value] as const;
  });
  return { ...metrics, custom: Object.fromEntries(own) };
}

function headMetrics(net: Network, scored: Scored, threshold: number): Metrics {
  if (net.head.kind === 'single') return singleLabelMetrics(scored, net.labels);
  if (net.head.kind === 'multi') return multiLabelMetrics(scored, net.labels, threshold);
  return regressionMetrics(scored, net.labels, net.head.scaling?.std);
}
