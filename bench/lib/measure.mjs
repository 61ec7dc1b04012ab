// Repeats in turn, so that what disturbs the machine disturbs every side alike; medians, because means follow outliers.

/** Threads of a pool spin for a while after their work: they must have gone to sleep before another side is timed. */
const PAUSE_MS = 150;

/** @param {number[]} values @param {number} share 0 … 1 */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const low = sorted[Math.floor(place)];
  return low + (sorted[Math.ceil(place)] - low) * (place - Math.floor(place));
}

/**
 * @typedef {{ median: number, spread: number, samples: number[] }} Measured
 *   Median, and the distance between the quartiles as a share of the median.
 * @param {number[]} samples
 * @returns {Measured}
 */
export function summarise(samples) {
  const median = quantile(samples, 0.5);
  return { median, spread: (quantile(samples, 0.75) - quantile(samples, 0.25)) / median, samples };
}

/**
 * Runs every side once in each round; which one begins changes from round to round. A side returns what it measured
 * (milliseconds, say), or nothing: then it is timed from outside.
 * @template {string} Name
 * @param {Record<Name, () => Promise<number | void>>} sides
 * @param {{ repeats: number, warmUp?: number }} options
 * @returns {Promise<Record<Name, Measured>>}
 */
export async function interleave(sides, { repeats, warmUp = 1 }) {
  const names = /** @type {Name[]} */ (Object.keys(sides));
  const samples = Object.fromEntries(names.map((name) => [name, /** @type {number[]} */ ([])]));
  for (let round = -warmUp; round < repeats; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + Math.max(round, 0)) % names.length];
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      const begin = performance.now();
      const measured = await sides[name]();
      if (round >= 0) samples[name].push(measured ?? performance.now() - begin);
    }
  }
  return /** @type {any} */ (Object.fromEntries(names.map((name) => [name, summarise(samples[name])])));
}

/** Norm of the difference relative to that of the expected numbers. */
export function relativeError(got, wanted) {
  if (got.length !== wanted.length) return Infinity;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < got.length; i++) {
    difference += (got[i] - wanted[i]) ** 2;
    norm += wanted[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** A time means nothing where the sides computed different things. */
export function assertSame(what, got, wanted, tolerance) {
  const error = typeof got === 'number' ? Math.abs(got - wanted) / Math.abs(wanted) : relativeError(got, wanted);
  if (!(error <= tolerance))
    throw new Error(`${what}: expected a relative error up to ${tolerance}, received ${error}`);
}
