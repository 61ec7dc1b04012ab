/** Training and use: what `thaw` exports of it. Importing this adds `fit`, `evaluate`, `predict`, … to `Network`. */
import './attach.js';

export { FINE_TUNE_DEFAULTS, FIT_DEFAULTS } from './defaults.js';
export type * from './events.js';
export { evaluate } from './evaluate.js';
export type { EvaluateOptions, Evaluation } from './evaluate.js';
export { features } from './features.js';
export type { FeatureOptions, Features } from './features.js';
export { fineTune } from './fine-tune.js';
export type { FineTuneOptions } from './fine-tune.js';
export { fit } from './fit.js';
export { formatEvent, formatMetrics } from './format.js';
export * from './metrics.js';
export type { CustomMetric, FitOptions, TrainingData } from './options.js';
export { predict, predictAll } from './predict.js';
export type { LabelPrediction, Prediction, PredictInput, PredictOptions, ValuePrediction } from './predict.js';
export { layerwise } from './rates.js';
export type { Layerwise } from './rates.js';
export type { ReadOptions } from './read.js';
export type { FitRun } from './run.js';
export { constant, cosine, oneCycle, slantedTriangular, step } from './schedule.js';
export type { Schedule, ScheduleName } from './schedule.js';
export { formatTimes } from './times.js';
export type { RunTimes, Times } from './times.js';
