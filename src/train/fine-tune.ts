import { expected } from '../errors.js';
import type { Network } from '../network/network.js';
import { FINE_TUNE_DEFAULTS } from './defaults.js';
import { runPhases } from './fit.js';
import { freezeBody } from './head.js';
import type { FitOptions, TrainingData } from './options.js';
import { layerwise } from './rates.js';
import type { FitRun } from './run.js';
import { oneCycle } from './schedule.js';

/** Options of `fit` but for those that are the recipe itself. */
export interface FineTuneOptions extends Omit<FitOptions, 'learningRate' | 'schedule'> {
  freezeEpochs?: number;
  baseLearningRate?: number;
  rateRatio?: number;
}

/**
 * The recipe in one call (after fastai's `fine_tune`, Howard and Gugger 2020): the head alone on the frozen body, then
 * everything, with rates that fall from the head to the lowest layer. `epochs` counts those of the second part. Epochs of the
 * head cost little, since the body's features are cached: there are more of them than in fastai.
 */
export function fineTune(net: Network, data: TrainingData, options: FineTuneOptions = {}): FitRun {
  const { freezeEpochs, baseLearningRate, rateRatio, ...rest } = withDefaults(options);
  const half = baseLearningRate / 2;
  return runPhases(net, data, rest, ({ epochs }) => [
    {
      name: 'head',
      epochs: freezeEpochs,
      learningRate: baseLearningRate,
      schedule: oneCycle({ rise: 0.99 }),
      mark: freezeBody,
    },
    {
      name: 'all',
      epochs,
      learningRate: layerwise(half / rateRatio, half),
      schedule: oneCycle({ rise: 0.3, div: 5 }),
      mark: (net) => net.unfreeze(),
    },
  ]);
}

function withDefaults(options: FineTuneOptions) {
  const freezeEpochs = options.freezeEpochs ?? FINE_TUNE_DEFAULTS.freezeEpochs.value;
  const baseLearningRate = options.baseLearningRate ?? FINE_TUNE_DEFAULTS.baseLearningRate.value;
  const rateRatio = options.rateRatio ?? FINE_TUNE_DEFAULTS.rateRatio.value;
  const whole = Number.isInteger(freezeEpochs) && freezeEpochs >= 1;
  if (!whole) throw expected('ERR_OPTION', 'a whole number, 1 or more,', "option 'freezeEpochs'", freezeEpochs);
  if (!(baseLearningRate > 0))
    throw expected('ERR_OPTION', 'a number above 0', "option 'baseLearningRate'", baseLearningRate);
  if (!(rateRatio >= 1)) throw expected('ERR_OPTION', 'a number, 1 or more,', "option 'rateRatio'", rateRatio);
  return {
    ...options,
    epochs: options.epochs ?? FINE_TUNE_DEFAULTS.epochs.value,
    freezeEpochs,
    baseLearningRate,
    rateRatio,
  };
}
