import { describe, expect, it } from 'vitest';
import {
  averagePrecision,
  multiLabelMetrics,
  ranking,
  regressionMetrics,
  sigmoid,
  singleLabelMetrics,
  softmax,
} from '../../src/train/metrics.js';
import { balancedWeights, scalingOf, unscale } from '../../src/train/targets.js';

describe('single label', () => {
  // Predictions 0 0 1 1 2 0 against truth 0 0 0 1 1 2.
  const scores = Float32Array.from([2, 1, 0, 3, 0, 0, 0, 1, 0, 0, 5, 0, 0, 0, 1, 1, 0, 0]);
  const metrics = singleLabelMetrics({ scores, width: 3, targets: Int32Array.from([0, 0, 0, 1, 1, 2]) }, [
    'a',
    'b',
    'c',
  ]);

  it('counts confusions, rows true and columns predicted', () => {
    expect(metrics.confusion).toEqual([
      [2, 1, 0],
      [0, 1, 1],
      [1, 0, 0],
    ]);
    expect(metrics.accuracy).toBe(3 / 6);
    expect(metrics.count).toBe(6);
  });

  it('gives precision, recall and F1 by class, 0 where nothing was said', () => {
    const [a, b, c] = metrics.perClass;
    expect(a).toEqual({ label: 'a', precision: 2 / 3, recall: 2 / 3, f1: 2 / 3, support: 3 });
    expect(b).toEqual({ label: 'b', precision: 1 / 2, recall: 1 / 2, f1: 1 / 2, support: 2 });
    expect(c).toEqual({ label: 'c', precision: 0, recall: 0, f1: 0, support: 1 });
    expect(metrics.balancedAccuracy).toBeCloseTo((2 / 3 + 1 / 2) / 3, 12);
    expect(metrics.macroF1).toBeCloseTo((2 / 3 + 1 / 2) / 3, 12);
  });

  it('gives the mean cross-entropy', () => {
    const row = (target: number, ...s: number[]): number =>
      Math.log(s.reduce((sum, v) => sum + Math.exp(v), 0)) - s[target]!;
    const rows = [row(0, 2, 1, 0), row(0, 3, 0, 0), row(0, 0, 1, 0), row(1, 0, 5, 0), row(1, 0, 0, 1), row(2, 1, 0, 0)];
    expect(metrics.loss).toBeCloseTo(rows.reduce((a, b) => a + b) / 6, 10);
  });

  it('counts a label among the five best, equal scores by index', () => {
    const top = (row: number[], target: number): number =>
      singleLabelMetrics({ scores: Float32Array.from(row), width: row.length, targets: Int32Array.of(target) }, [])
        .top5;
    expect(top([9, 8, 7, 6, 5, 4], 4)).toBe(1);
    expect(top([9, 8, 7, 6, 5, 4], 5)).toBe(0);
    expect(top([1, 1, 1, 1, 1, 1], 4)).toBe(1);
    expect(top([1, 1, 1, 1, 1, 1], 5)).toBe(0);
    expect(top([1, 2], 0)).toBe(1);
  });

  it('leaves classes without samples out of balanced accuracy', () => {
    const { balancedAccuracy } = singleLabelMetrics(
      { scores: Float32Array.of(1, 0, 0, 0, 1, 0), width: 3, targets: Int32Array.of(0, 1) },
      [],
    );
    expect(balancedAccuracy).toBe(1);
  });

  it('does not overflow on large scores', () => {
    const { loss } = singleLabelMetrics({ scores: Float32Array.of(1e4, 0), width: 2, targets: Int32Array.of(1) }, []);
    expect(loss).toBe(1e4);
    expect([...softmax([1e4, 1e4])]).toEqual([0.5, 0.5]);
  });
});

