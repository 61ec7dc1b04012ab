import type { Batch } from '../data/types.js';
import { withNext } from './batches.js';
import type { ValidationMetrics } from './events.js';
import { runBatch } from './feature-cache.js';
import type { FeatureCache } from './feature-cache.js';
import type { RunControl } from './run.js';
import { measure, ScoreSheet } from './scores.js';
import type { SetUp } from './set-up.js';
import type { Stopwatch } from './times.js';

/** Metrics of the present weights on the validation data; its features come from the cache where they are there. */
export async function validate(
  { net, validation, settings }: SetUp,
  features: FeatureCache,
  control: RunControl,
  clock: Stopwatch,
): Promise<ValidationMetrics> {
  const sheet = new ScoreSheet(net);
  const source = validation!;
  let done = 0;
  const batches = source.inOrder(settings.cacheBytes > 0 ? features : null, control.signal);
  const { signal } = control;
  for await (const { batch, next } of clock.waiting(withNext(batches))) {
    const again = (): Promise<Batch> => source.again(batch, 0, signal);
    const run = runBatch(features, batch, { mode: 'head', again, next, signal, clock, part: 'validation' });
    sheet.add(batch, await run);
    done += batch.size;
    control.emit({ type: 'progress', task: 'validation', done, total: source.length });
  }
  return clock.time('validation', async () => measure(net, sheet.scored(), settings.metrics));
}
