import type { Dataset } from '../data/types.js';
import { Network } from '../network/network.js';
import { evaluate } from './evaluate.js';
import type { EvaluateOptions, Evaluation } from './evaluate.js';
import { features } from './features.js';
import type { FeatureOptions, Features } from './features.js';
import { fineTune } from './fine-tune.js';
import type { FineTuneOptions } from './fine-tune.js';
import { fit } from './fit.js';
import type { FitOptions, TrainingData } from './options.js';
import { predict } from './predict.js';
import type { LabelPrediction, Prediction, PredictInput, PredictOptions } from './predict.js';
import type { FitRun } from './run.js';

declare module '../network/network.js' {
  interface Network {
    /** Trains what is not frozen; see the function `fit`. */
    fit(data: TrainingData, options?: FitOptions): FitRun;
    /** Trains the head on the frozen body, then everything with lower rates for lower layers; see `fineTune`. */
    fineTune(data: TrainingData, options?: FineTuneOptions): FitRun;
    /** Measures the network on data with targets; see `evaluate`. */
    evaluate(data: TrainingData, options?: EvaluateOptions): Promise<Evaluation>;
    /** What the network says about one input; see `predict`. */
    predict<T extends Prediction = LabelPrediction>(input: PredictInput, options?: PredictOptions): Promise<T[]>;
    /** What the network says about each of many inputs. */
    predict<T extends Prediction = LabelPrediction>(
      input: readonly PredictInput[] | Dataset,
      options?: PredictOptions,
    ): Promise<T[][]>;
    /** What the body, or one layer, makes of pictures; see `features`. */
    features(input: PredictInput | readonly PredictInput[] | Dataset, options?: FeatureOptions): Promise<Features>;
  }
}

/** A method from a function whose first parameter is the network. */
function method(work: (net: Network, ...rest: never[]) => unknown): PropertyDescriptor {
  return {
    value(this: Network, ...rest: never[]) {
      return work(this, ...rest);
    },
    writable: true,
    configurable: true,
  };
}

// Training is the layer above the network, which therefore cannot import it: importing this file adds the methods.
Object.defineProperties(Network.prototype, {
  fit: method(fit),
  fineTune: method(fineTune),
  evaluate: method(evaluate),
  predict: method(predict),
  features: method(features),
});
