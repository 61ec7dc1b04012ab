import type { Network } from '../network/network.js';
import { resolveOptions } from './options.js';
import type { FitOptions, TrainingData } from './options.js';
import type { Phase } from './phases.js';
import { startRun } from './run.js';
import { checkSchedules } from './set-up.js';
import type { FitRun } from './run.js';
import { Trainer } from './trainer.js';

/**
 * Trains what is not frozen. The run has begun when this returns; iterate it for events, await it for the result (`FitRun`).
 *
 * Marks hold as they are at the beginning of each epoch. Everything below the first trainable layer runs as inference, once for
 * each picture (see `cacheBytes` and `variants`). Optimizer state is kept by parameter name: across freezing and unfreezing, in
 * checkpoints, and from one fit to the next.
 * @param options every default: `FIT_DEFAULTS`, docs/defaults.md
 * @throws ERR_NETWORK_BUSY at once, where another fit runs. Through the run: ERR_OPTION, ERR_DATA, ERR_LABELS,
 *   ERR_NOTHING_TRAINABLE, ERR_LOSS_NOT_FINITE (the weights are those of the step before), ERR_BATCH_NORM, ERR_RESUME
 */
export function fit(net: Network, data: TrainingData, options: FitOptions = {}): FitRun {
  return runPhases(net, data, options, ({ epochs, learningRate, schedule }) => [
    { name: 'fit', epochs, learningRate, schedule },
  ]);
}

/** Runs phases one after the other as one run: one lock, one checkpoint, one count of epochs. */
export function runPhases(
  net: Network,
  data: TrainingData,
  options: FitOptions,
  phases: (settings: ReturnType<typeof resolveOptions>) => Phase[],
): FitRun {
  const lock = net.lock('fit');
  return startRun(async (control) => {
    try {
      const settings = resolveOptions(options, data);
      const planned = phases(settings);
      checkSchedules(data, planned);
      await net.store.settled();
      return await new Trainer(net, data, settings, planned, control, lock).run();
    } finally {
      lock.release();
    }
  }, options.signal);
}