describe('average precision', () => {
  it('is scikit-learn’s on its documentation’s example', () => {
    // average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) is 0.83…
    expect(averagePrecision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])).toBeCloseTo(0.8333333333, 9);
  });

  it('shares one threshold among equal scores, and is 0 without positives', () => {
    expect(averagePrecision([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 1])).toBe(0.5);
    expect(averagePrecision([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])).toBeCloseTo(0.5 * 1 + 0.5 * (2 / 3), 12);
    expect(averagePrecision([1, 2], [0, 0])).toBe(0);
  });
});

describe('multi label', () => {
  const logit = (p: number): number => Math.log(p / (1 - p));
  const scores = Float32Array.from([0.9, 0.2, 0.6, 0.7, 0.4, 0.1].map(logit));
  const targets = Float32Array.from([1, 0, 0, 1, 1, 0]);

  it('gives F1 over all and by label, mean average precision and exact matches', () => {
    const metrics = multiLabelMetrics({ scores, width: 2, targets }, ['x', 'y']);
    // Said: 1 0 | 1 1 | 0 0; true: 1 0 | 0 1 | 1 0.
    expect(metrics.microF1).toBeCloseTo((2 * 2) / (3 + 3), 12);
    expect(metrics.perClass.map(({ f1 }) => f1)).toEqual([0.5, 1]);
    expect(metrics.macroF1).toBe(0.75);
    expect(metrics.exactMatch).toBeCloseTo(1 / 3, 12);
    expect(metrics.meanAveragePrecision).toBeCloseTo((0.5 + 0.5 * (2 / 3) + 1) / 2, 12);
    const loss = [0.9, 0.8, 0.4, 0.7, 0.4, 0.9].reduce((sum, p) => sum - Math.log(p), 0) / 6;
    expect(metrics.loss).toBeCloseTo(loss, 6);
    expect(metrics.threshold).toBe(0.5);
  });

  it('takes another threshold', () => {
    expect(multiLabelMetrics({ scores, width: 2, targets }, [], 0.3).perClass[0]!.recall).toBe(1);
    expect(sigmoid(-800)).toBe(0);
    expect(sigmoid(800)).toBe(1);
  });
});

describe('regression', () => {
  it('gives MAE, RMSE and R2 by target and as means', () => {
    // scikit-learn: y = [3, -0.5, 2, 7], said [2.5, 0, 2, 8]: MAE 0.5, R2 0.9486081370449679.
    const scores = Float32Array.from([2.5, 0, 2, 8]);
    const targets = Float32Array.from([3, -0.5, 2, 7]);
    const metrics = regressionMetrics({ scores, width: 1, targets }, ['length'], [2]);
    expect(metrics).toMatchObject({ mae: 0.5, count: 4 });
    expect(metrics.rmse).toBeCloseTo(Math.sqrt(0.375), 12);
    expect(metrics.r2).toBeCloseTo(0.9486081370449679, 9);
    expect(metrics.loss).toBeCloseTo(0.375 / 4, 12);
    expect(metrics.perTarget[0]!.name).toBe('length');
  });

  it('scales targets to mean 0 and deviation 1, and back', () => {
    const scaling = scalingOf(
      [
        [1, 5],
        [3, 5],
      ],
      2,
    );
    expect(scaling).toEqual({ mean: [2, 5], std: [1, 1] });
    expect([...unscale(Float32Array.of(-1, 0, 1, 0), scaling)]).toEqual([1, 5, 3, 5]);
    expect(() => scalingOf([1, NaN], 1)).toThrow(/expected 1 finite number for the target of sample 1/);
  });
});

describe('helpers', () => {
  it('ranks equal scores by index', () => expect(ranking([1, 3, 3, 2])).toEqual([1, 2, 3, 0]));

  it('balances classes as scikit-learn does', () => {
    expect(balancedWeights([0, 0, 0, 1], ['a', 'b', 'c'])).toEqual([4 / (2 * 3), 4 / 2, 0]);
    expect(balancedWeights(['a', 'b'], ['a', 'b'])).toEqual([1, 1]);
    expect(() => balancedWeights(['z'], ['a'])).toThrow(/ERR_DATA|expected a label/);
  });
});
