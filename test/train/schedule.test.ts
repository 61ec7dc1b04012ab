import { describe, expect, it } from 'vitest';
import { batchSizes, shuffledRows, stepsPerEpoch } from '../../src/train/batches.js';
import { FIT_DEFAULTS, FIXED } from '../../src/train/defaults.js';
import { resolveOptions } from '../../src/train/options.js';
import type { FitOptions } from '../../src/train/options.js';
import { permutation } from '../../src/train/random.js';
import { evenMultiples, layerwise } from '../../src/train/rates.js';
import {
  constant,
  cosine,
  oneCycle,
  scheduleAt,
  slantedTriangular,
  step,
  toSchedule,
} from '../../src/train/schedule.js';
import type { Schedule } from '../../src/train/schedule.js';
import { toyData } from './toy.js';

const factors = (schedule: Schedule, steps: number): number[] =>
  Array.from({ length: steps }, (_, i) => scheduleAt(schedule, i, steps).factor);

describe('schedules', () => {
  it('constant, with a warm-up that rises linearly', () => {
    expect(factors(constant(), 3)).toEqual([1, 1, 1]);
    expect(factors(constant({ warmup: 0.5 }), 6)).toEqual([0.25, 0.5, 0.75, 1, 1, 1]);
  });

  it('step: a factor after each share', () => {
    const found = factors(step(), 9);
    [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01].forEach((value, i) => expect(found[i]).toBeCloseTo(value, 12));
  });

  it('cosine: from 1 to its end', () => {
    const found = factors(cosine(), 5);
    [1, 0.8535533906, 0.5, 0.1464466094, 0].forEach((value, i) => expect(found[i]).toBeCloseTo(value, 9));
    expect(factors(cosine({ end: 0.1 }), 3).at(-1)).toBeCloseTo(0.1, 12);
    expect(factors(cosine(), 1)).toEqual([1]);
  });

  it('one cycle: up from 1/25, down to 1e-5, momentum the other way', () => {
    const found = factors(oneCycle(), 101);
    expect(found[0]).toBeCloseTo(1 / 25, 12);
    expect(found[25]).toBeCloseTo(1, 12);
    expect(found[100]).toBeCloseTo(1e-5, 12);
    expect(scheduleAt(oneCycle(), 0, 101).momentum).toBeCloseTo(0.95, 12);
    expect(scheduleAt(oneCycle(), 25, 101).momentum).toBeCloseTo(0.85, 12);
    expect(scheduleAt(oneCycle({ momentum: null }), 0, 101).momentum).toBeUndefined();
  });

  it('slanted triangular: up during a tenth, then down', () => {
    const found = factors(slantedTriangular(), 101);
    expect(found[0]).toBeCloseTo(1 / 32, 12);
    expect(found[10]).toBeCloseTo(1, 12);
    expect(found[100]).toBeCloseTo(1 / 32, 12);
  });

  it('refuses what is none', () => {
    expect(() => toSchedule('toString' as never)).toThrow(/expected one of constant, step/);
    expect(() => toSchedule(cosine({ warmup: 2 }))).toThrow(/share of the run/);
  });
});

describe('rates', () => {
  it('spread by equal ratios, as fastai', () => {
    const found = evenMultiples(1e-5, 1e-3, 3);
    [1e-5, 1e-4, 1e-3].forEach((value, i) => expect(found[i]).toBeCloseTo(value, 12));
    expect(evenMultiples(1e-5, 1e-3, 1)).toEqual([1e-3]);
    expect(() => layerwise(0, 1)).toThrow(/two positive rates/);
  });
});

describe('order of samples', () => {
  it('is a permutation that depends on seed and epoch', () => {
    const order = permutation(100, 1, 2);
    expect([...order].sort((a, b) => a - b)).toEqual([...Array(100).keys()]);
    expect(permutation(100, 1, 2)).toEqual(order);
    expect(permutation(100, 1, 3)).not.toEqual(order);
    expect(permutation(100, 2 ** 32 + 1, 2)).not.toEqual(order);
  });

  it('puts every sample in every place about equally often', () => {
    const counts = new Array<number>(25).fill(0);
    for (let epoch = 0; epoch < 5000; epoch++)
      permutation(5, 9, epoch).forEach((sample, place) => counts[5 * place + sample]!++);
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });

  it('cuts batches; a last one of one counts with the one before', () => {
    expect(batchSizes(9, 4)).toEqual([4, 5]);
    expect(batchSizes(10, 4)).toEqual([4, 4, 2]);
    expect(batchSizes(3, 1)).toEqual([1, 1, 1]);
    expect(batchSizes(1, 4)).toEqual([1]);
    expect(stepsPerEpoch(23, 4, 3)).toBe(2);
    expect(shuffledRows(5, 2, 0, 0).map((rows) => rows.length)).toEqual([2, 2, 1]);
  });
});

describe('options', () => {
  it('come from one table', () => {
    const settings = resolveOptions({}, toyData(3));
    for (const name of ['epochs', 'batch', 'learningRate', 'optimizer', 'weightDecay', 'seed', 'cache'] as const) {
      expect(settings[name]).toBe(FIT_DEFAULTS[name].value);
    }
    expect(settings.schedule).toEqual(cosine());
    expect(settings.cacheBytes).toBe(FIXED.memoryBytes);
    expect(resolveOptions({ cache: 'disk' }, toyData(3)).cacheBytes).toBe(FIXED.diskBytes);
    expect(resolveOptions({ cache: 'off', cacheBytes: 5 }, toyData(3)).cacheBytes).toBe(0);
    for (const wrong of [{ cache: 'ram' }, { cacheFolder: 'x' }, { cache: 'disk', cacheFolder: '' }])
      expect(() => resolveOptions(wrong as FitOptions, toyData(3))).toThrow(/expected .* for option 'cache/);
    expect(resolveOptions({ seed: 7, clipNorm: undefined }, toyData(3))).toMatchObject({
      seed: 7,
      keepBest: false,
      metric: 'loss',
    });
  });
});
