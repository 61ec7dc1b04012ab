/** evaluate, predict and features; the three kinds of heads. */
import { describe, expect, it } from 'vitest';
import type { Dataset, Target } from '../../src/data/types.js';
import type { ValuePrediction } from '../../src/train/predict.js';
import { formatEvent, formatMetrics } from '../../src/train/format.js';
import { constant } from '../../src/train/schedule.js';
import { LABELS, toyData, toyNetwork } from './toy.js';

const quick = {
  epochs: 30,
  batch: 8,
  learningRate: 0.2,
  optimizer: 'sgd',
  weightDecay: 0,
  schedule: constant(),
} as const;

/** The toy data under other targets. */
function withTargets(
  data: Dataset,
  kind: Dataset['kind'],
  names: string[],
  target: (x: Float32Array, i: number) => Target,
): Dataset {
  return {
    length: data.length,
    kind: kind!,
    ...(kind === 'regression' ? { targetNames: names } : { labels: names }),
    get: async (i) => {
      const sample = await data.get(i);
      const x = 'tensors' in sample.input ? sample.input.tensors['x']!.data : new Float32Array();
      return { ...sample, target: target(x as Float32Array, i) };
    },
  };
}

describe('single label', () => {
  it('fits, evaluates and predicts', async () => {
    const { net } = await toyNetwork();
    await net.fit(toyData(48), quick);
    const data = toyData(31, { seed: 8 });
    const evaluation = await net.evaluate(data);
    expect(evaluation).toMatchObject({ kind: 'single', count: 31, skipped: [] });
    if (evaluation.kind === 'single') expect(evaluation.accuracy).toBeGreaterThan(0.9);
    expect(formatMetrics(evaluation)).toMatch(/31 samples {2}loss [\s\S]*cucumber[\s\S]*true \\ predicted/);

    const predictions = await net.predict(data, { batch: 4 });
    const together = await net.predict(data, { batch: 31 });
    expect(predictions).toEqual(together);
    const [best] = predictions[0]!;
    expect(best).toMatchObject({ label: LABELS[0], index: 0 });
    expect(predictions[0]!.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 12);
    expect(predictions[0]!.map(({ probability }) => probability)).toEqual(
      [...predictions[0]!].map((p) => p.probability).sort((a, b) => b - a),
    );

    const one = await net.predict({ x: { data: Float32Array.of(0, 1, 0, 0), shape: [4] } }, { top: 1 });
    expect(one).toHaveLength(1);
    expect(one[0]!.label).toBe(LABELS[1]);
  });

  it('takes labels of the data where it has none, and refuses others', async () => {
    const { net } = await toyNetwork();
    const other = { ...toyData(4), labels: ['x', 'y', 'z'] };
    await expect(net.evaluate(other)).rejects.toMatchObject({ code: 'ERR_LABELS' });
    await expect(net.fit(other, quick)).rejects.toMatchObject({ code: 'ERR_LABELS' });
    expect(net.busy).toBeNull();
  });

  it('ends with its signal and tells of progress', async () => {
    const { net } = await toyNetwork();
    const signal = AbortSignal.abort();
    await expect(net.evaluate(toyData(8), { signal })).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    await expect(net.predict(toyData(8), { signal })).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    const told: unknown[] = [];
    await net.evaluate(toyData(5), { batch: 2, progress: (done, total) => told.push([done, total]) });
    expect(told).toEqual([
      [2, 5],
      [4, 5],
      [5, 5],
    ]);
  });
});

describe('multi label', () => {
  it('fits, evaluates and predicts', async () => {
    const { net } = await toyNetwork({ kind: 'multi' });
    const target = (_: Float32Array, i: number): number[] => (i % 3 === 0 ? [0, 1] : [i % 3]);
    const data = withTargets(toyData(48), 'multi', LABELS, target);
    await net.fit(data, { ...quick, epochs: 60 });
    const evaluation = await net.evaluate(data);
    if (evaluation.kind !== 'multi') throw new Error(evaluation.kind);
    expect(evaluation.microF1).toBeGreaterThan(0.9);
    expect(evaluation.meanAveragePrecision).toBeGreaterThan(0.9);
    const [first] = await net.predict(data);
    expect(
      first!
        .filter(({ applies }) => applies)
        .map(({ index }) => index)
        .sort(),
    ).toEqual([0, 1]);
    await expect(net.fit(data, { labelSmoothing: 0.1 })).rejects.toMatchObject({ code: 'ERR_OPTION' });
  });
});

describe('regression', () => {
  it('fits on scaled targets and answers in original units', async () => {
    const { net } = await toyNetwork({ kind: 'regression', outputs: 1 });
    const data = withTargets(toyData(48), 'regression', ['length'], (x) => 100 + 20 * x[0]! - 10 * x[1]!);
    const run = net.fit(data, { ...quick, epochs: 80, learningRate: 0.05, validation: data });
    const lines: string[] = [];
    for await (const event of run) lines.push(formatEvent(event));
    expect(lines.at(-1)).toMatch(/finished after 80 epochs.*R2/);
    expect(net.head).toMatchObject({
      targets: ['length'],
      scaling: { mean: [expect.any(Number)], std: [expect.any(Number)] },
    });
    const evaluation = await net.evaluate(data);
    if (evaluation.kind !== 'regression') throw new Error(evaluation.kind);
    expect(evaluation.r2).toBeGreaterThan(0.9);
    expect(evaluation.mae).toBeLessThan(3);
    const [first] = await net.predict<ValuePrediction>(data);
    expect(first![0]!.label).toBe('length');
    expect(first![0]!.value).toBeGreaterThan(80);
  });
});

describe('fineTune', () => {
  it('trains the head first, then everything with lower rates below', async () => {
    const { net, session } = await toyNetwork();
    const updates: { marks: number; rates: Record<string, number> | undefined; learningRate: number }[] = [];
    session.before = (_, { update }) =>
      void (
        update && updates.push({ marks: net.trainable.length, rates: update.rates, learningRate: update.learningRate })
      );
    const result = await net.fineTune(toyData(16), { epochs: 2, batch: 8, freezeEpochs: 1, baseLearningRate: 0.02 });
    expect(result.epochs.map(({ phase }) => phase)).toEqual(['head', 'all', 'all']);
    expect(updates.map(({ marks }) => marks)).toEqual([2, 2, 6, 6, 6, 6]);
    const rates = updates[3]!.rates!;
    expect(rates['fc.weight']! / rates['body.0.weight']!).toBeCloseTo(100, 6);
    expect(rates['fc.weight']! / rates['body.1.bias']!).toBeCloseTo(10, 6);
    expect(Math.max(...updates.map(({ learningRate }) => learningRate))).toBeLessThanOrEqual(0.02);
    expect(result.steps).toBe(6);
  });
});
