import type { GraphBuilder } from '../graph/builder.js';

/** Copies of each pixel, at most: each is an input of a node. */
const MAX_COPIES = 64;

/**
 * Nearest-neighbour enlargement by whole factors: x [N, C, h, w] → [N, C, h·fh, w·fw]. Each pixel is put beside its
 * copies: columns first, with a pixel a row; then whole rows, which lie one after the other in memory. `named` makes the
 * name of a step on the way, and of the result, which has no word of its own. Throws what `lacking` makes of the reason
 * where there are too many copies, or `width` is not known.
 */
export function upsampleNearest(
  g: GraphBuilder,
  named: (step: string) => string,
  x: string,
  width: unknown,
  [fh, fw]: readonly [number, number],
  lacking: (what: string) => Error,
): string {
  if (!(fh * fw <= MAX_COPIES)) throw lacking(`an enlargement by ${fh} x ${fw}`);
  if (typeof width !== 'number') throw lacking('an enlargement of a picture whose width is not known');
  let y = x;
  if (fw > 1) {
    const pixels = g.reshape(named('pixels'), y, [0, 0, -1, 1]);
    y = g.concat(named('columns'), new Array<string>(fw).fill(pixels), 3);
    y = g.reshape(named(fh > 1 ? 'wide' : ''), y, [0, 0, -1, width * fw]);
  }
  if (fh > 1) {
    const rows = g.concat(named('rows'), new Array<string>(fh).fill(y), 3);
    y = g.reshape(named(''), rows, [0, 0, -1, width * fw]);
  }
  return y;
}

/** Names of the steps below a node's own name. */
export const below =
  (name: string) =>
  (step: string): string =>
    step === '' ? name : `${name}.${step}`;
