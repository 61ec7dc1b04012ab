import type { MethodName, Trial } from './experiment.js';

export interface MethodSummary {
  /** Mean and sample standard deviation over the draws. */
  accuracy: { mean: number; deviation: number };
  /** Mean wall time of one training. */
  seconds: number;
  trainable: number;
}

export function summariseMethod(trials: readonly Trial[], method: MethodName): MethodSummary {
  const mine = trials.filter((trial) => trial.method === method);
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const accuracies = mine.map((trial) => trial.accuracy);
  const centre = mean(accuracies);
  const squares = accuracies.reduce((sum, a) => sum + (a - centre) ** 2, 0);
  // Trainings with a curve spent time on evaluating, too: the others tell the time, where there are any.
  const timed = mine.filter((trial) => trial.curve.length === 0);
  return {
    accuracy: { mean: centre, deviation: accuracies.length > 1 ? Math.sqrt(squares / (accuracies.length - 1)) : 0 },
    seconds: mean((timed.length > 0 ? timed : mine).map((trial) => trial.seconds)),
    trainable: mine[0]!.trainable,
  };
}
