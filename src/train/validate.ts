import type { ValidationMetrics } from './events.js';
import type { FeatureCache } from './feature-cache.js';
import type { RunControl } from './run.js';
import { measure, ScoreSheet } from './scores.js';
import type { SetUp } from './set-up.js';

/** Metrics of the present weights on the validation data; its features come from the cache where they are there. */
export async function validate(
  { net, validation, settings }: SetUp,
  features: FeatureCache,
  control: RunControl,
): Promise<ValidationMetrics> {
  const sheet = new ScoreSheet(net);
  const source = validation!;
  let done = 0;
  for await (const batch of source.inOrder(settings.cacheBytes > 0 ? features : null, control.signal)) {
    const rows = features.below ? await features.ready(batch, control.signal) : null;
    sheet.add(batch, await features.run('head', batch, rows, {}, control.signal));
    done += batch.size;
    control.emit({ type: 'progress', task: 'validation', done, total: source.length });
  }
  return measure(net, sheet.scored(), settings.metrics);
}
