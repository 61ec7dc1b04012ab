import type { SkippedFile } from '../data/types.js';
import type { Network } from '../network/network.js';
import type { Metrics } from './metrics.js';
import type { CustomMetric, TrainingData } from './options.js';
import { inferAll } from './read.js';
import type { ReadOptions } from './read.js';
import { measure, ScoreSheet } from './scores.js';
import { agreeOnLabels } from './targets.js';

export interface EvaluateOptions extends ReadOptions {
  /** Multi label: the probability from which a label is said to apply. Default: the head's, else 0.5. */
  threshold?: number;
  /** Metrics of your own, by name. */
  metrics?: Record<string, CustomMetric>;
}

/** Metrics (which ones depends on the head: told apart by `kind`), and the files that could not be read. */
export type Evaluation = Metrics & { custom?: Record<string, number>; skipped: SkippedFile[] };

/**
 * Measures the network on data with targets. Regression is in original units.
 * @throws ERR_LABELS, ERR_DATA, ERR_ABORTED
 */
export async function evaluate(net: Network, data: TrainingData, options: EvaluateOptions = {}): Promise<Evaluation> {
  net.assertAlive();
  agreeOnLabels(net, data, 'the data');
  const sheet = new ScoreSheet(net);
  const skipped: SkippedFile[] = [];
  const reading = { ...options, targets: true, skipped: (file: SkippedFile) => void skipped.push(file) };
  for await (const { batch, result } of inferAll(net, data, reading)) sheet.add(batch, result);
  return { ...measure(net, sheet.scored(), options.metrics, options.threshold), skipped };
}
