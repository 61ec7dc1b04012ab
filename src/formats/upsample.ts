import type { GraphBuilder } from '../graph/builder.js';

/**
 * Nearest-neighbour enlargement by whole factors: x [N, C, h, w] → [N, C, h·fh, w·fw]. Each pixel is put beside its
 * copies: columns first, with a pixel a row; then whole rows, which lie one after the other in memory.
 */
export function upsampleNearest(
  g: GraphBuilder,
  name: string,
  x: string,
  width: number,
  [fh, fw]: readonly [number, number],
): string {
  let y = x;
  if (fw > 1) {
    const pixels = g.reshape(`${name}.pixels`, y, [0, 0, -1, 1]);
    y = g.concat(`${name}.columns`, new Array<string>(fw).fill(pixels), 3);
    y = g.reshape(fh > 1 ? `${name}.wide` : name, y, [0, 0, -1, width * fw]);
  }
  if (fh > 1) {
    const rows = g.concat(`${name}.rows`, new Array<string>(fh).fill(y), 3);
    y = g.reshape(name, rows, [0, 0, -1, width * fw]);
  }
  return y;
}
