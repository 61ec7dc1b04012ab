// Repeats in turn, so that what disturbs the machine disturbs every side alike; medians, because means follow outliers.

/** Threads of a pool spin for a while after their work: they must have gone to sleep before another side is timed. */
export const PAUSE_MS = 150;

/**
 * After the pause the processor has gone to sleep as well, and others have had its caches. A pass shorter than this would be
 * over before it is awake: such passes are timed in a row.
 */
const SHORT_MS = 20;

/** What the timed passes of a row fill on the slower side. */
const ROW_MS = 100;

/** Passes that each turn of each side times, by what one pass of each took: 1, or several in a row if one is short. */
export function passesOfTurn(times) {
  return Math.min(...times) < SHORT_MS ? Math.max(2, Math.ceil(ROW_MS / Math.max(...times))) : 1;
}

/** @param {number[]} values @param {number} share 0 … 1 */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const low = sorted[Math.floor(place)];
  return low + (sorted[Math.ceil(place)] - low) * (place - Math.floor(place));
}

/**
 * @typedef {{ median: number, spread: number, samples: number[], first?: Measured }} Measured
 *   Median, and the distance between the quartiles as a share of the median; `first`: of each row's first pass.
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
 * @param {{ repeats: number, warmUp?: number, passes?: number }} options `passes` above 1: a turn is a row of one pass that
 *   does not count and as many that do; its sample is their mean.
 * @returns {Promise<Record<Name, Measured>>}
 */
export async function interleave(sides, { repeats, warmUp = 1, passes = 1 }) {
  const names = /** @type {Name[]} */ (Object.keys(sides));
  const turns = Object.fromEntries(names.map((name) => [name, /** @type {number[][]} */ ([])]));
  for (let round = -warmUp; round < repeats; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + Math.max(round, 0)) % names.length];
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      const turn = await times(sides[name], passes === 1 ? 1 : 1 + passes);
      if (round >= 0) turns[name].push(turn);
    }
  }
  return /** @type {any} */ (Object.fromEntries(names.map((name) => [name, ofTurns(turns[name])])));
}

/** Of each of some passes in a row. */
async function times(work, passes) {
  const all = [];
  for (let i = 0; i < passes; i++) {
    const begin = performance.now();
    all.push((await work()) ?? performance.now() - begin);
  }
  return all;
}

/** @param {number[][]} turns @returns {Measured} */
function ofTurns(turns) {
  const firsts = turns.map(([first]) => first);
  if (turns[0].length === 1) return summarise(firsts);
  const mean = ([, ...counted]) => counted.reduce((a, b) => a + b, 0) / counted.length;
  return { ...summarise(turns.map(mean)), first: summarise(firsts) };
}

/** Milliseconds of the shortest of some passes in a row. */
export const shortest = async (work, passes = 3) => Math.min(...(await times(work, passes)));

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
